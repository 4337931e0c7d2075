//! `capconduit db roles`: a login for each purpose, with the rights that it needs and no more.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use clap::Args;
use postgres::config::{Host, TargetSessionAttrs};
use postgres::{Client, GenericClient};
use serde::Serialize;
use serde_json::json;

use crate::cli::args::input::{known_password, new_password, typeable};
use crate::cli::commands::db::passwords::{
    Address, DEFAULT_PREFIX, SHARED_FILE, database_of, encoded, generated, names, prepare, with_password,
};
use crate::cli::env::Env;
use crate::cli::find;
use crate::cli::output::Output;
use crate::config::OWNER_ENV_FILE as OWNER_FILE;
use crate::config::env_file::{EnvFile, Prepared};
use crate::store::role::{self, Origin, Role};
use crate::words::shell;
use crate::{Error, Kind, Result, as_json, pg, shape};

/// `db roles`
#[derive(Debug, Args)]
#[command(after_help = "\
Creates what is missing: PREFIX_asterisk reads the three ps_* views, PREFIX_agi routes and records
calls, PREFIX_admin is for this program, PREFIX_report reads everything but passwords. --seller adds
PREFIX_seller_USER, who sees and changes only what is his own, in psql too.

Their passwords go into files: capconduit.env (agi, for Asterisk's group), admin.env (admin and
asterisk), report.env and seller-USER.env, for the owner only. owner.env says how the owner of
the tables was reached, here with CREATEROLE: db migrate, db roles and db status look there.

A seller is given the line of seller-USER.env, by a way that nobody else reads: DATABASE_URL for
this program, in his environment or in a file that CAPCONDUIT_ENV_FILE names, and the URL for psql.
He has no DELETE in psql, but SELECT cc_remove_own('dids', ID), or 'campaigns' or
'campaign_client_settings', and SELECT cc_remove_own('campaign_dids', CAMPAIGN_ID, DID_ID).
A seller who is not active sees nothing.
He may change the settings of his own campaigns, their caps too. --reset-total-calls is refused
to him, but a setting that he removes and adds again begins a new count of its calls in all; those
that are up go on counting. A cap binds calls, not the seller: give a login to those alone whom you
trust with their caps. capconduit audit list --noun setting shows what they changed.

Other logins, as of a web back end, keep what they were granted, but for TRIGGER. Row security is
on for the sellers' tables: for such a login COPY table FROM is refused and pg_dump needs
--enable-row-security, unless it owns the tables or has BYPASSRLS.

Any login may take advisory locks, and calls wait for theirs. A run as a superuser takes that
from all but the owner and PREFIX_admin in this database; another run prints the command for it.

Examples:
  capconduit db roles
  capconduit db roles --seller alice --host pgbouncer.example:6432
  capconduit db roles --rotate=agi,seller_alice")]
pub(crate) struct Roles {
    /// What the roles' names begin with [default: as recorded, else capconduit]
    #[arg(long)]
    prefix: Option<String>,
    /// Also a login for this seller; may be repeated
    #[arg(long = "seller", value_name = "USER")]
    sellers: Vec<String>,
    /// Remove this seller's login, and do nothing else; may be repeated
    #[arg(long = "remove-seller", value_name = "USER", conflicts_with_all = ["sellers", "rotate", "ask_passwords", "list"])]
    remove_sellers: Vec<String>,
    /// New passwords, for all logins or for these: agi, seller_alice or whole names
    #[arg(long, value_name = "ROLE,...", num_args = 0.., require_equals = true, value_delimiter = ',')]
    rotate: Option<Vec<String>>,
    /// Ask for passwords instead of making them up; of a role that is there: the one that it has
    #[arg(long)]
    ask_passwords: bool,
    /// The folder of the files with passwords
    #[arg(long, value_name = "DIR", default_value = "/etc/capconduit")]
    env_dir: PathBuf,
    /// The address in the URLs, as of PgBouncer [default: this connection's; for a socket, 127.0.0.1]
    #[arg(long, value_name = "HOST[:PORT]")]
    host: Option<String>,
    /// Show which roles this database has, and do nothing else
    #[arg(long, conflicts_with_all = ["sellers", "rotate", "ask_passwords"])]
    list: bool,
}

/// What became of a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Created,
    There,
    Rotated,
    Missing,
    Removed,
    /// To be removed, but it owns things elsewhere, and stays.
    Disabled,
}

as_json! { Text: State; }

