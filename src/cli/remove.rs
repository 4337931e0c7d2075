//! What uses a thing that is to be removed: refused, or asked about.

use crate::words::plural;
use crate::{Error, Result};

/// `3 calls in flight`; None where there are none.
fn in_flight(calls: i64) -> Option<String> {
    (calls != 0).then(|| format!("{} in flight", plural(calls, "call")))
}

/// `97 call records`; None where there are none.
fn recorded(records: i64) -> Option<String> {
    (records != 0).then(|| plural(records, "call record"))
}

/// What uses a thing.
#[derive(Debug, Default)]
pub(crate) struct Uses {
    list: Vec<String>,
    records: i64,
}

impl Uses {
    /// `things` are of [`counted`]; call records stay when the thing goes, but lose it.
    pub(crate) fn new(things: impl IntoIterator<Item = Option<String>>, live_calls: i64, records: i64) -> Self {
        let calls = [in_flight(live_calls), recorded(records)];
        Uses { list: things.into_iter().chain(calls).flatten().collect(), records }
    }

    /// With what goes along without being a reason to refuse.
    pub(crate) fn and(mut self, thing: Option<String>) -> Self {
        self.list.splice(0..0, thing);
        self
    }

    /// Refuses to remove the thing while it is in use; `how` says how to proceed.
    pub(crate) fn refuse(&self, thing: &str, how: &str) -> Result<()> {
        if self.list.is_empty() {
            return Ok(());
        }
        Err(Error::conflict(format!("{thing} is in use: {}", self.list.join(", ")))
            .hint(format!("Nothing was changed. {how}")))
    }

    /// `Remove client "acme" with 1 call in flight?`; `lost` is what the records would lack then.
    pub(crate) fn question(&self, thing: &str, lost: &str) -> String {
        let question = match self.list.as_slice() {
            [] => format!("Remove {thing}?"),
            uses => format!("Remove {thing} with {}?", uses.join(", ")),
        };
        match self.records {
            0 => question,
            1 => format!("{question} The call record stays, but names no {lost} any more."),
            _ => format!("{question} The call records stay, but name no {lost} any more."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_use_is_named() {
        let uses = Uses::new([None], 1, 0);
        assert_eq!(uses.question("client \"acme\"", "client"), "Remove client \"acme\" with 1 call in flight?");
        assert!(Uses::default().refuse("client \"acme\"", "").is_ok());
        let error = uses.refuse("client \"acme\"", "Wait.").expect_err("in use");
        assert_eq!(error.message, "client \"acme\" is in use: 1 call in flight");
    }

    #[test]
    fn call_records_are_a_use() {
        let error = Uses::new([None], 0, 97).refuse("DID \"+12\"", "").expect_err("in use");
        assert_eq!(error.message, "DID \"+12\" is in use: 97 call records");
        assert_eq!(
            Uses::new([None], 2, 1).question("DID \"+12\"", "DID"),
            "Remove DID \"+12\" with 2 calls in flight, 1 call record? The call record stays, but names no DID any more."
        );
    }
}
