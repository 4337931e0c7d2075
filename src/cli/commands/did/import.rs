//! `capconduit did import`: DIDs from CSV, all of them or none.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value, json};

use crate::cli::commands::did::{COLUMNS, RULES, Trust, normalized};
use crate::cli::env::Env;
use crate::cli::find::unknown;
use crate::cli::output::csv::{Line, Sheet};
use crate::cli::output::{Output, file};
use crate::config::Config;
use crate::model::columns::{self, Group};
use crate::model::number::{Doubt, NumberRules};
use crate::store::document::{self, Key, Link, Row, State};
use crate::store::noun::Noun;
use crate::{Error, Result};

/// `did import`
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The CSV file; - is standard input. Its first line names the columns, in any order: number, user,
    /// status, description, campaigns (with ; between them, \; for a ; in a name). A column that is
    /// left out stays as it is; an empty description or list of campaigns is stored so
    file: PathBuf,
    /// The seller of DIDs whose line names none
    #[arg(long, value_name = "SELLER")]
    user: Option<String>,
    /// A campaign that DIDs feed whose line names none, beside those that they feed; may be given several
    /// times
    #[arg(long, value_name = "CAMPAIGN")]
    campaign: Vec<String>,
    /// Only check the file and count
    #[arg(long)]
    dry_run: bool,
    /// Also take over DIDs of other sellers, out of their campaigns
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    trust: Trust,
}

/// What the lines ask for.
#[derive(Default)]
struct Work {
    lines: BTreeMap<String, u64>,
    new: Vec<Map<String, Value>>,
    changed: Vec<(i32, Map<String, Value>)>,
    changed_dids: usize,
    unchanged: usize,
    /// New numbers that feed no campaign.
    idle: usize,
    /// New numbers that may not be what was meant.
    doubts: Doubts,
    link: Vec<Link>,
    unlink: Vec<Link>,
}

/// A new number: its line, how it stands there, how it is stored.
type New = (u64, String, String);

/// New numbers that may not be what was meant.
#[derive(Default)]
struct Doubts {
    /// Nobody has said their country.
    without_country: Vec<New>,
    /// The rule for all others adds their country, by their count of digits.
    national: BTreeMap<usize, Vec<New>>,
    short: Vec<New>,
}

/// The first of these numbers, and how many more there are.
fn first_of(numbers: &[New]) -> String {
    const SHOWN: usize = 3;
    let mut shown: Vec<String> = numbers
        .iter()
        .take(SHOWN)
        .map(|(line, raw, number)| format!("line {line}: \"{raw}\" is read as {number}"))
        .collect();
    if numbers.len() > SHOWN {
        shown.push(format!("... and {} more", numbers.len() - SHOWN));
    }
    shown.join("\n")
}

impl Doubts {
    fn add(&mut self, rules: &NumberRules, line: u64, raw: &str, number: &str) {
        let new = || (line, raw.escape_debug().to_string(), number.to_owned());
        match rules.doubt(raw) {
            Some(Doubt::Country) => self.without_country.push(new()),
            Some(Doubt::Short) => self.short.push(new()),
            None => {}
        }
        if let Some(digits) = rules.national_digits(raw) {
            self.national.entry(digits).or_default().push(new());
        }
    }

    /// Refuses numbers that are not all of one plan: a number given the wrong country is somebody else's.
    fn refuse(&self, new: usize) -> Result<()> {
        let refused = |what: String, numbers: &[New], hint: String| {
            Err(Error::invalid(format!("{what}:\n{}", first_of(numbers)))
                .hint(format!("Nothing was changed. {hint} --trust-rules.")))
        };
        if !self.without_country.is_empty() {
            return refused(
                format!(
                    "of {} nothing says the country, so that their first digits would be taken for it",
                    share(self.without_country.len(), new)
                ),
                &self.without_country,
                format!("{RULES} If all of them begin with their country code:"),
            );
        }
        let most = self.national.iter().max_by_key(|(_, numbers)| numbers.len());
        let Some((&most, _)) = most.filter(|_| self.national.len() > 1) else { return Ok(()) };
        let others: Vec<New> = self.national.iter().filter(|(n, _)| **n != most).flat_map(|(_, n)| n.clone()).collect();
        refused(
            format!("{} would get the country of the others, which have {most} digits", share(others.len(), new)),
            &others,
            "Write + and country code. If all of them are of that country:".to_owned(),
        )
    }
}

