//! `capconduit user`: people who log in to the web back end, and sellers.

use clap::Args;
use postgres::GenericClient;
use serde_json::{Value, json};

use crate::cli::args::flags::{Flags, NEW};
use crate::cli::args::input::{new_password, nothing_to_change, old_password, typeable};
use crate::cli::args::listing::Listing;
use crate::cli::env::Env;
use crate::cli::find::{self, exists, refuse_other_case};
use crate::cli::output::Output;
use crate::cli::remove::Removal;
use crate::model::columns;
use crate::model::values::{line, not_an_id};
use crate::store::changes::{self, Changes};
use crate::store::noun::Noun;
use crate::store::user::{self, User};
use crate::words::{self, shell};
use crate::{Error, Kind, Result};

pub(crate) const EXAMPLES: &str = "\
Examples:
  capconduit user add alice --email alice@example.com --company-name 'Alice Leads'
  pass show cc/alice | capconduit user passwd alice --password-stdin
  capconduit user set alice --status suspended
  capconduit user enable alice";

/// No password matches it.
pub(crate) const NO_PASSWORD: &str = "!";

verbs! {
    /// The verbs of `user`.
    enum Verb {
        /// List users
        List(List),
        /// Show a user
        Show(Show),
        /// Add a user
        Add(Box<Add>),
        /// Change a user
        Set(Box<Set>),
        /// Make a user active
        Enable(Switch) as "active",
        /// Make a user inactive: no login, and a seller's calls are rejected
        Disable(Switch) as "inactive",
        /// Give a user a new password
        Passwd(Passwd),
        /// Remove a user
        Remove(Remove),
    }
}

/// `user list`
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only this role
    #[arg(long, value_parser = columns::USER_ROLES)]
    role: Option<String>,
    /// Only this status
    #[arg(long, value_parser = columns::USER_STATUSES)]
    status: Option<String>,
    #[command(flatten)]
    listing: Listing,
}

impl List {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let users = user::list(&mut env.connect()?, self.role.as_deref(), self.status.as_deref())?;
        self.listing.of(
            &users,
            &["id", "username", "email", "role", "status", "full_name", "company_name"],
            "No users.",
        )
    }
}

/// `user show`
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Username or id
    user: String,
}

impl Show {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        Output::item(&find::user(&mut env.connect()?, &self.user)?)
    }
}

/// `user add`
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// The name to log in with; not digits only
    username: String,
    #[command(flatten)]
    access: Flags<columns::Access, NEW>,
    /// Read the password from standard input, one line
    #[arg(long)]
    password_stdin: bool,
    #[command(flatten)]
    person: Flags<columns::Person>,
}

impl Add {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        line("username", &*self.username, columns::USERNAME)?;
        not_an_id("username", &self.username)?;
        let mut user = self.access.changes()?;
        user.extend(self.person.changes()?);

        let mut db = env.connect()?;
        let mut tx = env.begin(&mut db)?;
        if let Some(there) = user::find(&mut tx, &self.username)?.filter(|user| user.username == self.username) {
            return Err(exists("user", &there.username));
        }
        refuse_other_case("user", &self.username, &user::names(&mut tx)?)?;
        refuse_taken_email(&mut tx, &user, None)?;
        tx.rollback()?;
        // asked for only where the rest is right, and with no transaction open meanwhile
        let prompt = format!("Password of {} (empty: none)", self.username);
        let hash = match new_password(env, self.password_stdin, &prompt)? {
            Some(password) => hash(&password)?,
            None => NO_PASSWORD.to_owned(),
        };

        let mut tx = env.begin(&mut db)?;
        user.extend(changes::of([("username", json!(self.username)), ("password_hash", json!(hash))]));
        changes::add(&mut tx, Noun::User, user)?;
        let user = find::user(&mut tx, &self.username)?;
        tx.commit()?;
        let mut message = format!("User \"{}\" added.", user.username);
        if hash == NO_PASSWORD {
            message.push_str(&format!(
                " It has no password and cannot log in: capconduit user passwd {} gives it one.",
                shell(&user.username)
            ));
        }
        Output::done(message, &user)
    }
}

/// `user set`
#[derive(Debug, Args)]
pub(crate) struct Set {
    /// Username or id
    user: String,
    #[command(flatten)]
    access: Flags<columns::Access>,
    #[command(flatten)]
    person: Flags<columns::Person>,
}

impl Set {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let mut changes = self.access.changes()?;
        changes.extend(self.person.changes()?);
        if changes.is_empty() {
            return Err(nothing_to_change("user"));
        }
        let user = change(&self.user, &changes, env)?;
        Output::done(format!("User \"{}\" changed.", user.username), &user)
    }
}

fn change(name: &str, changes: &Changes, env: &mut Env<'_>) -> Result<User> {
    let mut db = env.connect()?;
    let user = find::user(&mut db, name)?;
    let mut tx = env.begin(&mut db)?;
    refuse_taken_email(&mut tx, changes, Some(user.id))?;
    changes::set(&mut tx, Noun::User, user.id, changes)?;
    let user = find::user(&mut tx, &user.username)?;
    tx.commit()?;
    Ok(user)
}

