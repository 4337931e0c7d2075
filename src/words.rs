//! Words of messages: quoting, counted plurals, lists that do not get too long, "did you mean".

use std::borrow::Cow;

use crate::text;

/// How many names a message lists.
const SHOWN: usize = 5;

/// A value as an error message shows it.
pub(crate) fn quoted(value: &str) -> String {
    let short = text::truncate(value, 60);
    format!("\"{}{}\"", short.escape_debug(), if short.len() < value.len() { "..." } else { "" })
}

/// A word for a shell command: quoted where the shell would not read it as one plain word.
#[must_use]
pub fn shell(word: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_alphanumeric() || "_-+.,:/@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return Cow::Borrowed(word);
    }
    Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
}

/// `1 call`, `2 calls`
pub(crate) fn plural(count: impl TryInto<i64>, singular: &str) -> String {
    let count = count.try_into().unwrap_or(i64::MAX);
    if count == 1 { format!("1 {singular}") } else { format!("{count} {singular}s") }
}

/// `2 campaigns ("A", "B")`; None where there are none.
pub(crate) fn counted(singular: &str, names: &[String]) -> Option<String> {
    let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    (!names.is_empty()).then(|| format!("{} ({})", plural(names.len(), singular), some_of(&quoted)))
}

/// `a, b, c and 4 more`: names without end would hide what else is found.
pub(crate) fn some_of<S: AsRef<str>>(names: &[S]) -> String {
    let shown = names.iter().take(SHOWN).map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
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
    fn long_lists_are_cut() {
        let names = |n: usize| (1..=n).map(|i| i.to_string()).collect::<Vec<_>>();
        assert_eq!(counted("DID", &names(0)), None);
        assert_eq!(counted("DID", &names(1)).as_deref(), Some("1 DID (\"1\")"));
        assert_eq!(counted("DID", &names(7)).as_deref(), Some("7 DIDs (\"1\", \"2\", \"3\", \"4\", \"5\" and 2 more)"));
    }

    fn known() -> Vec<String> {
        ["acme", "borealis", "Alice Priority"].map(str::to_owned).to_vec()
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