shape! {
    /// A role as it is shown.
    #[derive(Debug)]
    pub(crate) struct Shown {
        /// The database login.
        role: String,
        /// asterisk, agi, admin, report, seller_group or seller.
        purpose: String,
        /// The seller.
        username: Option<String>,
        /// created, there, rotated, removed or missing.
        state: State,
        /// The env file that has its URL.
        file: Option<PathBuf>,
    }
}

const COLUMNS: &[&str] = &["role", "purpose", "state", "file"];

/// A login that is to be there.
struct Login {
    role: String,
    purpose: &'static str,
    user: Option<(i32, String)>,
    file: PathBuf,
    variable: &'static str,
    state: State,
    /// The password for the file; None: the file is right already.
    password: Option<String>,
    origin: Origin,
}

impl Roles {
    pub(crate) fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let mut db = env.connect()?;
        if self.list {
            let recorded = role::recorded(&mut db)?;
            return Output::list(&recorded.iter().map(of_record).collect::<Vec<_>>(), COLUMNS, "No roles.");
        }
        if !self.remove_sellers.is_empty() {
            let recorded = role::recorded(&mut db).map_err(explain)?;
            let prefix = self.prefix(&recorded)?;
            return self.remove(env, &mut db, &recorded, &prefix);
        }
        let mut tx = env.begin(&mut db)?;
        // before any look: two runs at once would each make up their own passwords
        role::lock(&mut tx).map_err(explain)?;
        let recorded = role::recorded(&mut tx).map_err(explain)?;
        let prefix = self.prefix(&recorded)?;
        let group = format!("{prefix}_seller");
        let (server_port, database) = role::place(&mut tx)?;
        let closed = role::close_schema(&mut tx)?;
        refuse_grants_to_everybody(&mut tx)?;
        refuse_unbound(&mut tx, &recorded, &group)?;
        let mut logins = self.logins(&mut tx, &recorded, &prefix)?;
        let mut files = BTreeMap::new();
        self.decide(env, &mut tx, &recorded, &group, &mut logins, &mut files, &database)?;

        let address = self.address(env, &server_port)?;
        let mut displaced = Vec::new();
        for login in &logins {
            let (Some(password), Some(file)) = (&login.password, files.get_mut(&login.file)) else { continue };
            let before = file.get(login.variable);
            let (own, other) = before.into_iter().partition::<Vec<_>, _>(|url| names(url, &login.role));
            displaced.extend(other.into_iter().map(|url| (login.variable, url)));
            // a route that somebody has chosen for it, as through PgBouncer, stays
            let kept = own.first().filter(|_| self.host.is_none()).and_then(|url| with_password(url, password));
            file.set(login.variable, &kept.unwrap_or_else(|| address.url(&login.role, password, &database)))?;
        }
        // Asterisk's user reads this file: it names its own login only
        if let Some(shared) = files.get_mut(&self.env_dir.join(SHARED_FILE)) {
            for variable in ["DATABASE_URI", "ASTERISK_DATABASE_URL"] {
                if let Some(url) = shared.get(variable) {
                    let ours = logins.iter().any(|login| names(&url, &login.role));
                    displaced.extend((!ours).then_some((variable, url)));
                    shared.remove(variable)?;
                }
            }
        }
        self.keep_owner(env, &mut tx, &mut files, &displaced, &database)?;
        files.retain(|_, file| file.is_changed());

        change(&mut tx, &logins, &group).map_err(explain)?;
        let left_to_do = role::guard_advisory_locks(&mut tx, &format!("{prefix}_admin"))?;
        if !files.is_empty() {
            let folder = fs::DirBuilder::new().recursive(true).mode(0o755).create(&self.env_dir);
            folder.map_err(|e| Error::io("create", &self.env_dir, &e))?;
        }
        let prepared: Vec<_> = files.into_values().map(prepare).collect::<Result<_>>()?;
        tx.commit()?;
        // all files, even if one fails: nothing else knows these passwords
        let installed: Vec<Result<()>> = prepared.into_iter().map(Prepared::install).collect();
        installed.into_iter().collect::<Result<()>>()?;

