//! The SIP side of clients: the tables that Asterisk reads through the `ps_*` views. Texts in them
//! are escaped as Asterisk's realtime decodes them ([`Text`]).

use std::error::Error as StdError;

use chrono::{DateTime, Utc};
use postgres::GenericClient;
use postgres::Row;
use postgres::types::{FromSql, Type};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::confirm::Confirmed;
use crate::model::pjsip_options::{self, AOR_OUTBOUND_PROXY, Object};
use crate::model::realtime::Text;
use crate::model::shape::{Field, Fields, Json, paths};
use crate::pg::Query;
use crate::store::changes::{self, Changes};
use crate::store::noun::Noun;
use crate::{Error, Result, args, row, shape};

impl<'a> FromSql<'a> for Text {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> std::result::Result<Self, Box<dyn StdError + Sync + Send>> {
        <&str>::from_sql(ty, raw).map(Text::decode)
    }

    fn accepts(ty: &Type) -> bool {
        <&str as FromSql>::accepts(ty)
    }
}

row! {
    /// What Asterisk dials.
    pub struct Endpoint {
        /// The client's identifier.
        pub id: String,
        /// The client.
        pub client_id: i32,
        /// A transport of pjsip.conf; null: any.
        pub transport: Option<Text>,
        /// The AOR that calls go to.
        pub aors: Option<Text>,
        /// What the client must authenticate with.
        pub auth: Option<Text>,
        /// Where the client's own calls enter the dialplan.
        pub context: Text,
        /// Codecs, taken away first.
        pub disallow: Option<Text>,
        /// Codecs, in order of preference.
        pub allow: Option<Text>,
        /// yes or no.
        pub direct_media: Option<Text>,
        /// What Asterisk authenticates with at the client.
        pub outbound_auth: Option<Text>,
        /// User part of From.
        pub from_user: Option<Text>,
        /// Host part of From.
        pub from_domain: Option<Text>,
        /// Caller ID of the client's own calls.
        pub callerid: Option<Text>,
        /// Last change.
        pub config_updated_at: Option<DateTime<Utc>>,
    }
}

row! {
    /// Where an endpoint is.
    pub struct Aor {
        /// The client's identifier.
        pub id: String,
        /// The client.
        pub client_id: i32,
        /// SIP URI.
        pub contact: Text,
        /// How many may register.
        pub max_contacts: Option<i32>,
        /// Seconds between OPTIONS requests; 0: none.
        pub qualify_frequency: Option<i32>,
        /// Last change.
        pub config_updated_at: Option<DateTime<Utc>>,
    }
}

row! {
    /// Authentication. The password stays in the database.
    pub struct Auth {
        /// The client's identifier.
        pub id: String,
        /// The client.
        pub client_id: i32,
        /// userpass.
        pub auth_type: Option<Text>,
        /// User name.
        pub username: Option<Text>,
        /// Whether there is a password.
        pub password_set: bool,
        /// Null: any.
        pub realm: Option<Text>,
        /// Last change.
        pub config_updated_at: Option<DateTime<Utc>>,
    }
}

/// A row with its options, all of them: JSON has them beside the row's own fields.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WithOptions<T> {
    /// The v3.0 columns.
    #[serde(flatten)]
    pub row: T,
    /// [`pjsip_options::OPTIONS`], null where Asterisk has its default.
    #[serde(flatten)]
    pub options: Map<String, Value>,
}

impl<T> std::ops::Deref for WithOptions<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.row
    }
}

impl<T: for<'r> TryFrom<&'r Row, Error = crate::Error> + HasOptions> TryFrom<&Row> for WithOptions<T> {
    type Error = crate::Error;

    fn try_from(row: &Row) -> Result<Self> {
        let mut options = Map::new();
        for (name, _) in paths(T::OPTIONS) {
            // whatever its type: a v3.0 platform may have had the column before
            let text: Option<Text> = row.try_get(format!("option_{name}").as_str())?;
            let number = |text: &Text| text.0.parse::<serde_json::Number>().ok().map(Value::Number);
            let is_number = pjsip_options::OPTIONS.iter().any(|option| option.name == name && option.is_number());
            let value = text.map_or(Value::Null, |text| match number(&text).filter(|_| is_number) {
                Some(number) => number,
                None => Value::String(text.0),
            });
            options.insert(name, value);
        }
        Ok(WithOptions { row: T::try_from(row)?, options })
    }
}

