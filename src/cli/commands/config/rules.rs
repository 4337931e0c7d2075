//! What a value of the document may be: the rules of the verbs that set it.

use serde_json::{Map, Value};

use crate::cli::commands::pjsip::fields;
use crate::cli::commands::user;
use crate::model::columns;
use crate::model::pjsip_options::{self, Object, SipOption};
use crate::model::sip::check_identifier;
use crate::model::values::{self, line, not_an_id};
use crate::store::document::{Column, Holds};
use crate::store::noun::Noun;
use crate::{Error, Result};

/// A new object's names.
pub(crate) fn check_names(noun: Noun, fields: &Map<String, Value>) -> Result<()> {
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    match noun {
        Noun::User => {
            line("username", text("username"), columns::USERNAME).and_then(|()| not_an_id("username", text("username")))
        }
        Noun::Client => {
            let identifier = text("client_identifier");
            check_identifier(identifier).and_then(|()| not_an_id("client_identifier", identifier))
        }
        Noun::Campaign => line("name", text("name"), columns::NAME).and_then(|()| not_an_id("name", text("name"))),
        // an endpoint's id holds no more than what check_identifier lets through
        Noun::Endpoint | Noun::Aor | Noun::Auth => check_identifier(text("client")),
        Noun::Did | Noun::Setting => Ok(()),
    }
}

/// Whether an object must have the field.
pub(crate) fn is_required(noun: Noun, column: &Column) -> bool {
    !column.nullable || (noun == Noun::Auth && column.name == "username")
}

/// Whether the field must be given, without a default: a person decides a cap.
pub(crate) fn must_be_said(noun: Noun, column: &Column) -> bool {
    columns::of(noun.name(), &column.name).is_some_and(|declared| declared.needed)
}

/// A value that is to be stored. Types have been checked.
pub(crate) fn check(noun: Noun, column: &Column, value: &Value) -> Result<()> {
    let name = column.name.as_str();
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if column.holds == Holds::Integer => number.as_i64().unwrap_or(i64::MAX).to_string(),
        Value::Number(number) => number.to_string(),
        _ => return Ok(()),
    };
    if let Some(option) = sip_option(noun, name) {
        return option.check(&text);
    }
    if let Some(declared) = columns::of(noun.name(), name) {
        return declared.read(&text).map(|_| ());
    }
    match (name, column.holds) {
        ("password_hash", _) => check_hash(&text),
        ("password", _) => fields::check_password(&text),
        (_, Holds::Text(max)) => values::stored(name, &text, max.unwrap_or(usize::MAX)),
        _ => values::number(name, value.as_i64().unwrap_or(i64::MAX), 0..=i32::MAX).map(|_| ()),
    }
}

/// The SIP option of a column, if it has one.
fn sip_option(noun: Noun, name: &str) -> Option<&'static SipOption> {
    let object = match noun {
        Noun::Endpoint => Object::Endpoint,
        Noun::Aor if name == pjsip_options::AOR_OUTBOUND_PROXY => Object::Endpoint,
        Noun::Aor => Object::Aor,
        _ => return None,
    };
    pjsip_options::of(object).find(|option| option.name == name)
}

/// A hash is a secret: no message repeats it.
fn check_hash(hash: &str) -> Result<()> {
    let bcrypt = hash.len() == 60 && hash.starts_with("$2") && hash.bytes().all(|b| b.is_ascii_graphic());
    if bcrypt || hash == user::NO_PASSWORD {
        return Ok(());
    }
    Err(Error::invalid(format!("password_hash is no bcrypt hash, nor \"{}\" for none", user::NO_PASSWORD)))
}
