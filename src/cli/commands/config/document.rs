//! The document: its shape, and the checks that refuse anything else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value, json};

use crate::cli::commands::config::rules;
use crate::model::columns;
use crate::model::number::{Doubt, NoNumber, NumberRules};
use crate::store::document::{Column, Holds, Key, Schema, State, key_of};
use crate::store::noun::Noun;
use crate::store::pjsip;
use crate::words::nearest;
use crate::words::quoted;
use crate::{Error, Result};

/// What the document calls itself.
pub(crate) const FORMAT: &str = "capconduit-config";
/// The version that is written: a field that an object leaves out has its default.
pub(crate) const VERSION: i64 = 2;
/// The version that is still read: a field that an object leaves out stays as it is.
const LEFT_OUT_STAYS: i64 = 1;

/// A thing that the document names.
pub(crate) struct Object {
    /// Where it stands: `clients[3]`.
    pub(crate) path: String,
    pub(crate) key: Key,
    /// What is said of it.
    pub(crate) fields: Map<String, Value>,
}

/// A document of the right shape.
#[derive(Default)]
pub(crate) struct Document {
    /// Fields that an object leaves out stay as they are; else they get their defaults.
    pub(crate) left_out_stays: bool,
    /// The sellers that it is about; None: everybody.
    pub(crate) scope: Option<BTreeSet<String>>,
    /// In the order of the document.
    pub(crate) objects: BTreeMap<Noun, Vec<Object>>,
    /// The nouns whose objects it names completely.
    pub(crate) whole: BTreeSet<Noun>,
    /// The parts of clients that it says must not exist.
    pub(crate) without: BTreeSet<(Noun, Key)>,
    /// The campaigns whose settings it names completely.
    pub(crate) whole_campaigns: BTreeSet<Key>,
}

/// Everything that is wrong with a document.
#[derive(Default)]
pub(crate) struct Problems(Vec<String>);

impl Problems {
    pub(crate) fn add(&mut self, path: &str, what: impl AsRef<str>) {
        self.0.push(format!("{path}: {}", what.as_ref()));
    }

    /// Reports a required field without a value, unless another problem of that field is already reported.
    pub(crate) fn missing(&mut self, path: &str, what: &str) {
        let is_wrong =
            self.0.iter().any(|problem| problem.strip_prefix(path).is_some_and(|rest| rest.starts_with(": ")));
        if !is_wrong {
            self.add(path, what);
        }
    }

    /// What a rule says.
    pub(crate) fn check(&mut self, path: &str, rule: Result<()>) {
        if let Err(error) = rule {
            self.add(path, error.message);
        }
    }

    pub(crate) fn refuse(self) -> Result<()> {
        let count = match self.0.len() {
            0 => return Ok(()),
            1 => "a problem".to_owned(),
            n => format!("{n} problems"),
        };
        Err(Error::invalid(format!("the document has {count}:\n{}", self.0.join("\n")))
            .hint("Nothing was changed. Put them right and try again."))
    }
}

/// The path of a field.
pub(crate) fn at(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

/// The text of a document as JSON.
pub(crate) fn parse(text: &str) -> Result<Value> {
    // an editor of another system may put this first
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let Strict(value) = serde_json::from_str(text).map_err(|e| {
        // the reader's messages hold no values
        Error::invalid(format!("the document is not JSON: {e}"))
            .hint("Nothing was changed. capconduit config export prints one that is.")
    })?;
    Ok(value)
}

/// JSON in which no object has two fields of one name: one of them would be lost.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((name, Strict(value))) = fields.next_entry::<String, Strict>()? {
            if map.contains_key(&name) {
                return Err(A::Error::custom(format!("the field {} is there twice", quoted(&name))));
            }
            map.insert(name, value);
        }
        Ok(map.into())
    }
}

/// Reads documents.
pub(crate) struct Reader<'a> {
    pub(crate) schema: &'a Schema,
    pub(crate) state: &'a State,
    pub(crate) rules: &'a NumberRules,
    pub(crate) problems: Problems,
    pub(crate) document: Document,
}