/// The options of an object as [`Fields`], each nullable.
const fn option_fields<const N: usize>(object: Object) -> [Field; N] {
    let mut fields = [Field::new("", Json::Any, ""); N];
    let (mut at, mut n) = (0, 0);
    while at < pjsip_options::OPTIONS.len() {
        let option = &pjsip_options::OPTIONS[at];
        if option.object as u8 == object as u8 {
            let json = match option.rule {
                pjsip_options::Rule::Integer(..) => &Json::Integer,
                pjsip_options::Rule::Seconds(_) => &Json::Number,
                _ => &Json::Text,
            };
            fields[n] = Field::new(option.name, Json::Nullable(json), option.about);
            n += 1;
        }
        at += 1;
    }
    fields
}

const fn count(object: Object) -> usize {
    let (mut at, mut n) = (0, 0);
    while at < pjsip_options::OPTIONS.len() {
        if pjsip_options::OPTIONS[at].object as u8 == object as u8 {
            n += 1;
        }
        at += 1;
    }
    n
}

/// A row with options beyond its v3.0 columns.
pub trait HasOptions {
    /// Their columns, as they are printed.
    const OPTIONS: &'static [Field];
}

impl HasOptions for Endpoint {
    const OPTIONS: &'static [Field] = &option_fields::<{ count(Object::Endpoint) }>(Object::Endpoint);
}

impl HasOptions for Aor {
    const OPTIONS: &'static [Field] = &[
        Field::flat(&option_fields::<{ count(Object::Aor) }>(Object::Aor)),
        Field::new(
            AOR_OUTBOUND_PROXY,
            Json::Nullable(&Json::Text),
            "The proxy that requests which qualify the contact go through: the endpoint's.",
        ),
    ];
}

impl<T: Fields + HasOptions> Fields for WithOptions<T> {
    const FIELDS: &'static [Field] = &[Field::flat(T::FIELDS), Field::flat(T::OPTIONS)];
}

/// All rows of a table with their options; with a client, only its own.
fn with_options<T>(
    db: &mut impl GenericClient,
    table: &'static str,
    client_id: Option<i32>,
) -> Result<Vec<WithOptions<T>>>
where
    T: HasOptions,
    WithOptions<T>: for<'r> TryFrom<&'r Row, Error = crate::Error>,
{
    let options: Vec<String> =
        paths(T::OPTIONS).iter().map(|(name, _)| format!("t.\"{name}\"::text AS \"option_{name}\"")).collect();
    let sql = format!("SELECT t.*, {} FROM {table} t WHERE $1::int IS NULL OR t.client_id = $1", options.join(", "));
    crate::pg::all(&db.rows(&sql, args![client_id])?)
}

shape! {
    /// The SIP side of a client.
    #[derive(Clone, Debug)]
    pub struct Pjsip {
        /// The client.
        pub client_id: i32,
        /// The client's identifier.
        pub client_identifier: String,
        /// The client's status: Asterisk does not see an inactive one.
        pub status: String,
        /// Its endpoint.
        pub endpoint: Option<WithOptions<Endpoint>>,
        /// Where the endpoint is.
        pub aor: Option<WithOptions<Aor>>,
        /// What Asterisk authenticates with.
        pub auth: Option<Auth>,
        /// What keeps calls from it.
        pub problems: Vec<String>,
    }
}

/// Whether the login may change the SIP side: a seller's may not.
pub fn may_change(db: &mut impl GenericClient) -> Result<bool> {
    Ok(db.row("SELECT 1 WHERE has_any_column_privilege('pjsip_aors', 'UPDATE')", args![])?.is_some())
}

row! {
    /// Whether Asterisk is to ask a client's contact.
    pub struct Qualification {
        /// The client's identifier.
        pub id: String,
        /// Seconds between OPTIONS requests; 0: none.
        pub qualify_frequency: i32,
        /// When the client or its contact was changed last.
        pub changed_at: Option<DateTime<Utc>>,
    }
}

