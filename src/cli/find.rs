//! Things by the names that people give them: name or id, "did you mean", names that exist already.

use postgres::GenericClient;

use crate::config::Config;
use crate::model::number::E164;
use crate::store::campaign::Campaign;
use crate::store::client::Client;
use crate::store::did::Did;
use crate::store::user::User;
use crate::words::nearest;
use crate::{Error, Kind, Result, store};

/// The user of this name or id.
pub(crate) fn user(db: &mut impl GenericClient, name: &str) -> Result<User> {
    match store::user::find(db, name)? {
        Some(user) => Ok(user),
        None => Err(unknown("user", name, &store::user::names(db)?)),
    }
}

/// The id of the user that an option names.
pub(crate) fn user_id(db: &mut impl GenericClient, name: Option<&str>) -> Result<Option<i32>> {
    name.map(|name| Ok(user(db, name)?.id)).transpose()
}

/// The client of this identifier or id.
pub(crate) fn client(db: &mut impl GenericClient, name: &str) -> Result<Client> {
    match store::client::find(db, name)? {
        Some(client) => Ok(client),
        None => Err(unknown("client", name, &store::client::names(db)?)),
    }
}

/// Id and identifier of the client of this identifier or id.
pub(crate) fn client_reference(db: &mut impl GenericClient, name: &str) -> Result<(i32, String)> {
    match store::client::reference(db, name)? {
        Some(client) => Ok(client),
        None => Err(unknown("client", name, &store::client::names(db)?)),
    }
}

/// The id of the client that an option names.
pub(crate) fn client_id(db: &mut impl GenericClient, name: Option<&str>) -> Result<Option<i32>> {
    name.map(|name| Ok(client_reference(db, name)?.0)).transpose()
}

/// The campaign of this name or id; `user` says whose, where several sellers have one.
pub(crate) fn campaign(db: &mut impl GenericClient, name: &str, user: Option<&str>) -> Result<Campaign> {
    let user_id = user_id(db, user)?;
    let mut found = store::campaign::find(db, name, user_id)?;
    match (found.pop(), found.is_empty()) {
        (Some(campaign), true) => Ok(campaign),
        (Some(last), false) => {
            found.push(last);
            let whose: Vec<String> = found.iter().map(|c| format!("{}'s (id {})", c.username, c.id)).collect();
            Err(Error::invalid(format!("campaign \"{name}\" is ambiguous: {}", whose.join(", ")))
                .hint("Say which with --user, or give its id instead of its name."))
        }
        (None, _) => match user {
            None => Err(unknown("campaign", name, &store::campaign::names(db)?)),
            Some(user) => Err(Error::new(Kind::NotFound, format!("user \"{user}\" has no campaign \"{name}\""))),
        },
    }
}

/// The id of the campaign that an option names.
pub(crate) fn campaign_id(db: &mut impl GenericClient, name: Option<&str>, user: Option<&str>) -> Result<Option<i32>> {
    name.map(|name| Ok(campaign(db, name, user)?.id)).transpose()
}

/// The seller's own campaign of this name or id.
pub(crate) fn campaign_of_owner(db: &mut impl GenericClient, name: &str, owner: &User) -> Result<Campaign> {
    if let Some(own) = store::campaign::find(db, name, Some(owner.id))?.pop() {
        return Ok(own);
    }
    let other = campaign(db, name, None)?;
    Err(Error::conflict(format!("campaign \"{}\" is {}'s, not {}'s", other.name, other.username, owner.username))
        .hint("Nothing was changed. A DID feeds campaigns of its own seller only."))
}

/// The DID of this number, in any form that a carrier may send, or id.
pub(crate) fn did(db: &mut impl GenericClient, config: &Config, name: &str) -> Result<Did> {
    let number = config.number_rules()?.normalize(name);
    match store::did::find(db, number.as_ref().map(E164::as_str), name)? {
        Some(did) => Ok(did),
        None => Err(unknown("DID", number.as_ref().map_or(name, E164::as_str), &store::did::names(db)?)),
    }
}

/// The number as records have it. It need not be a DID: calls to other numbers are recorded, too.
pub(crate) fn called_number(db: &mut impl GenericClient, config: &Config, did: String) -> Result<String> {
    let number = config.number_rules()?.normalize(&did).map(|number| number.as_str().to_owned());
    let known = store::did::find(db, number.as_deref(), &did)?;
    Ok(known.map(|did| did.number).or(number).unwrap_or(did))
}

/// The error for adding a thing that exists.
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

/// The error for an unknown name, with the known name that it may be a slip of.
pub(crate) fn unknown(noun: &str, name: &str, known: &[String]) -> Error {
    let error = Error::not_found(noun, name);
    match nearest(name, known) {
        Some(near) => error.hint(format!("did you mean \"{near}\"?")),
        None => error,
    }
}
