//! Comparing a document with the database: additions, changes and removals.

use crate::cli::commands::config::document::{self, Document, Object, Problems, at};
use crate::cli::commands::config::plan::{Action, Change, Plan, name_of};
use crate::cli::commands::config::rules;
use crate::store::document::{Column, Key, Row, Schema, State};
use crate::store::noun::Noun;
use crate::words::nearest;
use crate::words::quoted;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Makes a plan.
pub(crate) struct Planner<'a> {
    schema: &'a Schema,
    state: &'a State,
    document: &'a Document,
    pub(crate) problems: Problems,
    index: BTreeMap<(Noun, &'a Key), &'a Object>,
}

impl<'a> Planner<'a> {
    pub(crate) fn new(schema: &'a Schema, state: &'a State, document: &'a Document, problems: Problems) -> Self {
        let all = document.objects.iter().flat_map(|(noun, objects)| objects.iter().map(move |o| ((*noun, &o.key), o)));
        let index = all.collect();
        Planner { schema, state, document, problems, index }
    }

    /// The changes to make; the document's faults are in `problems`.
    pub(crate) fn plan(&mut self, prune: bool) -> Plan {
        let mut plan = Plan::default();
        self.twice();
        self.in_scope();
        for noun in Noun::ALL {
            for object in self.objects(noun) {
                self.references(noun, object);
                match self.there(noun, &object.key) {
                    Some(row) => self.change(noun, object, row, &mut plan),
                    None => self.add(noun, object, &mut plan),
                }
            }
        }
        let unnamed = self.unnamed();
        if prune {
            plan.changes.extend(unnamed);
        } else {
            plan.unnamed = unnamed.len();
        }
        self.emails(&mut plan);
        self.links(&mut plan);
        plan
    }