/// The qualification of every client that has a contact.
pub fn qualifications(db: &mut impl GenericClient) -> Result<Vec<Qualification>> {
    crate::pg::all(&db.rows(
        "SELECT a.id, coalesce(a.qualify_frequency, 0) AS qualify_frequency,
                greatest(a.config_updated_at, c.updated_at) AS changed_at
         FROM pjsip_aors a JOIN clients c ON c.id = a.client_id",
        args![],
    )?)
}

/// The SIP side of all clients, by identifier; with a client, only its own.
pub fn list(db: &mut impl GenericClient, client_id: Option<i32>) -> Result<Vec<Pjsip>> {
    let clients = db.rows(
        "SELECT id, client_identifier, status FROM clients WHERE $1::int IS NULL OR id = $1 ORDER BY client_identifier",
        args![client_id],
    )?;
    let mut endpoints: Vec<WithOptions<Endpoint>> = with_options(db, "pjsip_endpoints", client_id)?;
    let mut aors: Vec<WithOptions<Aor>> = with_options(db, "pjsip_aors", client_id)?;
    let mut auths: Vec<Auth> = crate::pg::all(&db.rows(
        "SELECT id, client_id, auth_type, username, coalesce(password, '') <> '' AS password_set, realm,
                config_updated_at
         FROM pjsip_auths WHERE $1::int IS NULL OR client_id = $1",
        args![client_id],
    )?)?;
    let split = db.rows(
        "SELECT client_id, 'contact' FROM pjsip_aors WHERE contact LIKE '%;%'
         UNION ALL SELECT client_id, 'password' FROM pjsip_auths WHERE password LIKE '%;%' ORDER BY 2",
        args![],
    )?;
    let nothing = names_of_nothing(db, client_id)?;
    clients
        .iter()
        .map(|row| {
            let client_id: i32 = row.try_get("id")?;
            let mut pjsip = Pjsip {
                client_id,
                client_identifier: row.try_get("client_identifier")?,
                status: row.try_get("status")?,
                endpoint: take(&mut endpoints, |e| e.client_id == client_id),
                aor: take(&mut aors, |a| a.client_id == client_id),
                auth: take(&mut auths, |a| a.client_id == client_id),
                problems: Vec::new(),
            };
            pjsip.problems = pjsip.problems_of_structure(&nothing);
            for row in &split {
                if row.try_get::<_, i32>(0)? == client_id {
                    let column: &str = row.try_get(1)?;
                    pjsip.problems.push(format!("the {column} has a bare ; at which Asterisk splits it: set it again"));
                }
            }
            Ok(pjsip)
        })
        .collect()
}

fn take<T>(from: &mut Vec<T>, is: impl Fn(&T) -> bool) -> Option<T> {
    from.iter().position(is).map(|at| from.swap_remove(at))
}

/// What comes of an `outbound_auth` that does not exist: other calls go through.
pub const CHALLENGED: &str = ": calls that the client challenges fail";

impl Pjsip {
    fn problems_of_structure(&self, nothing: &[OfNothing]) -> Vec<String> {
        let mut problems = Vec::new();
        if self.status != "active" {
            problems.push(format!("the client is {}: Asterisk does not see it", self.status));
        }
        match &self.endpoint {
            None => problems.push("there is no endpoint".to_owned()),
            Some(endpoint) if endpoint.id != self.client_identifier => {
                problems.push(format!("the endpoint's id is \"{}\", not the client's identifier", endpoint.id));
            }
            Some(endpoint) => {
                for one in nothing.iter().filter(|one| one.endpoint == endpoint.id && one.what != "auth") {
                    let OfNothing { what, name, .. } = one;
                    let comes = if what == "aors" { "" } else { CHALLENGED };
                    problems.push(format!("{what} has \"{name}\", which does not exist{comes}"));
                }
            }
        }
        match &self.aor {
            None => problems.push("there is no AOR".to_owned()),
            Some(aor) if aor.contact.0.is_empty() => problems.push("the AOR has no contact".to_owned()),
            Some(_) => {}
        }
        problems
    }
}

