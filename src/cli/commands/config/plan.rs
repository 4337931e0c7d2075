//! The plan: the changes that make a database as the document says.

use std::collections::BTreeSet;

use postgres::GenericClient;
use serde_json::{Map, Value, json};

use crate::confirm::Confirmed;
use crate::store::document::{Key, Link, Schema};
use crate::store::noun::Noun;
use crate::{Error, Result, store};

/// What is done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Add,
    Change,
    Remove,
}

/// What is done to one object.
pub(crate) struct Change {
    pub(crate) action: Action,
    pub(crate) noun: Noun,
    pub(crate) key: Key,
    /// None: it is added.
    pub(crate) id: Option<i32>,
    /// The new values of all fields that change.
    pub(crate) to: Map<String, Value>,
    /// The old values.
    pub(crate) from: Map<String, Value>,
}

/// What has to be done.
#[derive(Default)]
pub(crate) struct Plan {
    pub(crate) changes: Vec<Change>,
    pub(crate) link: Vec<Link>,
    pub(crate) unlink: Vec<Link>,
    /// Users whose address another user gets.
    pub(crate) free_emails: Vec<i32>,
    /// How many objects stay though the document does not name them.
    pub(crate) unnamed: usize,
}

/// A key for people.
pub(crate) fn name_of(key: &Key) -> String {
    key.join("/")
}

/// A value for people; a cap without a value is shown as such.
fn shown(name: &str, value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) if name == TOTAL => "unlimited".to_owned(),
        value => value.unwrap_or(&Value::Null).to_string(),
    }
}

const TOTAL: &str = "total_calls_allowed";

impl Change {
    /// `~ client acme: name "A" -> "B"`
    fn line(&self) -> String {
        let what = format!("{} {}", self.noun.name(), name_of(&self.key));
        match self.action {
            Action::Add => format!("+ {what}"),
            Action::Remove => format!("- {what}"),
            Action::Change => {
                let fields = self.to.iter().map(|(name, to)| match store::document::is_secret(name) {
                    true => format!("{name} changed"),
                    false => format!("{name} {} -> {}", shown(name, self.from.get(name)), shown(name, Some(to))),
                });
                format!("~ {what}: {}", fields.collect::<Vec<_>>().join(", "))
            }
        }
    }

    fn value(&self) -> Value {
        let action = match self.action {
            Action::Add => "add",
            Action::Change => "change",
            Action::Remove => "remove",
        };
        let shown = |name: &str, value: Option<&Value>| match value {
            None | Some(Value::Null) => Value::Null,
            Some(_) if store::document::is_secret(name) => json!("(secret)"),
            Some(value) => value.clone(),
        };
        let mut changes = Map::new();
        for (name, to) in &self.to {
            let change = json!({"from": shown(name, self.from.get(name)), "to": shown(name, Some(to))});
            // an empty field of a new object is no change
            if self.action == Action::Change || !to.is_null() {
                changes.insert(name.clone(), change);
            }
        }
        json!({"action": action, "kind": self.noun.name(), "name": name_of(&self.key), "changes": changes})
    }
}

impl Plan {
    /// A line for each object, and for each DID that a campaign loses, for people.
    pub(crate) fn lines(&self) -> String {
        self.changes.iter().map(Change::line).chain(self.lost_dids()).collect::<Vec<_>>().join("\n")
    }

    /// `- did +18005550101 of campaign alice/Alice TV`: a DID that a campaign's list leaves out. A DID or a campaign
    /// that is removed itself has a line of its own.
    pub(crate) fn lost_dids(&self) -> impl Iterator<Item = String> {
        let gone = self.removals();
        let lost = self.unlink.iter().filter(move |(user, campaign, number)| {
            !gone.contains(&(Noun::Did, vec![number.clone()]))
                && !gone.contains(&(Noun::Campaign, vec![user.clone(), campaign.clone()]))
        });
        lost.map(|(user, campaign, number)| format!("- did {number} of campaign {user}/{campaign}"))
    }