    fn rows(&self, noun: Noun) -> impl Iterator<Item = (&'a Key, &'a Row)> + use<'a> {
        self.state.get(&noun).into_iter().flatten()
    }

    fn there(&self, noun: Noun, key: &Key) -> Option<&'a Row> {
        self.state.get(&noun)?.get(key)
    }

    fn objects(&self, noun: Noun) -> &'a [Object] {
        self.document.objects.get(&noun).map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether the database or the document has the object.
    fn is_known(&self, noun: Noun, key: &Key) -> bool {
        self.there(noun, key).is_some() || self.index.contains_key(&(noun, key))
    }

    /// Refuses an object that the document names twice.
    fn twice(&mut self) {
        for noun in Noun::ALL {
            let mut seen: BTreeMap<&Key, &str> = BTreeMap::new();
            for object in self.objects(noun) {
                if let Some(first) = seen.insert(&object.key, &object.path) {
                    let what = format!(
                        "{} {} stands there twice, first at {first}",
                        noun.name(),
                        quoted(&name_of(&object.key))
                    );
                    self.problems.add(&object.path, what);
                }
            }
        }
    }

    /// Refuses others' objects in a document about some sellers.
    fn in_scope(&mut self) {
        let Some(scope) = &self.document.scope else { return };
        let owner =
            |fields: &Map<String, Value>, name: &str| fields.get(name).and_then(Value::as_str).map(str::to_owned);
        for (noun, field) in [(Noun::User, "username"), (Noun::Did, "user"), (Noun::Campaign, "user")] {
            for object in self.objects(noun) {
                let now = self.there(noun, &object.key).and_then(|row| owner(&row.fields, field));
                for user in owner(&object.fields, field).into_iter().chain(now) {
                    if !scope.contains(&user) {
                        let what = format!("{} is not in the document's scope", quoted(&user));
                        self.problems.add(&at(&object.path, field), what);
                        break;
                    }
                }
            }
        }
    }

    /// Every object that another names must be in the database or the document.
    fn references(&mut self, noun: Noun, object: &Object) {
        let references: &[(&str, Noun)] = match noun {
            Noun::Did | Noun::Campaign => &[("user", Noun::User)],
            Noun::Setting => &[("client", Noun::Client)],
            _ => &[],
        };
        for (field, of) in references {
            let Some(name) = object.fields.get(*field).and_then(Value::as_str) else { continue };
            if self.is_known(*of, &vec![name.to_owned()]) {
                continue;
            }
            let known: Vec<String> = self.rows(*of).map(|(key, _)| key[0].clone()).collect();
            let known: Vec<String> =
                known.into_iter().chain(self.objects(*of).iter().map(|o| o.key[0].clone())).collect();
            let near = nearest(name, &known).map(|near| format!(": did you mean \"{near}\"?")).unwrap_or_default();
            let what = format!("{} {} is neither in the document nor in the database{near}", of.name(), quoted(name));
            self.problems.add(&at(&object.path, field), what);
        }
    }

    fn change(&mut self, noun: Noun, object: &Object, row: &Row, plan: &mut Plan) {
        let (mut to, mut from) = (Map::new(), Map::new());
        let left_out = if self.document.left_out_stays { Map::new() } else { self.left_out(noun, object) };
        for (name, value) in object.fields.iter().chain(&left_out) {
            let now = row.fields.get(name).unwrap_or(&Value::Null);
            if now == value {
                continue;
            }
            self.value(noun, &object.path, name, value);
            to.insert(name.clone(), value.clone());
            from.insert(name.clone(), now.clone());
        }
        if to.is_empty() {
            return;
        }
        plan.changes.push(Change { action: Action::Change, noun, key: object.key.clone(), id: Some(row.id), to, from });
    }

    /// The fields that an object leaves out, with their defaults, but not secrets.
    fn left_out(&mut self, noun: Noun, object: &Object) -> Map<String, Value> {
        const MISSING: &str = "it is missing: an object is described as a whole (in version 1, what is left out stays)";
        let mut fields = Map::new();
        if noun == Noun::Did && !object.fields.contains_key("user") {
            self.problems.missing(&at(&object.path, "user"), MISSING);
        }
        for column in self.schema.get(&noun).into_iter().flatten() {
            if column.is_secret() || object.fields.contains_key(&column.name) {
                continue;
            }
            let value = self.default(noun, object, column);
            if (rules::is_required(noun, column) && value.is_null()) || rules::must_be_said(noun, column) {
                self.problems.missing(&at(&object.path, &column.name), MISSING);
                continue;
            }
            fields.insert(column.name.clone(), value);
        }
        fields
    }

    /// The rule of a field that gets a value.
    fn value(&mut self, noun: Noun, path: &str, name: &str, value: &Value) {
        if let Some(column) = self.schema.get(&noun).and_then(|columns| columns.iter().find(|c| c.name == name)) {
            self.problems.check(&at(path, name), rules::check(noun, column, value));
        }
    }

    fn add(&mut self, noun: Noun, object: &Object, plan: &mut Plan) {
        let path = object.path.as_str();
        // a new client's own names are checked with the client
        let is_side_of_new = noun.is_escaped() && self.there(Noun::Client, &object.key).is_none();
        if !is_side_of_new {
            self.problems.check(path, rules::check_names(noun, &object.fields));
        }
        let mut to = Map::new();
        for column in self.schema.get(&noun).into_iter().flatten() {
            let name = column.name.as_str();
            let given = object.fields.get(name).cloned();
            let value = given.clone().unwrap_or_else(|| self.default(noun, object, column));
            if noun == Noun::Auth && name == "password" && value.is_null() {
                let what = format!(
                    "client \"{}\" has no authentication yet, and a new one needs its password: write it here, or export with --with-secrets",
                    object.key[0]
                );
                self.problems.add(&at(path, name), what);
                continue;
            }
            let is_unsaid = given.is_none() && rules::must_be_said(noun, column);
            if (rules::is_required(noun, column) && value.is_null()) || is_unsaid {
                self.problems.missing(&at(path, name), "it is missing: a new object needs it");
                continue;
            }
            if given.is_some() {
                self.value(noun, path, name, &value);
            }
            to.insert(name.to_owned(), value);
        }
        for name in ["user", "campaign", "client", "dids"] {
            if let Some(value) = object.fields.get(name) {
                to.insert(name.to_owned(), value.clone());
            }
        }
        if noun == Noun::Did && !to.contains_key("user") {
            self.problems.missing(&at(path, "user"), "it is missing: a new object needs it");
        }
        if noun == Noun::Client {
            self.sides_of_new(object, plan);
        }
        plan.changes.push(Change {
            action: Action::Add,
            noun,
            key: object.key.clone(),
            id: None,
            to,
            from: Map::new(),
        });
    }

    /// The default of a field that the document leaves out.
    fn default(&self, noun: Noun, object: &Object, column: &Column) -> Value {
        let has_auth = self.is_known(Noun::Auth, &object.key)
            && !self.document.without.contains(&(Noun::Auth, object.key.clone()));
        document::default(noun, column, &object.key[0], has_auth)
    }

    /// A new client gets calls: it has an AOR, and an endpoint even where none is written.
    fn sides_of_new(&mut self, object: &Object, plan: &mut Plan) {
        let named = |noun| {
            self.document.without.contains(&(noun, object.key.clone())) || self.index.contains_key(&(noun, &object.key))
        };
        if !named(Noun::Aor) {
            self.problems
                .missing(&at(&object.path, "aor"), "it is missing: a new client needs its contact, or null for none");
        } else if !named(Noun::Endpoint) {
            let fields = Map::from_iter([("client".to_owned(), json!(object.key[0]))]);
            let endpoint = Object { path: at(&object.path, "endpoint"), key: object.key.clone(), fields };
            self.add(Noun::Endpoint, &endpoint, plan);
        }
    }

    /// Changes that remove what the database has and the document leaves out, within the document's reach.
    fn unnamed(&self) -> Vec<Change> {
        let document = self.document;
        let mut named: BTreeSet<(Noun, Key)> = BTreeSet::new();
        for noun in Noun::ALL {
            for object in self.objects(noun) {
                named.insert((noun, object.key.clone()));
                let now = self.there(noun, &object.key).map(|row| &row.fields);
                let text = |name: &str| {
                    let value = object.fields.get(name).or_else(|| now?.get(name));
                    value.and_then(Value::as_str).map(|text| vec![text.to_owned()])
                };
                // an object also names what it refers to
                if matches!(noun, Noun::Did | Noun::Campaign) {
                    named.extend(text("user").map(|key| (Noun::User, key)));
                }
                if noun == Noun::Setting {
                    named.extend(text("client").map(|key| (Noun::Client, key)));
                }
                for did in object.fields.get("dids").and_then(Value::as_array).into_iter().flatten() {
                    named.extend(did.as_str().map(|number| (Noun::Did, vec![number.to_owned()])));
                }
            }
        }
        let mut gone: BTreeSet<(Noun, &Key)> = BTreeSet::new();
        let mut changes = Vec::new();
        for noun in Noun::ALL {
            for (key, row) in self.rows(noun) {
                let owner = row.fields.get("user").and_then(Value::as_str);
                let in_scope =
                    document.scope.as_ref().is_none_or(|scope| owner.is_some_and(|user| scope.contains(user)));
                let unnamed = in_scope && !named.contains(&(noun, key.clone()));
                let goes = match noun {
                    Noun::User | Noun::Client => unnamed && document.whole.contains(&noun),
                    Noun::Did | Noun::Campaign => {
                        unnamed
                            && (document.whole.contains(&noun)
                                || owner.is_some_and(|user| gone.contains(&(Noun::User, &vec![user.to_owned()]))))
                    }
                    // one that goes with its client is not listed
                    Noun::Endpoint | Noun::Aor | Noun::Auth => {
                        document.scope.is_none() && document.without.contains(&(noun, key.clone()))
                    }
                    Noun::Setting => {
                        (unnamed && document.whole_campaigns.contains(&key[..2]))
                            || gone.contains(&(Noun::Campaign, &key[..2].to_vec()))
                            || gone.contains(&(Noun::Client, &key[2..].to_vec()))
                    }
                };
                if goes {
                    gone.insert((noun, key));
                    let (id, key) = (Some(row.id), key.clone());
                    changes.push(Change { action: Action::Remove, noun, key, id, to: Map::new(), from: Map::new() });
                }
            }
        }
        changes
    }

    /// No two users have one address in the end.
    fn emails(&mut self, plan: &mut Plan) {
        let gone = plan.removals();
        let mut last: BTreeMap<String, String> = BTreeMap::new();
        let paths: BTreeMap<&str, &Object> = self.objects(Noun::User).iter().map(|o| (o.key[0].as_str(), o)).collect();
        let email = |fields: &Map<String, Value>| fields.get("email").and_then(Value::as_str).map(str::to_owned);
        let now: BTreeMap<String, (&Key, i32)> =
            self.rows(Noun::User).filter_map(|(key, row)| Some((email(&row.fields)?, (key, row.id)))).collect();
        for (key, row) in self.rows(Noun::User) {
            let is_said = paths.get(key[0].as_str()).is_some_and(|object| object.fields.contains_key("email"));
            if !is_said && !gone.contains(&(Noun::User, key.clone())) {
                last.extend(email(&row.fields).map(|email| (email, key[0].clone())));
            }
        }
        for object in self.objects(Noun::User) {
            let Some(email) = email(&object.fields) else { continue };
            if let Some((other, id)) = now.get(&email)
                && **other != object.key
            {
                plan.free_emails.push(*id);
            }
            if let Some(other) = last.insert(email.clone(), object.key[0].clone())
                && other != object.key[0]
            {
                let what = format!("{} is user \"{other}\"'s too", quoted(&email));
                self.problems.add(&at(&object.path, "email"), what);
            }
        }
    }

    /// DIDs feed campaigns of their own seller only.
    fn links(&mut self, plan: &mut Plan) {
        let gone = plan.removals();
        let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
        let mut moved: BTreeSet<&str> = BTreeSet::new();
        for (key, row) in self.rows(Noun::Did) {
            owners.extend(row.fields.get("user").and_then(Value::as_str).map(|user| (key[0].as_str(), user)));
        }
        for object in self.objects(Noun::Did) {
            if let Some(user) = object.fields.get("user").and_then(Value::as_str)
                && let Some(before) = owners.insert(&object.key[0], user)
                && before != user
            {
                moved.insert(&object.key[0]);
            }
        }
        let said: BTreeMap<&Key, &'a Object> = self
            .objects(Noun::Campaign)
            .iter()
            .filter(|object| object.fields.contains_key("dids"))
            .map(|object| (&object.key, object))
            .collect();
        let numbers = |fields: &'a Map<String, Value>| -> BTreeSet<&'a str> {
            fields.get("dids").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
        };
        for object in said.values() {
            let path = at(&object.path, "dids");
            let wanted = numbers(&object.fields);
            let now = self.there(Noun::Campaign, &object.key).map(|row| numbers(&row.fields)).unwrap_or_default();
            let link = |number: &&str| (object.key[0].clone(), object.key[1].clone(), (*number).to_owned());
            plan.link.extend(wanted.difference(&now).map(link));
            plan.unlink.extend(now.difference(&wanted).map(link));
            for number in wanted {
                match owners.get(number) {
                    None => self
                        .problems
                        .add(&path, format!("DID \"{number}\" is neither in the document nor in the database")),
                    Some(owner) if *owner != object.key[0] && (moved.contains(number) || !now.contains(number)) => {
                        self.problems.add(
                            &path,
                            format!("DID \"{number}\" is {owner}'s: a DID feeds campaigns of its own seller only"),
                        );
                    }
                    Some(_) => {}
                }
            }
        }
        for (key, row) in self.rows(Noun::Campaign) {
            if said.contains_key(key) || gone.contains(&(Noun::Campaign, key.clone())) {
                continue;
            }
            for number in numbers(&row.fields).into_iter().filter(|number| moved.contains(number)) {
                if owners.get(number).is_some_and(|owner| *owner != key[0]) {
                    let what = format!(
                        "DID \"{number}\" feeds campaign {}: write that campaign's dids without it",
                        quoted(&name_of(key))
                    );
                    self.problems.add("dids", what);
                }
            }
        }
    }
}
