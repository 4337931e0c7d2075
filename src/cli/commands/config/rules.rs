//! What a value of the document may be: the rules of the verbs that set it.

use serde_json::{Map, Value};

use crate::cli::args::input::{clearable, fits, line, not_an_id, number};
use crate::cli::commands::pjsip::fields;
use crate::cli::commands::user;
use crate::model::pjsip_options::{self, Object, SipOption};
use crate::model::realtime::Text;
use crate::model::rules::{self, Rule};
use crate::model::sip::check_identifier;
use crate::store::document::{Column, Holds, Noun};
use crate::words::quoted;
use crate::{Error, Result};

/// A new object's names.
pub(crate) fn check_names(noun: Noun, fields: &Map<String, Value>) -> Result<()> {
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    match noun {
        Noun::User => {
            line("username", text("username"), rules::USERNAME).and_then(|()| not_an_id("username", text("username")))
        }
        Noun::Client => {
            let identifier = text("client_identifier");
            check_identifier(identifier).and_then(|()| not_an_id("client_identifier", identifier))
        }
        Noun::Campaign => line("name", text("name"), rules::NAME).and_then(|()| not_an_id("name", text("name"))),
        // an endpoint's id holds no more than what check_identifier lets through
        Noun::Endpoint | Noun::Aor | Noun::Auth => check_identifier(text("client")),
        Noun::Did | Noun::Setting => Ok(()),
    }
}

/// Whether an object cannot be without the field.
pub(crate) fn is_required(noun: Noun, column: &Column) -> bool {
    !column.nullable || (noun == Noun::Auth && column.name == "username")
}

/// Whether no default is taken for it: a cap is what somebody has decided.
pub(crate) fn must_be_said(noun: Noun, column: &Column) -> bool {
    noun == Noun::Setting && column.name == "max_concurrency"
}

/// A value that is to be stored. Types have been checked.
pub(crate) fn check(noun: Noun, column: &Column, value: &Value) -> Result<()> {
    let name = column.name.as_str();
    if let Some(option) = sip_option(noun, name) {
        return match value {
            Value::Null => Ok(()),
            Value::String(text) => option.check(text),
            other => option.check(&other.to_string()),
        };
    }
    let rule = rules::of(noun.name(), name);
    match value {
        Value::String(text) => match rule {
            Some(Rule::OneOf(values)) => one_of(name, text, values),
            _ => check_text(noun, column, text),
        },
        Value::Number(n) => {
            let range = match rule {
                Some(Rule::Within(range)) => range.clone(),
                _ => 0..=i32::MAX,
            };
            number(name, n.as_i64().unwrap_or(i64::MAX), range).map(|_| ())
        }
        _ => Ok(()),
    }
}

/// The option that a column of the SIP side is, if it is one.
fn sip_option(noun: Noun, name: &str) -> Option<&'static SipOption> {
    let object = match noun {
        Noun::Endpoint => Object::Endpoint,
        Noun::Aor if name == pjsip_options::AOR_OUTBOUND_PROXY => Object::Endpoint,
        Noun::Aor => Object::Aor,
        _ => return None,
    };
    pjsip_options::of(object).find(|option| option.name == name)
}

fn check_text(noun: Noun, column: &Column, text: &str) -> Result<()> {
    let name = column.name.as_str();
    let max = match column.holds {
        Holds::Text(Some(max)) => max,
        _ => usize::MAX,
    };
    let owned = || Some(text.to_owned());
    match (noun, name) {
        (_, "password_hash") => check_hash(text),
        (_, "password") => fields::check_password(text),
        (Noun::User, "email") => user::check_email(text),
        (Noun::Aor, "contact") => fields::contact(text.to_owned()).map(|_| ()),
        (Noun::Endpoint, "disallow" | "allow") => fields::codecs(name, owned()).map(|_| ()),
        (Noun::Endpoint, "transport" | "context" | "aors" | "auth" | "outbound_auth" | "from_user" | "from_domain") => {
            if text.is_empty() {
                return Err(Error::invalid(format!("{name} is empty: it must have a value")));
            }
            match name {
                "from_domain" => fields::host(name, owned(), max).map(|_| ()),
                _ => fields::word(name, owned(), max).map(|_| ()),
            }
        }
        (Noun::Endpoint | Noun::Aor | Noun::Auth, _) => {
            line(name, text, max)?;
            fits(name, &Text(text.to_owned()).encoded(), max)
        }
        // free text
        (Noun::Client, "notes") | (Noun::Campaign, "description") => Ok(()),
        _ if column.nullable => clearable(name, text, max),
        _ => line(name, text, max),
    }
}

fn one_of(column: &str, text: &str, values: &[&str]) -> Result<()> {
    if values.contains(&text) {
        return Ok(());
    }
    Err(Error::invalid(format!("{column} is {}: it must be one of {}", quoted(text), values.join(", "))))
}

/// A hash is a secret: no message repeats it.
fn check_hash(hash: &str) -> Result<()> {
    let bcrypt = hash.len() == 60 && hash.starts_with("$2") && hash.bytes().all(|b| b.is_ascii_graphic());
    if bcrypt || hash == user::NO_PASSWORD {
        return Ok(());
    }
    Err(Error::invalid(format!("password_hash is no bcrypt hash, nor \"{}\" for none", user::NO_PASSWORD)))
}