        for login in logins.iter().filter(|login| login.state == State::Rotated) {
            end_sessions(env, &mut db, &login.role);
        }
        if let Some(schema) = closed {
            env.progress(&format!("Nobody but its owner creates things in schema {schema} any more."));
        }
        if let Some(sql) = left_to_do {
            env.progress(&format!(
                "Any login can hold up calls by taking locks of theirs. PostgreSQL's superuser ends that, once for this \
                 database; in a shell of its server:\nrunuser -u postgres -- psql -d {} <<'END'\n{sql};\nEND",
                shell(&database)
            ));
        }
        if logins.iter().any(|login| login.purpose == "asterisk" && login.password.is_some()) {
            env.progress("capconduit asterisk install --force gives Asterisk's realtime its new login.");
        }
        let mut shown: Vec<Shown> = logins.into_iter().map(of_login).collect();
        let named = |role: &str, shown: &[Shown]| shown.iter().any(|s| s.role == role);
        for role in role::recorded(&mut db)? {
            if !named(&role.role_name, &shown) {
                shown.push(of_record(&role));
            }
        }
        Output::list(&shown, COLUMNS, "No roles.")
    }

    /// The recorded roles' prefix goes first: one database has one set of roles.
    fn prefix(&self, recorded: &[Role]) -> Result<String> {
        let known =
            recorded.iter().find(|r| r.purpose == "seller_group").and_then(|r| r.role_name.strip_suffix("_seller"));
        match (&self.prefix, known) {
            (Some(given), Some(known)) if given != known => {
                Err(Error::conflict(format!("this database has roles with the prefix \"{known}\", not \"{given}\""))
                    .hint("Nothing was changed. Leave out --prefix."))
            }
            (_, Some(known)) => Ok(known.to_owned()),
            (given, None) => {
                let prefix = given.as_deref().unwrap_or(DEFAULT_PREFIX);
                let fits = prefix.len() <= 30 && prefix.starts_with(|c: char| c.is_ascii_lowercase());
                if !fits || prefix != sanitised(prefix) {
                    return Err(Error::invalid(format!("prefix \"{}\" is not usable", prefix.escape_debug()))
                        .hint("Write a letter, then a-z 0-9 _ : at most 30 characters."));
                }
                Ok(prefix.to_owned())
            }
        }
    }

    /// All logins that are to be there.
    fn logins(&self, db: &mut impl GenericClient, recorded: &[Role], prefix: &str) -> Result<Vec<Login>> {
        let login = |purpose, file: &str, variable| Login {
            role: format!("{prefix}_{purpose}"),
            purpose,
            user: None,
            file: self.env_dir.join(file),
            variable,
            state: State::There,
            password: None,
            origin: Origin::Chosen,
        };
        let mut logins = vec![
            login("agi", SHARED_FILE, "DATABASE_URL"),
            login("admin", "admin.env", "DATABASE_URL"),
            login("asterisk", "admin.env", "ASTERISK_DATABASE_URL"),
            login("report", "report.env", "DATABASE_URL"),
        ];
        let mut users = Vec::new();
        for name in &self.sellers {
            let user = find::user(db, name)?;
            users.push((user.id, user.username));
        }
        // a rotation of all takes those that were added before, too
        if self.rotate.is_some() {
            users.extend(recorded.iter().filter_map(|r| Some((r.user_id?, r.username.clone()?))));
        }
        users.sort();
        users.dedup();
        let mut taken: Vec<(String, Option<i32>)> = recorded.iter().map(|r| (r.role_name.clone(), r.user_id)).collect();
        for (id, username) in users {
            let role = seller_role(prefix, &username, id, &taken);
            taken.push((role.clone(), Some(id)));
            let file = format!("{}.env", file_stem(prefix, &role));
            let user = Some((id, username));
            logins.push(Login { role, purpose: "seller", user, ..login("seller", &file, "DATABASE_URL") });
        }
        Ok(logins)
    }

    #[expect(clippy::too_many_arguments, reason = "all that a run has found out")]
    /// What is to be done to each login. All that stands in the way is found before anything is changed.
    fn decide(
        &self,
        env: &mut Env<'_>,
        db: &mut impl GenericClient,
        recorded: &[Role],
        group: &str,
        logins: &mut [Login],
        files: &mut BTreeMap<PathBuf, EnvFile>,
        database: &str,
    ) -> Result<()> {
        let short =
            |role: &str, name: &str| role == name || role.strip_suffix(name).is_some_and(|rest| rest.ends_with('_'));
        let rotated = |login: &Login| match self.rotate.as_deref() {
            None => false,
            Some([]) => true,
            Some(names) => names.iter().any(|name| short(&login.role, name)),
        };
        for name in self.rotate.iter().flatten() {
            if !logins.iter().any(|login| short(&login.role, name)) {
                return Err(
                    Error::not_found("role", name).hint("Nothing was changed. capconduit db roles --list names them.")
                );
            }
        }
        let mut unknown = Vec::new();
        for login in logins {
            if !files.contains_key(&login.file) {
                files.insert(login.file.clone(), EnvFile::read(&login.file)?);
            }
            let url = files[&login.file].get(login.variable).filter(|url| names(url, &login.role));
            if let Some(other) = url.as_deref().and_then(database_of).filter(|other| other != database) {
                return Err(Error::conflict(format!(
                    "{} has role \"{}\" for database \"{other}\", not \"{database}\"",
                    login.file.display(),
                    login.role
                ))
                .hint("Nothing was changed. Give each database files and roles of its own: --env-dir and --prefix."));
            }
            let attributes = role::attributes(db, &login.role, if login.user.is_some() { group } else { "" })?;
            refuse_more(&login.role, attributes.as_deref())?;
            let is_his =
                |(id, _): &(i32, String)| recorded.iter().any(|r| r.role_name == login.role && r.user_id == Some(*id));
            if let Some((_, username)) = login.user.as_ref().filter(|user| attributes.is_some() && !is_his(user))
                && !rotated(login)
            {
                return Err(Error::conflict(format!(
                    "role \"{}\" is there, but not recorded as {username}'s: somebody else may know its password",
                    login.role
                ))
                .hint(format!(
                    "Nothing was changed. --rotate={} gives it a new one and makes it {username}'s.",
                    login.role
                )));
            }
            let asks = self.ask_passwords;
            login.state = match (attributes.is_some(), url) {
                (false, _) => State::Created,
                (true, _) if rotated(login) => State::Rotated,
                (true, Some(_)) => continue,
                (true, None) if asks => State::There,
                (true, None) => {
                    unknown.push(login.role.clone());
                    continue;
                }
            };
            login.password = Some(if asks { ask(env, login)? } else { generated()? });
            login.origin = if asks { Origin::Chosen } else { Origin::Generated };
        }
        if unknown.is_empty() {
            return Ok(());
        }
        let several = if unknown.len() == 1 { "role" } else { "roles" };
        Err(Error::conflict(format!(
            "{several} {} are there, but no file in {} has the password",
            unknown.join(", "),
            self.env_dir.display()
        ))
        .hint(
            "Nothing was changed. --rotate gives new passwords (others who use the old ones lose access), \
             --ask-passwords asks for the ones that they have. Roles of another database in this cluster: use another --prefix.",
        ))
    }

    /// Keeps the URL by which this run has reached the owner, and the URLs that were replaced: nothing else may know
    /// them.
    fn keep_owner(
        &self,
        env: &Env<'_>,
        db: &mut impl GenericClient,
        files: &mut BTreeMap<PathBuf, EnvFile>,
        displaced: &[(&str, String)],
        database: &str,
    ) -> Result<()> {
        let path = self.env_dir.join(OWNER_FILE);
        let mut file = EnvFile::read(&path)?;
        if file.get("DATABASE_URL").is_none() {
            let url = match env.config.database_url() {
                Some(url) => url,
                None => format!(
                    "postgresql:///{}?host=/var/run/postgresql&user={}",
                    encoded(database),
                    encoded(&role::login(db)?)
                ),
            };
            file.set("DATABASE_URL", &url)?;
        }
        for (variable, url) in displaced {
            let previous = format!("PREVIOUS_{variable}");
            if file.get("DATABASE_URL").as_ref() == Some(url) {
                continue;
            }
            if file.get(&previous).is_some_and(|there| there != *url) {
                return Err(Error::conflict(format!(
                    "{} has another {previous} than the one that would go there",
                    path.display()
                ))
                .hint("Nothing was changed. Move that line away, or the URLs of other logins out of this folder."));
            }
            file.set(&previous, url)?;
        }
        files.insert(path, file);
        Ok(())
    }

    /// Where the new logins are to connect to.
    fn address(&self, env: &Env<'_>, server_port: &str) -> Result<Address> {
        let connection = pg::database_config(env.config, "capconduit")?;
        let mut parameters = connection.tls.parameters();
        if connection.get_target_session_attrs() == TargetSessionAttrs::ReadWrite {
            parameters.insert(0, ("target_session_attrs", "read-write".to_owned()));
        }
        if let Some(host) = &self.host {
            let valid = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
            if host.is_empty() || !host.chars().all(valid) {
                return Err(Error::invalid(format!("--host \"{}\" is no address", host.escape_debug()))
                    .hint("Write HOST or HOST:PORT, an IPv6 address in []."));
            }
            return Ok(Address { hosts: host.clone(), parameters });
        }
        let ports = connection.get_ports();
        let hosts = connection.get_hosts().iter().enumerate().map(|(i, host)| match host {
            Host::Tcp(name) => {
                let port = ports.get(i).or(ports.first()).copied().unwrap_or(5432);
                if name.contains(':') { format!("[{name}]:{port}") } else { format!("{name}:{port}") }
            }
            // Debian's pg_hba.conf asks for a system user of the same name on the socket
            Host::Unix(_) => format!("127.0.0.1:{server_port}"),
        });
        Ok(Address { hosts: hosts.collect::<Vec<_>>().join(","), parameters })
    }

    fn remove(&self, env: &mut Env<'_>, db: &mut Client, recorded: &[Role], prefix: &str) -> Result<Output> {
        let mut roles = Vec::new();
        for name in &self.remove_sellers {
            let of_user = recorded.iter().find(|r| r.purpose == "seller" && r.username.as_deref() == Some(name));
            let role = match of_user {
                Some(role) => role.role_name.clone(),
                // the user is gone, and with him the record
                None => format!("{prefix}_seller_{}", sanitised(name)),
            };
            let others = recorded.iter().any(|r| r.role_name == role && r.username.as_deref() != Some(name));
            if others || role::attributes(db, &role, "")?.is_none() && of_user.is_none() {
                return Err(
                    Error::new(Kind::NotFound, format!("user \"{name}\" has no login")).hint("Nothing was changed.")
                );
            }
            roles.push((role, name.clone()));
        }
        let names = roles.iter().map(|(role, _)| format!("\"{role}\"")).collect::<Vec<_>>().join(", ");
        let confirmed = env.confirm(&format!("Remove database login {names}?"))?;
        // first what ends the login, whatever hinders the rest
        let group = format!("{prefix}_seller");
        let mut tx = env.begin(db)?;
        for (role, _) in &roles {
            role::disable(&mut tx, role, &group, &confirmed).map_err(explain)?;
        }
        tx.commit()?;
        let mut shown = Vec::new();
        for (role, username) in roles {
            end_sessions(env, db, &role);
            let mut tx = env.begin(db)?;
            let dropped = role::drop(&mut tx, &role, &confirmed).and_then(|()| Ok(tx.commit()?));
            if let Err(error) = &dropped {
                env.progress(&format!("warning: {role} can log in no more, but stays: {}", error.message));
            }
            let file = self.env_dir.join(format!("{}.env", file_stem(prefix, &role)));
            match fs::remove_file(&file) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io("remove", &file, &e)),
                Ok(()) | Err(_) => {}
            }
            let state = if dropped.is_ok() { State::Removed } else { State::Disabled };
            let purpose = "seller".to_owned();
            shown.push(Shown { role, purpose, username: Some(username), state, file: None });
        }
        Output::done(format!("Removed database login {names}."), &json!(shown))
    }
}

