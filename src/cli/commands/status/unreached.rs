//! Active DIDs that no call reaches: they are stored otherwise than CAPCONDUIT_NUMBER_RULES read what a carrier
//! sends. A v3.0 back end or psql writes any text there.

use std::collections::BTreeMap;

use postgres::GenericClient;

use crate::model::number::{NumberRules, OutOfReach};
use crate::store::did::{self, Stored};
use crate::store::status::Filter;
use crate::{Kind, Result};

/// A message and its remedy for each seller and each kind of DID.
pub(crate) fn messages(db: &mut impl GenericClient, rules: &NumberRules, filter: Filter) -> Result<Vec<String>> {
    let stored = match did::stored(db, filter, !rules.reach_all()) {
        // a login that may not see who owns a number
        Err(e) if e.kind == Kind::Permission => return Ok(Vec::new()),
        stored => stored?,
    };
    let mut kinds: BTreeMap<(&str, u8), Vec<(&Stored, OutOfReach)>> = BTreeMap::new();
    for did in &stored {
        let Some(why) = rules.out_of_reach(&did.number) else { continue };
        let kind = match why {
            OutOfReach::ArrivesAs(_) => 0,
            OutOfReach::NeverMade => 1,
            OutOfReach::NoNumber(_) => 2,
        };
        kinds.entry((&did.username, kind)).or_default().push((did, why));
    }
    kinds.into_values().map(|dids| message(db, &dids)).collect()
}

/// The message for DIDs of one kind, from the first of them.
fn message(db: &mut impl GenericClient, dids: &[(&Stored, OutOfReach)]) -> Result<String> {
    let [(Stored { id, number, username }, why), ..] = dids else { return Ok(String::new()) };
    let dids = match dids.len() {
        1 => format!("active DID {} of {username} gets no calls", number.escape_debug()),
        n => format!("{n} active DIDs of {username} get no calls, as {}", number.escape_debug()),
    };
    let remedy = match why {
        OutOfReach::ArrivesAs(other) => match did::find(db, None, other.as_str())? {
            Some(_) => format!(", which is a DID, too: capconduit did disable {id}"),
            None => format!(": capconduit did set {id} --number {other}"),
        },
        OutOfReach::NeverMade => ". With the rule +=+ they take numbers that have their + as they are".to_owned(),
        OutOfReach::NoNumber(_) => {
            format!(": capconduit did set {id} --number NUMBER, or capconduit did disable {id}")
        }
    };
    Ok(format!("{dids}: {why}{remedy}"))
}