impl Reader<'_> {
    /// Reads a document; its faults are in `problems`.
    pub(crate) fn read(&mut self, document: Value) {
        let Some(fields) =
            self.object("", document, &["format", "version", "scope", "users", "clients", "dids", "campaigns"])
        else {
            return;
        };
        if fields.get("format") != Some(&json!(FORMAT)) {
            self.problems.add("format", format!("it must be \"{FORMAT}\""));
        }
        let version = fields.get("version").and_then(Value::as_i64);
        if !matches!(version, Some(LEFT_OUT_STAYS | VERSION)) {
            let what = format!("it must be {LEFT_OUT_STAYS} or {VERSION}: this program reads no other");
            self.problems.add("version", what);
        }
        self.document.left_out_stays = version == Some(LEFT_OUT_STAYS);
        for (name, value) in fields {
            match name.as_str() {
                "scope" => self.scope(value),
                "users" => self.each(Noun::User, "users", value, Self::user),
                "clients" => self.each(Noun::Client, "clients", value, Self::client),
                "dids" => self.each(Noun::Did, "dids", value, Self::did),
                "campaigns" => self.each(Noun::Campaign, "campaigns", value, Self::campaign),
                _ => {}
            }
        }
    }

    /// The fields of an object, all of which it may have.
    fn object(&mut self, path: &str, value: Value, names: &[&str]) -> Option<Map<String, Value>> {
        let Value::Object(mut fields) = value else {
            self.problems.add(if path.is_empty() { "document" } else { path }, "it must be an object");
            return None;
        };
        let unknown: Vec<String> = fields.keys().filter(|name| !names.contains(&name.as_str())).cloned().collect();
        for name in unknown {
            let known: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let hint = nearest(&name, &known).map(|near| format!(": did you mean \"{near}\"?")).unwrap_or_default();
            self.problems.add(&at(path, &name.escape_debug().to_string()), format!("there is no such field{hint}"));
            fields.shift_remove(&name);
        }
        Some(fields)
    }

    fn list(&mut self, path: &str, value: Value) -> Vec<Value> {
        match value {
            Value::Array(items) => items,
            _ => {
                self.problems.add(path, "it must be a list");
                Vec::new()
            }
        }
    }

    fn each(&mut self, noun: Noun, path: &str, value: Value, read: fn(&mut Self, String, Value)) {
        self.document.whole.insert(noun);
        for (index, item) in self.list(path, value).into_iter().enumerate() {
            read(self, format!("{path}[{index}]"), item);
        }
    }

    fn scope(&mut self, value: Value) {
        let mut scope = BTreeSet::new();
        for (index, user) in self.list("scope", value).into_iter().enumerate() {
            match user {
                Value::String(user) => {
                    scope.insert(user);
                }
                _ => self.problems.add(&format!("scope[{index}]"), "it must be a username"),
            }
        }
        self.document.scope = Some(scope);
    }

    /// Checks types, and takes an object up under its key.
    fn take(&mut self, noun: Noun, path: String, mut fields: Map<String, Value>) -> Option<Key> {
        let columns = self.schema.get(&noun).map(Vec::as_slice).unwrap_or_default();
        let names = fields.keys().filter(|name| !noun.key().contains(&name.as_str()));
        for name in names.cloned().collect::<Vec<_>>() {
            let Some(column) = columns.iter().find(|column| column.name == name) else { continue };
            let Some(value) = fields.get_mut(&name) else { continue };
            if let Err(what) = of_type(column, value) {
                self.problems.add(&at(&path, &name), what);
                fields.shift_remove(&name);
            }
        }
        let mut whole = true;
        for name in noun.key() {
            match fields.get(*name) {
                Some(Value::String(text)) if !text.is_empty() && !text.contains('\0') => {}
                Some(_) => {
                    self.problems.add(&at(&path, name), "it must be a text that is not empty");
                    whole = false;
                }
                None => {
                    self.problems.add(&at(&path, name), "it is missing: it names the object");
                    whole = false;
                }
            }
        }
        if noun == Noun::Did
            && whole
            && let Some(Value::String(number)) = fields.get_mut("number")
        {
            let path = at(&path, "number");
            match self.did_number(number) {
                Ok(normal) => {
                    if !self.is_there(&normal) && self.rules.doubt(number) == Some(Doubt::Country) {
                        let doubt = Doubt::Country;
                        self.problems.add(&path, format!("{} would be {normal}: {doubt}", quoted(number)));
                    }
                    *number = normal;
                }
                Err(why) => {
                    self.problems.add(&path, format!("{} is not a phone number: {why}", quoted(number)));
                    whole = false;
                }
            }
        }
        if !whole {
            return None;
        }
        let key = key_of(noun, &fields);
        self.document.objects.entry(noun).or_default().push(Object { path, key: key.clone(), fields });
        Some(key)
    }

    /// The number of an existing DID as it is stored, or else the number in its stored form.
    fn did_number(&self, number: &str) -> Result<String, NoNumber> {
        if self.is_there(number) { Ok(number.to_owned()) } else { self.rules.read(number).map(|n| n.to_string()) }
    }

    /// Whether there is a DID that is stored so.
    fn is_there(&self, number: &str) -> bool {
        self.state.get(&Noun::Did).is_some_and(|dids| dids.contains_key(&vec![number.to_owned()]))
    }

    fn names(&self, noun: Noun, more: &[&'static str]) -> Vec<String> {
        let columns = self.schema.get(&noun).into_iter().flatten().map(|column| column.name.clone());
        columns.chain(more.iter().map(|name| (*name).to_owned())).collect()
    }

    fn fields_of(&mut self, noun: Noun, more: &[&'static str], path: &str, value: Value) -> Option<Map<String, Value>> {
        let names = self.names(noun, more);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.object(path, value, &names)
    }

    fn user(&mut self, path: String, value: Value) {
        if let Some(fields) = self.fields_of(Noun::User, &[], &path, value) {
            self.take(Noun::User, path, fields);
        }
    }

    fn client(&mut self, path: String, value: Value) {
        let Some(mut fields) = self.fields_of(Noun::Client, &["endpoint", "aor", "auth"], &path, value) else { return };
        let sides: Vec<(Noun, Value)> = [Noun::Endpoint, Noun::Aor, Noun::Auth]
            .into_iter()
            .filter_map(|noun| Some((noun, fields.shift_remove(noun.name())?)))
            .collect();
        let Some(key) = self.take(Noun::Client, path.clone(), fields) else { return };
        for (noun, side) in sides {
            if side.is_null() {
                self.document.without.insert((noun, key.clone()));
                continue;
            }
            let path = at(&path, noun.name());
            if let Some(mut fields) = self.fields_of(noun, &[], &path, side) {
                fields.insert("client".to_owned(), json!(key[0]));
                self.take(noun, path, fields);
            }
        }
    }

    fn did(&mut self, path: String, value: Value) {
        let Some(fields) = self.fields_of(Noun::Did, &["user"], &path, value) else { return };
        if fields.get("user").is_some_and(|user| !user.is_string()) {
            self.problems.add(&at(&path, "user"), "it must be a username");
            return;
        }
        self.take(Noun::Did, path, fields);
    }

    fn campaign(&mut self, path: String, value: Value) {
        let Some(mut fields) = self.fields_of(Noun::Campaign, &["user", "dids", "settings"], &path, value) else {
            return;
        };
        if let Some(dids) = fields.shift_remove("dids") {
            let dids_path = at(&path, "dids");
            let mut numbers = BTreeSet::new();
            for (index, did) in self.list(&dids_path, dids).into_iter().enumerate() {
                let path = format!("{dids_path}[{index}]");
                let Value::String(did) = did else {
                    self.problems.add(&path, "it must be a number as text");
                    continue;
                };
                match self.did_number(&did) {
                    Err(why) => self.problems.add(&path, format!("{} is not a phone number: {why}", quoted(&did))),
                    Ok(number) if numbers.contains(&number) => {
                        self.problems.add(&path, format!("\"{number}\" stands there twice"));
                    }
                    Ok(number) => {
                        numbers.insert(number);
                    }
                }
            }
            fields.insert("dids".to_owned(), json!(numbers));
        }
        let settings = fields.shift_remove("settings");
        let Some(key) = self.take(Noun::Campaign, path.clone(), fields) else { return };
        let Some(settings) = settings else { return };
        self.document.whole_campaigns.insert(key.clone());
        let list = at(&path, "settings");
        for (index, setting) in self.list(&list, settings).into_iter().enumerate() {
            let path = format!("{list}[{index}]");
            if let Some(mut fields) = self.fields_of(Noun::Setting, &["client"], &path, setting) {
                fields.insert("user".to_owned(), json!(key[0]));
                fields.insert("campaign".to_owned(), json!(key[1]));
                self.take(Noun::Setting, path, fields);
            }
        }
    }
}

/// Checks that a value has its column's type. An empty text is null where null is allowed.
fn of_type(column: &Column, value: &mut Value) -> Result<(), String> {
    let wanted = match (column.holds, &*value) {
        (_, Value::Null) if column.nullable => return Ok(()),
        (Holds::Text(_), Value::String(text)) if text.contains('\0') => return Err("it holds a NUL".to_owned()),
        (Holds::Text(_), Value::String(text)) => {
            if text.is_empty() && column.nullable {
                *value = Value::Null;
            }
            return Ok(());
        }
        (Holds::Integer, Value::Number(number)) if number.is_i64() || number.is_u64() => return Ok(()),
        (Holds::Float, Value::Number(number)) => {
            // 3.0 is 3, as the database gives it back
            if let Some(whole) = number.as_f64().filter(|n| n.fract() == 0.0 && n.abs() < 1e15) {
                #[allow(clippy::cast_possible_truncation, reason = "a whole number of that size is exact")]
                let whole = whole as i64;
                *value = whole.into();
            }
            return Ok(());
        }
        (Holds::Bool, Value::Bool(_)) => return Ok(()),
        (Holds::Text(_), _) => "a text",
        (Holds::Integer, _) => "a whole number",
        (Holds::Float, _) => "a number",
        (Holds::Bool, _) => "true or false",
    };
    Err(format!("it must be {wanted}{}", if column.nullable { ", or null" } else { "" }))
}

/// The default of a field that is left out, of an object or of this client's SIP side: that of the verb that adds it.
/// `has_auth`: the client has authentication.
pub(crate) fn default(noun: Noun, column: &Column, client: &str, has_auth: bool) -> Value {
    match (noun, column.name.as_str()) {
        (Noun::User, "password_hash") => json!(crate::cli::commands::user::NO_PASSWORD),
        (Noun::Endpoint, "context") => json!(pjsip::DEFAULT_CONTEXT),
        (Noun::Endpoint, "aors") => json!(client),
        (Noun::Endpoint, "outbound_auth") if has_auth => json!(client),
        (_, name) => match columns::of(noun.name(), name).and_then(|declared| declared.default) {
            Some(default) => json!(default),
            None => column.default.clone(),
        },
    }
}

/// The document of the present state, of these sellers or of all.
pub(crate) fn write(schema: &Schema, state: &State, scope: Option<&BTreeSet<String>>, with_secrets: bool) -> Value {
    let of = |noun: Noun| state.get(&noun).into_iter().flatten();
    let in_scope = |fields: &Map<String, Value>| {
        scope.is_none_or(|scope| fields.get("user").and_then(Value::as_str).is_some_and(|user| scope.contains(user)))
    };
    let own = |noun: Noun, before: &[&str], fields: &Map<String, Value>| {
        let mut object = Map::new();
        for name in before {
            object.insert((*name).to_owned(), fields.get(*name).cloned().unwrap_or_default());
        }
        let client = fields.get("client").and_then(Value::as_str).unwrap_or_default();
        let has_auth = || state.get(&Noun::Auth).is_some_and(|auths| auths.contains_key(&vec![client.to_owned()]));
        for column in schema.get(&noun).into_iter().flatten().filter(|c| with_secrets || !c.is_secret()) {
            let value = fields.get(&column.name).cloned().unwrap_or_default();
            // most of a hundred options are unset, and leaving one out says so; for a secret it does not
            let is_told = column.is_secret() || rules::is_required(noun, column);
            if value.is_null() && !is_told && default(noun, column, client, has_auth()).is_null() {
                continue;
            }
            object.insert(column.name.clone(), value);
        }
        object
    };
    let mut settings: BTreeMap<Key, Vec<Value>> = BTreeMap::new();
    let mut clients_named: BTreeSet<&str> = BTreeSet::new();
    for (key, row) in of(Noun::Setting).filter(|(_, row)| in_scope(&row.fields)) {
        clients_named.insert(&key[2]);
        settings.entry(key[..2].to_vec()).or_default().push(own(Noun::Setting, &["client"], &row.fields).into());
    }
    let users: Vec<Value> = of(Noun::User)
        .filter(|(key, _)| scope.is_none_or(|scope| scope.contains(&key[0])))
        .map(|(_, row)| own(Noun::User, &[], &row.fields).into())
        .collect();
    let clients: Vec<Value> = of(Noun::Client)
        .filter(|(key, _)| scope.is_none() || clients_named.contains(key[0].as_str()))
        .map(|(key, row)| {
            let mut client = own(Noun::Client, &[], &row.fields);
            for noun in [Noun::Endpoint, Noun::Aor, Noun::Auth] {
                let side = state.get(&noun).and_then(|rows| rows.get(key));
                let side = side.map(|row| Value::Object(own(noun, &[], &row.fields)));
                client.insert(noun.name().to_owned(), side.unwrap_or_default());
            }
            client.into()
        })
        .collect();
    let dids: Vec<Value> = of(Noun::Did)
        .filter(|(_, row)| in_scope(&row.fields))
        .map(|(_, row)| {
            let own = own(Noun::Did, &["number", "user"], &row.fields);
            own.into()
        })
        .collect();
    let campaigns: Vec<Value> = of(Noun::Campaign)
        .filter(|(_, row)| in_scope(&row.fields))
        .map(|(key, row)| {
            let mut campaign = own(Noun::Campaign, &["user"], &row.fields);
            campaign.insert("dids".to_owned(), row.fields.get("dids").cloned().unwrap_or_default());
            campaign.insert("settings".to_owned(), settings.remove(key).unwrap_or_default().into());
            campaign.into()
        })
        .collect();
    let mut document = Map::new();
    document.insert("format".to_owned(), json!(FORMAT));
    document.insert("version".to_owned(), json!(VERSION));
    if let Some(scope) = scope {
        document.insert("scope".to_owned(), json!(scope));
    }
    for (name, list) in [("users", users), ("clients", clients), ("dids", dids), ("campaigns", campaigns)] {
        document.insert(name.to_owned(), list.into());
    }
    document.into()
}

/// DIDs whose calls another campaign would get after an apply to an empty database: of several active campaigns with a
/// DID, the first added goes before, and names do not show that order.
pub(crate) fn order_lost(state: &State, scope: Option<&BTreeSet<String>>) -> BTreeSet<String> {
    let mut first: BTreeMap<&str, i32> = BTreeMap::new();
    let mut lost = BTreeSet::new();
    for (key, row) in state.get(&Noun::Campaign).into_iter().flatten() {
        if row.fields.get("status") != Some(&json!("active")) || scope.is_some_and(|scope| !scope.contains(&key[0])) {
            continue;
        }
        for number in row.fields.get("dids").and_then(Value::as_array).into_iter().flatten() {
            let number = number.as_str().unwrap_or_default();
            if *first.entry(number).or_insert(row.id) > row.id {
                lost.insert(number.to_owned());
            }
        }
    }
    lost
}