/// Every login also has PUBLIC's rights, even a login that is to have none.
fn refuse_grants_to_everybody(tx: &mut impl GenericClient) -> Result<()> {
    let open = role::open_tables(tx)?.join(", ");
    if open.is_empty() {
        return Ok(());
    }
    Err(Error::conflict(format!("everybody has rights on {open}, and so would each login")).hint(format!(
        "Nothing was changed. Grant to those who need it instead, then REVOKE ALL ON {open} FROM PUBLIC"
    )))
}

/// All existing roles must be bound by the grants made here, the group and the logins that this run does not touch
/// included.
fn refuse_unbound(tx: &mut impl GenericClient, recorded: &[Role], group: &str) -> Result<()> {
    refuse_more(group, role::attributes(tx, group, "")?.as_deref())?;
    for role in recorded {
        let may_be_in = if role.purpose == "seller" { group } else { "" };
        refuse_more(&role.role_name, role::attributes(tx, &role.role_name, may_be_in)?.as_deref())?;
    }
    Ok(())
}

fn refuse_more(role: &str, attributes: Option<&str>) -> Result<()> {
    match attributes {
        Some(more) if !more.is_empty() => Err(Error::conflict(format!("role \"{role}\" is there with {more}")).hint(
            "Nothing was changed. Such a role is bound by no grant: take that from it, or use another --prefix.",
        )),
        _ => Ok(()),
    }
}