/// `3 of 4 new numbers`
fn share(part: usize, all: usize) -> String {
    match all {
        1 => "the new number".to_owned(),
        all => format!("{part} of {all} new numbers"),
    }
}

impl Import {
    pub(crate) fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let text = file::read(env, &self.file)?;
        let mut sheet = Sheet::new(text.as_bytes(), &COLUMNS, &["number"])?;
        let mut db = env.connect()?;
        let mut tx = env.begin(&mut db)?;
        document::lock(&mut tx)?;
        let schema = document::schema(&mut tx)?;
        let state = document::read(&mut tx, &schema)?;
        let feeds = feeds(&state);
        let mut work = Work::default();
        if let Some(user) = &self.user {
            known_user(&state, user)?;
        }
        while let Some(line) = sheet.next()? {
            if let Err(error) = self.line(env.config, &state, &feeds, &line, &mut work) {
                sheet.problem(line.number, &error.message);
            }
        }
        sheet.finish()?;
        if !self.trust.trust_rules {
            work.doubts.refuse(work.new.len())?;
        }
        let counts = json!({"added": work.new.len(), "changed": work.changed_dids, "unchanged": work.unchanged});
        let message = format!("{} added, {} changed, {} unchanged", work.new.len(), work.changed_dids, work.unchanged);
        if !work.doubts.short.is_empty() {
            env.progress(&format!("warning: {}:\n{}", Doubt::Short, first_of(&work.doubts.short)));
        }
        if work.idle > 0 {
            env.progress(&format!(
                "warning: {} no campaign: calls are rejected. --campaign CAMPAIGN names one",
                match work.idle {
                    1 => "1 new DID feeds".to_owned(),
                    n => format!("{n} new DIDs feed"),
                }
            ));
        }
        if self.dry_run {
            return Output::done(format!("{message}; nothing was changed (--dry-run)."), &counts);
        }
        document::unlink(&mut tx, &work.unlink)?;
        document::add(&mut tx, &schema, Noun::Did, work.new)?;
        document::change(&mut tx, &schema, Noun::Did, work.changed)?;
        document::link(&mut tx, &work.link)?;
        let touched: BTreeSet<Key> =
            work.link.iter().chain(&work.unlink).map(|(user, name, _)| vec![user.clone(), name.clone()]).collect();
        let touched = touched.iter().filter_map(|key| Some((state.get(&Noun::Campaign)?.get(key)?.id, Map::new())));
        document::change(&mut tx, &schema, Noun::Campaign, touched.collect())?;
        tx.commit()?;
        Output::done(format!("{message}."), &counts)
    }

    fn line(
        &self,
        config: &Config,
        state: &State,
        feeds: &BTreeMap<String, BTreeSet<Key>>,
        line: &Line,
        work: &mut Work,
    ) -> Result<()> {
        let raw = line.value("number").ok_or_else(|| Error::invalid("there is no number"))?;
        let there = |number: &str| state.get(&Noun::Did).and_then(|dids| dids.get(&vec![number.to_owned()]));
        let number = match there(raw) {
            Some(_) => raw.to_owned(),
            None => normalized(config, raw)?.as_str().to_owned(),
        };
        if let Some(first) = work.lines.insert(number.clone(), line.number) {
            return Err(Error::invalid(format!("DID \"{number}\" is in line {first} already")));
        }
        let there = there(&number);
        if there.is_none() {
            work.doubts.add(&config.number_rules()?, line.number, raw, &number);
        }
        let owner = there.map(|row| text(row, "user"));
        let user = line.value("user").or(self.user.as_deref()).or(owner);
        let user = user.ok_or_else(|| Error::invalid("a new DID needs its seller: a user, or --user"))?;
        known_user(state, user)?;
        if let Some(owner) = owner.filter(|owner| *owner != user)
            && !self.force
        {
            return Err(Error::invalid(format!("DID \"{number}\" is {owner}'s; --force gives it to {user}")));
        }
        let mut fields = Map::new();
        let mut set = |name: &str, value: Value| {
            if there.is_none_or(|row| row.fields.get(name) != Some(&value)) {
                fields.insert(name.to_owned(), value);
            }
        };
        set("user", json!(user));
        for column in columns::Did::COLUMNS {
            let given = line.get(column.name).filter(|given| column.nullable || !given.is_empty());
            // an unchanged value stays, whoever stored it
            if let Some(given) = given.filter(|given| there.is_none_or(|row| text(row, column.name) != *given)) {
                set(column.name, column.read(given)?);
            }
        }
        let before = feeds.get(&number).cloned().unwrap_or_default();
        let moves = owner.is_some_and(|owner| owner != user);
        let own = |names: Vec<String>| {
            let none = BTreeSet::new();
            let stay = if moves { &none } else { &before };
            names.into_iter().map(|name| own_campaign(state, user, name, stay)).collect::<Result<BTreeSet<Key>>>()
        };
        let mut after = match line.get("campaigns") {
            Some(list) => own(names(list))?,
            // a DID feeds campaigns of its own seller only
            None if moves => before.iter().filter(|key| key[0] == user).cloned().collect(),
            None => before.clone(),
        };
        if line.value("campaigns").is_none() {
            after.extend(own(self.campaign.clone())?);
        }
        if there.is_none() && after.is_empty() {
            work.idle += 1;
        }
        let link = |key: &Key| (key[0].clone(), key[1].clone(), number.clone());
        work.link.extend(after.difference(&before).map(link));
        work.unlink.extend(before.difference(&after).map(link));
        match there {
            None => {
                let mut row =
                    Map::from_iter([("number".to_owned(), json!(number)), ("status".to_owned(), json!("active"))]);
                row.extend(fields);
                work.new.push(row);
            }
            Some(_) if fields.is_empty() && before == after => work.unchanged += 1,
            Some(row) => {
                work.changed_dids += 1;
                if !fields.is_empty() {
                    work.changed.push((row.id, fields));
                }
            }
        }
        Ok(())
    }
}

