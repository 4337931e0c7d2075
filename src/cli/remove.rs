//! Removing a thing: refused while it is in use; otherwise a person is asked.

use postgres::{Client, Transaction};

use crate::cli::env::Env;
use crate::store::noun::Noun;
use crate::store::{call, changes};
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
struct Uses {
    list: Vec<String>,
    records: i64,
}

impl Uses {
    /// Call records stay when the thing goes, but lose it.
    fn new(mut things: Vec<String>, (records, live_calls): (i64, i64)) -> Self {
        things.extend(in_flight(live_calls).into_iter().chain(recorded(records)));
        Uses { list: things, records }
    }
}

/// A thing that is to be removed.
pub(crate) struct Removal<'a> {
    /// What it is, and its id.
    pub(crate) row: (Noun, i32),
    /// `client "acme"`
    pub(crate) thing: &'a str,
    /// What goes along without being a reason to refuse.
    pub(crate) along: Option<String>,
    /// What its call records lack then: `client`.
    pub(crate) lost: &'a str,
    /// What stops its calls and leaves it there: `client disable acme`.
    pub(crate) disable: String,
    /// What `--force` does: `removes its settings too`.
    pub(crate) forced: &'a str,
    /// `--force`: also while it is in use.
    pub(crate) force: bool,
}

impl Removal<'_> {
    /// Removes it, if nothing uses it and somebody agrees. `uses` says what else uses it besides calls and their
    /// records, and is asked again after the question: people take their time.
    ///
    /// # Errors
    /// It is in use, nobody agrees, it is gone meanwhile; those of `uses`, the database's.
    pub(crate) fn run(
        self,
        env: &mut Env<'_>,
        db: &mut Client,
        mut uses: impl FnMut(&mut Transaction<'_>) -> Result<Vec<String>>,
    ) -> Result<()> {
        let (noun, id) = self.row;
        let mut all_uses =
            |tx: &mut Transaction<'_>| Ok::<_, Error>(Uses::new(uses(tx)?, call::uses_of(tx, noun, id)?));
        let mut tx = db.transaction()?;
        let in_use = all_uses(&mut tx)?;
        tx.rollback()?;
        self.refuse(&in_use)?;
        let confirmed = env.confirm(&self.question(&in_use))?;
        let mut tx = env.begin(db)?;
        self.refuse(&all_uses(&mut tx)?)?;
        if changes::remove(&mut tx, noun, id, &confirmed)? == 0 {
            return Err(Error::not_found(noun.name(), id));
        }
        Ok(tx.commit()?)
    }

    fn refuse(&self, uses: &Uses) -> Result<()> {
        if self.force || uses.list.is_empty() {
            return Ok(());
        }
        let Removal { thing, disable, forced, .. } = self;
        Err(Error::conflict(format!("{thing} is in use: {}", uses.list.join(", "))).hint(format!(
            "Nothing was changed. To stop its calls and keep its call records whole, capconduit {disable}. --force \
             {forced}."
        )))
    }

    fn question(&self, uses: &Uses) -> String {
        let Removal { thing, lost, .. } = self;
        let with: Vec<&str> = self.along.iter().chain(&uses.list).map(String::as_str).collect();
        let question = match with.as_slice() {
            [] => format!("Remove {thing}?"),
            with => format!("Remove {thing} with {}?", with.join(", ")),
        };
        match uses.records {
            0 => question,
            1 => format!("{question} The call record stays, but names no {lost} any more."),
            _ => format!("{question} The call records stay, but name no {lost} any more."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn removal<'a>(thing: &'a str, lost: &'a str) -> Removal<'a> {
        Removal {
            row: (Noun::Client, 1),
            thing,
            along: None,
            lost,
            disable: "x disable y".into(),
            forced: "removes it",
            force: false,
        }
    }

    #[test]
    fn what_is_in_use_is_named() {
        let uses = Uses::new(Vec::new(), (0, 1));
        let client = removal("client \"acme\"", "client");
        assert_eq!(client.question(&uses), "Remove client \"acme\" with 1 call in flight?");
        assert!(client.refuse(&Uses::default()).is_ok());
        let error = client.refuse(&uses).expect_err("in use");
        assert_eq!(error.message, "client \"acme\" is in use: 1 call in flight");
        assert!(Removal { force: true, ..client }.refuse(&uses).is_ok());
    }

    #[test]
    fn call_records_are_a_use() {
        let did = removal("DID \"+12\"", "DID");
        let error = did.refuse(&Uses::new(Vec::new(), (97, 0))).expect_err("in use");
        assert_eq!(error.message, "DID \"+12\" is in use: 97 call records");
        assert_eq!(
            did.question(&Uses::new(Vec::new(), (1, 2))),
            "Remove DID \"+12\" with 2 calls in flight, 1 call record? The call record stays, but names no DID any more."
        );
    }
}