/// Ends the sessions of a login, where this is permitted.
fn end_sessions(env: &mut Env<'_>, db: &mut Client, role: &str) {
    let attempt = |db: &mut Client| {
        let mut tx = db.transaction()?;
        role::end_sessions(&mut tx, role)?;
        Ok::<_, Error>(tx.commit()?)
    };
    if let Err(error) = attempt(db) {
        env.progress(&format!("warning: sessions that {role} has open go on: {}", error.message));
    }
}

fn change(tx: &mut impl GenericClient, logins: &[Login], group: &str) -> Result<()> {
    if role::attributes(tx, group, "")?.is_none() {
        role::create_group(tx, group)?;
    }
    role::record(tx, group, "seller_group", None)?;
    for login in logins {
        match (login.state, &login.password) {
            (State::Created, Some(password)) => {
                role::create_login(tx, &login.role, login.purpose, password, login.origin)?;
            }
            (State::Rotated, Some(password)) => {
                role::set_password(tx, &login.role, login.purpose, password, login.origin)?;
            }
            _ => {}
        }
        role::record(tx, &login.role, login.purpose, login.user.as_ref().map(|(id, _)| *id))?;
        if login.purpose == "seller" {
            role::join(tx, &login.role, group)?;
        }
    }
    role::grant_access(tx)
}