fn text<'r>(row: &'r Row, name: &str) -> &'r str {
    row.fields.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn known_user(state: &State, user: &str) -> Result<()> {
    let users = state.get(&Noun::User);
    if users.is_some_and(|users| users.contains_key(&vec![user.to_owned()])) {
        return Ok(());
    }
    let known: Vec<String> = users.into_iter().flatten().map(|(key, _)| key[0].clone()).collect();
    Err(with_hint(unknown("user", user, &known)))
}

/// A line's problem is one line.
fn with_hint(error: Error) -> Error {
    let hint = error.hint.map(|hint| format!(": {hint}")).unwrap_or_default();
    Error { message: format!("{}{hint}", error.message), hint: None, ..error }
}

/// A campaign of the seller's; a link to another's that is there may stay.
fn own_campaign(state: &State, user: &str, name: String, before: &BTreeSet<Key>) -> Result<Key> {
    let campaigns = state.get(&Noun::Campaign);
    let key = vec![user.to_owned(), name];
    if campaigns.is_some_and(|campaigns| campaigns.contains_key(&key)) {
        return Ok(key);
    }
    if let Some(foreign) = before.iter().find(|there| there[1] == key[1]) {
        return Ok(foreign.clone());
    }
    let own = campaigns.into_iter().flatten().filter(|(there, _)| there[0] == user);
    let known: Vec<String> = own.map(|(there, _)| there[1].clone()).collect();
    Err(with_hint(unknown(&format!("campaign of {user}"), &key[1], &known)))
}

/// Which campaigns each DID feeds.
fn feeds(state: &State) -> BTreeMap<String, BTreeSet<Key>> {
    let mut feeds: BTreeMap<String, BTreeSet<Key>> = BTreeMap::new();
    for (key, row) in state.get(&Noun::Campaign).into_iter().flatten() {
        for number in row.fields.get("dids").and_then(Value::as_array).into_iter().flatten() {
            feeds.entry(number.as_str().unwrap_or_default().to_owned()).or_default().insert(key.clone());
        }
    }
    feeds
}

/// The names in a list with `;` between; `\` takes the next character as it is.
fn names(list: &str) -> Vec<String> {
    let (mut names, mut name) = (Vec::new(), String::new());
    let mut characters = list.chars();
    while let Some(c) = characters.next() {
        match c {
            ';' => names.push(std::mem::take(&mut name)),
            '\\' => name.extend(characters.next()),
            _ => name.push(c),
        }
    }
    names.push(name);
    names.retain(|name| !name.is_empty());
    names
}
