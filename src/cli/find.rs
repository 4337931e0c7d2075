//! Names of things that are there, or are not.

pub(crate) use crate::text::shell;
use crate::{Error, Result};

/// Adding what is there already.
pub(crate) fn exists(noun: &str, name: &str) -> Error {
    Error::conflict(format!("{noun} \"{name}\" exists already"))
        .hint(format!("Nothing was changed. capconduit {} set changes it.", noun.to_lowercase()))
}

/// Adding a name that differs from one that is there in case only: people would take one for the other.
pub(crate) fn refuse_other_case(noun: &str, name: &str, known: &[String]) -> Result<()> {
    let typed = name.to_lowercase();
    match known.iter().find(|there| there.to_lowercase() == typed) {
        Some(there) => {
            Err(Error::conflict(format!("{noun} \"{there}\" exists already: \"{name}\" differs in case only"))
                .hint("Nothing was changed."))
        }
        None => Ok(()),
    }
}

/// A name that nothing has, with the name that it may be a slip of.
pub(crate) fn unknown(noun: &str, name: &str, known: &[String]) -> Error {
    let error = Error::not_found(noun, name);
    match nearest(name, known) {
        Some(near) => error.hint(format!("did you mean \"{near}\"?")),
        None => error,
    }
}

/// The known name that a slip of the finger, or leaving off the end, would turn into `name`.
pub(crate) fn nearest<'a>(name: &str, known: &'a [String]) -> Option<&'a str> {
    let typed = name.to_lowercase();
    let slips = match typed.chars().count() {
        0..=3 => 1,
        _ => 2,
    };
    known
        .iter()
        .filter_map(|candidate| {
            let lower = candidate.to_lowercase();
            let distance = strsim::damerau_levenshtein(&typed, &lower);
            let begins = typed.len() >= 3 && lower.starts_with(&typed);
            (distance <= slips || begins).then_some((distance, candidate.as_str()))
        })
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Vec<String> {
        ["acme", "borealis", "Alice Priority"].map(str::to_owned).to_vec()
    }

    #[test]
    fn names_in_a_shell_command() {
        for (name, word) in [
            ("acme-2_B", "acme-2_B"),
            ("+18005550101", "+18005550101"),
            ("Zoë@x.org", "Zoë@x.org"),
            ("Alice Priority", "'Alice Priority'"),
            ("O'Hara", r"'O'\''Hara'"),
            ("a;b", "'a;b'"),
            ("$HOME", "'$HOME'"),
            ("~", "'~'"),
            ("", "''"),
        ] {
            assert_eq!(shell(name), word);
        }
    }

    #[test]
    fn a_slip_is_recognised() {
        for (typed, meant) in [
            ("acne", Some("acme")),
            ("ACME", Some("acme")),
            ("caem", Some("acme")),
            ("bore", Some("borealis")),
            ("alice prioritty", Some("Alice Priority")),
            ("zebra", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, &known()), meant, "{typed}");
        }
    }
}