/// What a login other than the owner's lacks.
pub(crate) fn explain(error: Error) -> Error {
    match error.kind {
        // the login's error says what it takes
        Kind::Permission if error.message.contains(" role") => error,
        Kind::Permission => error.hint(
            "Nothing was changed. This takes the owner of the tables, who for db roles has CREATEROLE: root reaches him by \
             /etc/capconduit/owner.env, once capconduit db roles has written it; others set DATABASE_URL.",
        ),
        _ => error,
    }
}

/// A password from a person: a new one, or that of a role that is there, which the server then confirms.
fn ask(env: &mut Env<'_>, login: &Login) -> Result<String> {
    let role = &login.role;
    let password = match login.state {
        State::There => known_password(env, &format!("Present password of {role}"))?,
        _ => new_password(env, false, &format!("New password of {role}"))?,
    };
    let password = password.ok_or_else(|| {
        Error::new(Kind::Usage, format!("no password was given for {role}")).hint("Nothing was changed.")
    })?;
    typeable("the password", &password)?;
    if login.state == State::There && !pg::accepts(env.config, role, &password)? {
        return Err(Error::new(Kind::Permission, format!("the server refuses this password of {role}"))
            .hint("Nothing was changed. --rotate gives the role a new one."));
    }
    Ok(password)
}

/// A name as a part of a role's.
fn sanitised(name: &str) -> String {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.to_lowercase().chars().map(|c| if allowed(c) { c } else { '_' }).collect()
}

/// The role of a seller: as recorded, else one that no other seller has.
fn seller_role(prefix: &str, username: &str, id: i32, taken: &[(String, Option<i32>)]) -> String {
    if let Some((role, _)) = taken.iter().find(|(_, user)| *user == Some(id)) {
        return role.clone();
    }
    // with room for an id
    let role: String = format!("{prefix}_seller_{}", sanitised(username)).chars().take(52).collect();
    if taken.iter().any(|(there, _)| *there == role) { format!("{role}_{id}") } else { role }
}

fn file_stem<'a>(prefix: &str, role: &'a str) -> String {
    let name: &'a str = role.strip_prefix(&format!("{prefix}_seller_")).unwrap_or(role);
    format!("seller-{name}")
}

fn of_record(role: &Role) -> Shown {
    Shown {
        role: role.role_name.clone(),
        purpose: role.purpose.clone(),
        username: role.username.clone(),
        state: if role.is_there { State::There } else { State::Missing },
        file: None,
    }
}

fn of_login(login: Login) -> Shown {
    Shown {
        role: login.role,
        purpose: login.purpose.to_owned(),
        username: login.user.map(|(_, username)| username),
        state: login.state,
        file: Some(login.file),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_sellers() {
        assert_eq!(seller_role("cc", "Zoë O'Hara/../x", 7, &[]), "cc_seller_zo__o_hara____x");
        let taken = [("cc_seller_a_b".to_owned(), Some(1))];
        assert_eq!(seller_role("cc", "a.b", 2, &taken), "cc_seller_a_b_2");
        assert_eq!(seller_role("cc", "renamed", 1, &taken), "cc_seller_a_b");
        assert!(seller_role(&"p".repeat(30), &"u".repeat(80), i32::MAX, &[]).len() <= 63);
        assert_eq!(file_stem("cc", "cc_seller_a_b"), "seller-a_b");
    }
}
