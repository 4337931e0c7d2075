//! `capconduit user`: people who log in to the web back end, and sellers.

use clap::Args;
use postgres::{GenericClient, Transaction};
use serde_json::json;

use crate::cli::args::input::{clearable, line, new_password, not_an_id, nothing_to_change, old_password, typeable};
use crate::cli::args::listing::Listing;
use crate::cli::env::Env;
use crate::cli::find::{self, exists, refuse_other_case};
use crate::cli::output::Output;
use crate::cli::remove::{Removal, Uses};
use crate::model::rules;
use crate::store::user::{self, Changes, User};
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
    #[arg(long, value_parser = rules::USER_ROLES)]
    role: Option<String>,
    /// Only this status
    #[arg(long, value_parser = rules::USER_STATUSES)]
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

/// What a user has besides username, address and password.
#[derive(Debug, Default, Args)]
struct UserFields {
    /// The person's name; empty clears it
    #[arg(long, value_name = "TEXT")]
    full_name: Option<String>,
    /// The person's company; empty clears it
    #[arg(long, value_name = "TEXT")]
    company_name: Option<String>,
}

impl UserFields {
    fn changes(self) -> Result<Changes> {
        clearable("full_name", self.full_name.as_deref(), rules::NAME)?;
        clearable("company_name", self.company_name.as_deref(), rules::NAME)?;
        Ok(Changes { full_name: self.full_name, company_name: self.company_name, ..Changes::default() })
    }
}

/// `user add`
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// The name to log in with; not digits only
    username: String,
    /// E-mail address
    #[arg(long, value_name = "ADDRESS")]
    email: String,
    /// What the user may do; a seller is a user
    #[arg(long, default_value = "user", value_parser = rules::USER_ROLES)]
    role: String,
    /// Only an active user can log in, only an active seller's calls are routed
    #[arg(long, default_value = "active", value_parser = rules::USER_STATUSES)]
    status: String,
    /// Read the password from standard input, one line
    #[arg(long)]
    password_stdin: bool,
    #[command(flatten)]
    fields: UserFields,
}

impl Add {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        line("username", &*self.username, rules::USERNAME)?;
        not_an_id("username", &self.username)?;
        check_email(&self.email)?;
        let changes = Changes { role: Some(self.role), status: Some(self.status), ..self.fields.changes()? };

        let mut db = env.connect()?;
        let mut tx = env.begin(&mut db)?;
        if let Some(there) = user::find(&mut tx, &self.username)?.filter(|user| user.username == self.username) {
            return Err(exists("user", &there.username));
        }
        refuse_other_case("user", &self.username, &user::names(&mut tx)?)?;
        refuse_taken_email(&mut tx, &self.email, None)?;
        tx.rollback()?;
        // asked for only where the rest is right, and with no transaction open meanwhile
        let prompt = format!("Password of {} (empty: none)", self.username);
        let hash = match new_password(env, self.password_stdin, &prompt)? {
            Some(password) => hash(&password)?,
            None => NO_PASSWORD.to_owned(),
        };

        let mut tx = env.begin(&mut db)?;
        let id = user::add(&mut tx, &self.username, &self.email, &hash)?;
        user::set(&mut tx, id, &changes)?;
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
    /// E-mail address
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// What the user may do; a seller is a user
    #[arg(long, value_parser = rules::USER_ROLES)]
    role: Option<String>,
    /// Only an active user can log in, only an active seller's calls are routed
    #[arg(long, value_parser = rules::USER_STATUSES)]
    status: Option<String>,
    #[command(flatten)]
    fields: UserFields,
}

impl Set {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        if let Some(email) = &self.email {
            check_email(email)?;
        }
        let changes = Changes { email: self.email, role: self.role, status: self.status, ..self.fields.changes()? };
        if changes == Changes::default() {
            return Err(nothing_to_change("user"));
        }
        let mut db = env.connect()?;
        let user = find::user(&mut db, &self.user)?;
        let mut tx = env.begin(&mut db)?;
        if let Some(email) = &changes.email {
            refuse_taken_email(&mut tx, email, Some(user.id))?;
        }
        user::set(&mut tx, user.id, &changes)?;
        let user = find::user(&mut tx, &user.username)?;
        tx.commit()?;
        Output::done(format!("User \"{}\" changed.", user.username), &user)
    }
}

/// `user enable`, `user disable`
#[derive(Debug, Args)]
pub(crate) struct Switch {
    /// Username or id
    user: String,
}

impl Switch {
    fn run(self, status: &str, env: &mut Env<'_>) -> Result<Output> {
        let set = Set {
            user: self.user,
            email: None,
            role: None,
            status: Some(status.to_owned()),
            fields: UserFields::default(),
        };
        Ok(set.run(env)?.saying(|user| format!("User {} is {status}.", user["username"])))
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
        let changes = Changes { password_hash: Some(hash(&password)?), ..Changes::default() };
        let mut tx = env.begin(&mut db)?;
        user::set(&mut tx, user.id, &changes)?;
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
            thing: &format!("user \"{name}\""),
            along: None,
            lost: "user, DID or campaign",
            disable: format!("user disable {}", shell(name)),
            forced: "removes what it owns too",
            force: self.force,
        };
        let uses = |tx: &mut Transaction<'_>| {
            let usage = user::usage(tx, *id)?;
            let owned = [words::counted("DID", &usage.dids), words::counted("campaign", &usage.campaigns)];
            Ok(Uses::new(owned, usage.live_calls, usage.records))
        };
        removal.run(env, &mut db, uses, |tx, confirmed| user::remove(tx, *id, confirmed))?;
        Output::done(format!("User \"{name}\" removed."), &user)
    }
}

pub(crate) fn check_email(email: &str) -> Result<()> {
    line("email", email, rules::EMAIL)?;
    let valid = email.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty() && !domain.is_empty() && !domain.contains('@') && !email.contains(char::is_whitespace)
    });
    if valid {
        return Ok(());
    }
    Err(Error::invalid(format!("email \"{email}\" is not an address: it must be name@domain")))
}

fn refuse_taken_email(db: &mut impl GenericClient, email: &str, by_other_than: Option<i32>) -> Result<()> {
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

    #[test]
    fn addresses() {
        assert!(check_email("a@b").is_ok());
        for bad in ["a", "@b", "a@", "a@b@c", "a b@c", ""] {
            assert!(check_email(bad).is_err(), "{bad}");
        }
    }
}