/// `user enable`, `user disable`
#[derive(Debug, Args)]
pub(crate) struct Switch {
    /// Username or id
    user: String,
}

impl Switch {
    fn run(self, status: &str, env: &mut Env<'_>) -> Result<Output> {
        let user = change(&self.user, &changes::of([("status", json!(status))]), env)?;
        Output::done(format!("User \"{}\" is {status}.", user.username), &user)
    }
}

/// `user passwd`
#[derive(Debug, Args)]
pub(crate) struct Passwd {
    /// Username or id
    user: String,
    /// Read the password from standard input, one line
    #[arg(long)]
    password_stdin: bool,
    /// Change nothing: only say whether the password is the user's, with exit code 1 if not
    #[arg(long)]
    verify: bool,
}

impl Passwd {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let mut db = env.connect()?;
        let user = find::user(&mut db, &self.user)?;
        if self.verify {
            return self.check(&user, &mut db, env);
        }
        let prompt = format!("New password of {}", user.username);
        let password = new_password(env, self.password_stdin, &prompt)?.ok_or_else(no_password)?;
        let changes = changes::of([("password_hash", json!(hash(&password)?))]);
        let mut tx = env.begin(&mut db)?;
        changes::set(&mut tx, Noun::User, user.id, &changes)?;
        let user = find::user(&mut tx, &user.username)?;
        tx.commit()?;
        Output::done(format!("Password of user \"{}\" changed.", user.username), &user)
    }

    fn check(&self, user: &User, db: &mut impl GenericClient, env: &mut Env<'_>) -> Result<Output> {
        let password = old_password(env, self.password_stdin, &format!("Password of {}", user.username))?;
        let password = password.ok_or_else(no_password)?;
        let hash = user::password_hash(db, user.id)?.unwrap_or_default();
        // only a bcrypt hash matches a password: "!" never does
        if bcrypt::verify(&password, &hash).unwrap_or(false) {
            return Output::done(format!("The password is user \"{}\"'s.", user.username), &json!({ "matches": true }));
        }
        let output = Output::done("The password does not match.", &json!({ "matches": false }))?;
        let error = Error::failed(format!("the password is not user \"{}\"'s", user.username));
        Ok(Output::Findings { output: Box::new(output), error })
    }
}

fn no_password() -> Error {
    Error::new(Kind::Usage, "no password was given")
        .hint("Without a terminal, give it on standard input with --password-stdin.")
}

/// `user remove`
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// Username or id
    user: String,
    /// Remove the user's DIDs, campaigns and their settings too; call records then name none of them
    #[arg(long)]
    force: bool,
}

impl Remove {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let mut db = env.connect()?;
        let user = find::user(&mut db, &self.user)?;
        let User { id, username: name, .. } = &user;
        let removal = Removal {
            row: (Noun::User, *id),
            thing: &format!("user \"{name}\""),
            along: None,
            lost: "user, DID or campaign",
            disable: format!("user disable {}", shell(name)),
            forced: "removes what it owns too",
            force: self.force,
        };
        removal.run(env, &mut db, |tx| {
            let [dids, campaigns] = user::owned(tx, *id)?;
            Ok([words::counted("DID", &dids), words::counted("campaign", &campaigns)].into_iter().flatten().collect())
        })?;
        Output::done(format!("User \"{name}\" removed."), &user)
    }
}

fn refuse_taken_email(db: &mut impl GenericClient, user: &Changes, by_other_than: Option<i32>) -> Result<()> {
    let Some(email) = user.get("email").and_then(Value::as_str) else { return Ok(()) };
    match user::with_email(db, email)? {
        Some(other) if Some(other.id) != by_other_than => {
            Err(Error::conflict(format!("email \"{email}\" is user \"{}\"'s", other.username))
                .hint("Nothing was changed."))
        }
        _ => Ok(()),
    }
}

/// A bcrypt hash that the web back end verifies. The password appears in no message.
fn hash(password: &str) -> Result<String> {
    typeable("the password", password)?;
    let (characters, bytes) = (password.chars().count(), password.len());
    if characters < 8 {
        return Err(Error::invalid(format!("the password has {characters} characters: it must have at least 8")));
    }
    // bcrypt would ignore the rest
    if bytes > 72 {
        return Err(Error::invalid(format!("the password has {bytes} bytes: bcrypt takes at most 72")));
    }
    bcrypt::hash_with_result(password, 12)
        .map(|parts| parts.format_for_version(bcrypt::Version::TwoB))
        .map_err(|e| Error::failed(format!("cannot hash the password: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_what_the_back_end_expects() {
        // the longest: a byte more and bcrypt would ignore it
        let password = "a".repeat(72);
        let hash = hash(&password).expect("valid");
        assert!(hash.starts_with("$2b$12$") && hash.len() == 60, "{hash}");
        assert!(bcrypt::verify(&password, &hash).expect("a hash"));
    }

    #[test]
    fn weak_and_overlong_passwords_are_refused() {
        for bad in ["", "sevench", &"a".repeat(73), &"ä".repeat(37), "eight\0ch"] {
            let error = hash(bad).expect_err("refused");
            assert_eq!(error.kind, Kind::Invalid);
            assert!(bad.is_empty() || !error.message.contains(bad));
        }
    }
}