    /// Settings that lose their total of calls.
    pub(crate) fn unlimited(&self) -> Vec<String> {
        let loses = |change: &&Change| change.action == Action::Change && change.to.get(TOTAL) == Some(&Value::Null);
        self.changes.iter().filter(loses).map(|change| name_of(&change.key)).collect()
    }

    /// The lines of all removals.
    pub(crate) fn losses(&self) -> BTreeSet<String> {
        let removed = self.changes.iter().filter(|change| change.action == Action::Remove);
        removed.map(Change::line).chain(self.lost_dids()).collect()
    }

    /// For programs.
    pub(crate) fn value(&self) -> Value {
        self.changes.iter().map(Change::value).collect()
    }

    /// `3 added, 1 changed, 0 removed`
    pub(crate) fn counted(&self) -> String {
        let count = |action| self.changes.iter().filter(|change| change.action == action).count();
        let removed = self.losses().len();
        format!("{} added, {} changed, {removed} removed", count(Action::Add), count(Action::Change))
    }

    /// What is to be removed.
    pub(crate) fn removals(&self) -> BTreeSet<(Noun, Key)> {
        let removed = self.changes.iter().filter(|change| change.action == Action::Remove);
        removed.map(|change| (change.noun, change.key.clone())).collect()
    }

    fn ids(&self, noun: Noun) -> Vec<i32> {
        let removed = self.changes.iter().filter(|change| change.action == Action::Remove && change.noun == noun);
        removed.filter_map(|change| change.id).collect()
    }

    /// Refuses to remove a thing that has calls in flight.
    pub(crate) fn refuse_in_flight(&self, db: &mut impl GenericClient) -> Result<()> {
        let mut busy = Vec::new();
        for noun in Noun::ALL {
            let calls = store::document::in_flight(db, noun, &self.ids(noun))?;
            let removed = self.changes.iter().filter(|c| c.action == Action::Remove && c.noun == noun);
            busy.extend(removed.filter_map(|change| {
                let calls = calls.get(&change.id?)?;
                Some(format!("{} {} has {calls} in flight", noun.name(), name_of(&change.key)))
            }));
        }
        if busy.is_empty() {
            return Ok(());
        }
        Err(Error::conflict(format!("what is to be removed has calls in flight:\n{}", busy.join("\n"))).hint(
            "Nothing was changed. Set it inactive and wait for the calls to end; --force removes it all the same.",
        ))
    }

    /// Does it. `removal` is given where something is to be removed.
    pub(crate) fn carry_out(
        &self,
        tx: &mut impl GenericClient,
        schema: &Schema,
        removal: Option<&Confirmed>,
        mut progress: impl FnMut(&str),
    ) -> Result<()> {
        if let Some(confirmed) = removal {
            // the SIP side is its client's
            for noun in Noun::ALL.into_iter().filter(|noun| !noun.is_escaped()) {
                store::document::lock_rows(tx, noun, &self.ids(noun))?;
            }
            for noun in Noun::ALL.into_iter().rev().filter(|noun| *noun != Noun::User) {
                store::document::remove(tx, noun, &self.ids(noun), confirmed)?;
            }
        }
        store::document::unlink(tx, &self.unlink)?;
        store::document::free_emails(tx, &self.free_emails)?;
        for noun in Noun::ALL {
            let of = |action| self.changes.iter().filter(move |c: &&Change| c.noun == noun && c.action == action);
            let new: Vec<_> = of(Action::Add).map(|change| change.to.clone()).collect();
            let changed: Vec<_> = of(Action::Change).filter_map(|c| Some((c.id?, c.to.clone()))).collect();
            if new.len() + changed.len() >= MANY {
                progress(&format!("{}s: {} to add, {} to change ...", noun.name(), new.len(), changed.len()));
            }
            store::document::add(tx, schema, noun, new)?;
            store::document::change(tx, schema, noun, changed)?;
        }
        store::document::link(tx, &self.link)?;
        if let Some(confirmed) = removal {
            // last: what was theirs may have got another owner
            store::document::remove(tx, Noun::User, &self.ids(Noun::User), confirmed)?;
        }
        Ok(())
    }
}

/// So many rows take long enough for a progress line.
pub(crate) const MANY: usize = 1000;
