//! What uses a thing that is to be removed: refused, or asked about.

use crate::{Error, Result};

/// `2 campaigns ("A", "B")`; None where there are none.
pub(super) fn counted(singular: &str, names: &[String]) -> Option<String> {
    const SHOWN: usize = 5;
    let mut list = names.iter().take(SHOWN).map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        list = format!("{list} and {} more", names.len() - SHOWN);
    }
    match names.len() {
        0 => None,
        1 => Some(format!("1 {singular} ({list})")),
        n => Some(format!("{n} {singular}s ({list})")),
    }
}

/// `3 calls in flight`; None where there are none.
pub(super) fn in_flight(calls: i64) -> Option<String> {
    match calls {
        0 => None,
        1 => Some("1 call in flight".to_owned()),
        n => Some(format!("{n} calls in flight")),
    }
}

/// Refuses to remove a thing that is in use; `how` says how to proceed.
pub(super) fn refuse(thing: &str, uses: &[String], how: &str) -> Result<()> {
    if uses.is_empty() {
        return Ok(());
    }
    Err(Error::conflict(format!("{thing} is in use: {}", uses.join(", "))).hint(format!("Nothing was changed. {how}")))
}

/// `Remove client "acme" with 1 call in flight?`
pub(super) fn question(thing: &str, uses: &[String]) -> String {
    match uses {
        [] => format!("Remove {thing}?"),
        uses => format!("Remove {thing} with {}?", uses.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_cut() {
        let names = |n: usize| (1..=n).map(|i| i.to_string()).collect::<Vec<_>>();
        assert_eq!(counted("DID", &names(0)), None);
        assert_eq!(counted("DID", &names(1)).as_deref(), Some("1 DID (\"1\")"));
        assert_eq!(counted("DID", &names(7)).as_deref(), Some("7 DIDs (\"1\", \"2\", \"3\", \"4\", \"5\" and 2 more)"));
    }

    #[test]
    fn what_is_in_use_is_named() {
        let uses = ["1 call in flight".to_owned()];
        assert_eq!(question("client \"acme\"", &uses), "Remove client \"acme\" with 1 call in flight?");
        assert!(refuse("client \"acme\"", &[], "").is_ok());
        let error = refuse("client \"acme\"", &uses, "Wait.").expect_err("in use");
        assert_eq!(error.message, "client \"acme\" is in use: 1 call in flight");
    }
}