/// Refuses options that Asterisk does not take together: it would drop the whole endpoint. Of this client, or of all.
///
/// # Errors
/// [`crate::Kind::Invalid`], naming the clients; the transaction should end then.
pub fn refuse_conflicts(tx: &mut impl GenericClient, client_id: Option<i32>) -> Result<()> {
    let rows = tx.rows(
        "SELECT format('%s: timers_min_se is %s, timers_sess_expires is %s', id, timers_min_se,
                       coalesce(timers_sess_expires::text, 'not set, which is 1800'))
         FROM pjsip_endpoints WHERE timers_min_se > coalesce(timers_sess_expires, 1800) AND ($1::int IS NULL OR client_id = $1)
         ORDER BY id LIMIT 5",
        args![client_id],
    )?;
    let found: Vec<String> = crate::pg::column(&rows)?;
    if found.is_empty() {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "{}: the shortest session timer must not be longer than the one asked for",
        found.join("; ")
    ))
    .hint("Nothing was changed. Asterisk would drop the whole endpoint."))
}

row! {
    /// A name in an endpoint's row that nothing has.
    pub struct OfNothing {
        /// `pjsip_endpoints.id`
        pub endpoint: String,
        /// The column: aors, auth or outbound_auth.
        pub what: String,
        /// The name.
        pub name: String,
    }
}

/// Names in endpoints that the database does not have: of this client, or of all. An AOR or login of another client
/// exists, too: several clients may share one.
pub fn names_of_nothing(db: &mut impl GenericClient, client_id: Option<i32>) -> Result<Vec<OfNothing>> {
    crate::pg::all(&db.rows(
        "SELECT e.id::text AS endpoint, n.what, n.name FROM pjsip_endpoints e, LATERAL (
             SELECT 'aors' AS what, trim(a.name) AS name FROM unnest(string_to_array(e.aors, ',')) a (name)
             WHERE trim(a.name) <> '' AND NOT EXISTS (SELECT FROM pjsip_aors p WHERE p.id = trim(a.name))
             UNION ALL
             SELECT o.what, o.name FROM (VALUES ('auth', e.auth::text), ('outbound_auth', e.outbound_auth)) o (what, name)
             WHERE o.name <> '' AND NOT EXISTS (SELECT FROM pjsip_auths p WHERE p.id = o.name)) n
         WHERE $1::int IS NULL OR e.client_id = $1
         ORDER BY 1, 2, 3",
        args![client_id],
    )?)
}

/// Where clients' own calls enter the dialplan that comes with CapConduit.
pub const DEFAULT_CONTEXT: &str = "from-client";

/// Adds a part of a client's SIP side, which has the client's identifier as its own; an endpoint dials the AOR of that
/// name.
///
/// # Errors
/// [`crate::Kind::Conflict`] where the client has one, or the id is taken.
pub fn add(db: &mut impl GenericClient, noun: Noun, client_id: i32, id: &str, mut row: Changes) -> Result<()> {
    row.extend(changes::of([("id", json!(id)), ("client_id", json!(client_id))]));
    if noun == Noun::Endpoint {
        row.entry("aors").or_insert_with(|| json!(id));
        row.entry("context").or_insert_with(|| json!(DEFAULT_CONTEXT));
    }
    changes::add(db, noun, row).map(|_| ())
}

/// Removes a client's endpoint, AOR and authentication; returns how many rows were removed.
pub fn remove(db: &mut impl GenericClient, client_id: i32, _: &Confirmed) -> Result<u64> {
    let endpoints = db.run("DELETE FROM pjsip_endpoints WHERE client_id = $1", args![client_id])?;
    let aors = db.run("DELETE FROM pjsip_aors WHERE client_id = $1", args![client_id])?;
    let auths = db.run("DELETE FROM pjsip_auths WHERE client_id = $1", args![client_id])?;
    Ok(endpoints + aors + auths)
}

/// Removes a client's authentication, also from its endpoint; returns how many were removed.
pub fn remove_auth(db: &mut impl GenericClient, client_id: i32, _: &Confirmed) -> Result<u64> {
    db.run(
        "UPDATE pjsip_endpoints e
         SET auth = nullif(e.auth, a.id), outbound_auth = nullif(e.outbound_auth, a.id), config_updated_at = now()
         FROM pjsip_auths a WHERE a.client_id = $1 AND e.client_id = $1",
        args![client_id],
    )?;
    db.run("DELETE FROM pjsip_auths WHERE client_id = $1", args![client_id])
}
