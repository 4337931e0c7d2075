//! The configuration as a whole: all users, clients, DIDs, campaigns and settings by their natural
//! keys, read in one statement and written in one statement per table and kind of change.
//!
//! Which columns there are is said in [`Noun::columns`] and read from the catalogue: a column that a
//! migration adds to the tables that Asterisk reads is part of the configuration without a line here.

use std::collections::BTreeMap;

use postgres::GenericClient;
use serde_json::{Map, Value, json};

use crate::confirm::Confirmed;
use crate::model::realtime::Text;
use crate::pg::Query;
use crate::store::call::IN_FLIGHT;
use crate::store::changes::stored;
use crate::store::noun::Noun;
use crate::{Error, Result, args};

/// Which columns of a table are configuration.
enum Columns {
    /// These, in this order.
    These(&'static [&'static str]),
    /// All texts, numbers and truth values but these, by name.
    AllBut(&'static [&'static str]),
}

impl Noun {
    fn columns(self) -> Columns {
        match self {
            Noun::User => {
                Columns::These(&["username", "email", "role", "status", "full_name", "company_name", "password_hash"])
            }
            Noun::Client => Columns::These(&["client_identifier", "name", "department", "status", "notes"]),
            Noun::Endpoint | Noun::Aor | Noun::Auth => Columns::AllBut(&["id", "client_id"]),
            Noun::Did => Columns::These(&["number", "status", "description"]),
            Noun::Campaign => Columns::These(&[
                "name",
                "status",
                "routing_strategy",
                "dial_timeout_seconds",
                "max_call_seconds",
                "description",
            ]),
            Noun::Setting => {
                Columns::These(&["status", "max_concurrency", "total_calls_allowed", "forwarding_priority", "weight"])
            }
        }
    }

    /// The fields that make up its key, in order.
    #[must_use]
    pub fn key(self) -> &'static [&'static str] {
        match self {
            Noun::User => &["username"],
            Noun::Client => &["client_identifier"],
            Noun::Endpoint | Noun::Aor | Noun::Auth => &["client"],
            Noun::Did => &["number"],
            Noun::Campaign => &["user", "name"],
            Noun::Setting => &["user", "campaign", "client"],
        }
    }

    /// Names of what it refers to, the tables joined for them, and how: for reading.
    fn references(self) -> (&'static str, &'static str) {
        match self {
            Noun::User | Noun::Client => ("", ""),
            Noun::Endpoint | Noun::Aor | Noun::Auth => {
                (", c.client_identifier AS client", "JOIN clients c ON c.id = t.client_id")
            }
            Noun::Did => (", u.username AS \"user\"", "JOIN users u ON u.id = t.user_id"),
            Noun::Campaign => (
                ", u.username AS \"user\", ARRAY(SELECT d.number::text FROM campaign_dids k JOIN dids d ON d.id = k.did_id
                    WHERE k.campaign_id = t.id ORDER BY d.number COLLATE \"C\") AS dids",
                "JOIN users u ON u.id = t.user_id",
            ),
            Noun::Setting => (
                ", u.username AS \"user\", g.name AS campaign, c.client_identifier AS client",
                "JOIN campaigns g ON g.id = t.campaign_id JOIN users u ON u.id = g.user_id
                 JOIN clients c ON c.id = t.client_id",
            ),
        }
    }

    /// The same for adding: the columns that refer, their values, and the joins with the row `r`.
    fn owners(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Noun::User | Noun::Client => ("", "", ""),
            Noun::Endpoint | Noun::Aor | Noun::Auth => (
                "id, client_id, ",
                "c.client_identifier, c.id, ",
                "JOIN clients c ON c.client_identifier = r->>'client'",
            ),
            Noun::Did | Noun::Campaign => ("user_id, ", "u.id, ", "JOIN users u ON u.username = r->>'user'"),
            Noun::Setting => (
                "campaign_id, client_id, ",
                "g.id, c.id, ",
                "JOIN users u ON u.username = r->>'user'
                 JOIN campaigns g ON g.user_id = u.id AND g.name = r->>'campaign'
                 JOIN clients c ON c.client_identifier = r->>'client'",
            ),
        }
    }
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Text of so many characters at most.
    Text(Option<usize>),
    /// A whole number of 32 bits.
    Integer,
    /// A number that may have a fraction.
    Float,
    /// A truth value.
    Bool,
}

/// A column of the configuration.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its name, also in the document.
    pub name: String,
    /// Its type.
    pub holds: Holds,
    /// Whether it may hold nothing.
    pub nullable: bool,
    /// What the database gives a new row; null: nothing.
    pub default: Value,
}

impl Column {
    /// Whether its value is shown to nobody.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        is_secret(&self.name)
    }
}

/// Whether a field's value is shown to nobody.
#[must_use]
pub fn is_secret(field: &str) -> bool {
    matches!(field, "password" | "password_hash")
}

/// The columns of each noun.
pub type Schema = BTreeMap<Noun, Vec<Column>>;

/// The columns of the configuration, from the catalogue.
///
/// # Errors
/// The database's; tables that are missing.
pub fn schema(db: &mut impl GenericClient) -> Result<Schema> {
    let tables: Vec<String> = Noun::ALL.iter().map(|noun| noun.table().to_owned()).collect();
    let found = db.rows(
        "SELECT t.name, a.attname::text, format_type(a.atttypid, NULL), a.atttypmod, NOT a.attnotnull,
                pg_get_expr(d.adbin, d.adrelid)
         FROM unnest($1) t (name)
         JOIN pg_attribute a ON a.attrelid = to_regclass(quote_ident(t.name)) AND a.attnum > 0 AND NOT a.attisdropped
         LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
         WHERE format_type(a.atttypid, NULL) IN ('text', 'character varying', 'integer', 'double precision', 'boolean')
           AND a.attgenerated = ''
         ORDER BY a.attname COLLATE \"C\"",
        args![tables],
    )?;
    let mut schema = Schema::new();
    let mut defaults: Vec<(Noun, String, String)> = Vec::new();
    for noun in Noun::ALL {
        let mut columns = Vec::new();
        for row in &found {
            let (table, name): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
            let wanted = match noun.columns() {
                Columns::These(names) => names.contains(&name),
                Columns::AllBut(names) => !names.contains(&name),
            };
            if table != noun.table() || !wanted {
                continue;
            }
            let modifier: i32 = row.try_get(3)?;
            let holds = match row.try_get(2)? {
                "integer" => Holds::Integer,
                "double precision" => Holds::Float,
                "boolean" => Holds::Bool,
                // the modifier counts its own four bytes
                _ => Holds::Text(usize::try_from(modifier - 4).ok()),
            };
            if let Some(default) = row.try_get::<_, Option<String>>(5)? {
                defaults.push((noun, name.to_owned(), default));
            }
            columns.push(Column { name: name.to_owned(), holds, nullable: row.try_get(4)?, default: Value::Null });
        }
        if let Columns::These(names) = noun.columns() {
            columns.sort_by_key(|column| names.iter().position(|name| *name == column.name));
            if columns.len() < names.len() {
                return Err(Error::failed(format!("the table {} is missing or lacks columns", noun.table()))
                    .hint("The schema is missing or older than this program: run capconduit db migrate."));
            }
        }
        schema.insert(noun, columns);
    }
    // the catalogue's own expressions: constants
    let list: Vec<String> = defaults.iter().map(|(.., expression)| format!("to_json({expression})::text")).collect();
    let values: Vec<String> = db.value(&format!("SELECT ARRAY[{}]::text[]", list.join(", ")), args![])?;
    for ((noun, name, _), value) in defaults.iter().zip(values) {
        if let Some(column) = schema.get_mut(noun).and_then(|columns| columns.iter_mut().find(|c| c.name == *name)) {
            column.default = parse(&value)?;
        }
    }
    Ok(schema)
}

fn parse(text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|e| Error::failed(format!("database: {e}")))
}

/// A row of a noun.
#[derive(Clone, Debug)]
pub struct Row {
    /// Names it in this module.
    pub id: i32,
    /// Its columns, and the names of what it refers to.
    pub fields: Map<String, Value>,
}

/// Values of the fields of [`Noun::key`].
pub type Key = Vec<String>;

/// All that is there, by noun and key.
pub type State = BTreeMap<Noun, BTreeMap<Key, Row>>;

/// The key of an object with these fields.
#[must_use]
pub fn key_of(noun: Noun, fields: &Map<String, Value>) -> Key {
    noun.key().iter().map(|name| fields.get(*name).and_then(Value::as_str).unwrap_or_default().to_owned()).collect()
}

/// Lets one change of the whole configuration run at a time, until the transaction ends.
pub fn lock(tx: &mut impl GenericClient) -> Result<()> {
    tx.rows("SELECT pg_advisory_xact_lock(hashtextextended('capconduit config', 0))", args![])?;
    Ok(())
}

/// Everything, as of one moment.
pub fn read(db: &mut impl GenericClient, schema: &Schema) -> Result<State> {
    let parts = schema.iter().map(|(noun, columns)| {
        let (names, joins) = noun.references();
        let own: String = columns.iter().map(|column| format!(", t.{}", identifier(&column.name))).collect();
        format!(
            "(SELECT coalesce(json_agg(x), '[]')::text FROM (SELECT t.{} AS \"#id\"{own}{names} FROM {} t {joins}) x)",
            noun.handle(),
            noun.table(),
        )
    });
    // one statement, one snapshot
    let texts: Vec<String> = db.value(&format!("SELECT ARRAY[{}]", parts.collect::<Vec<_>>().join(", ")), args![])?;
    let mut state = State::new();
    for ((noun, columns), text) in schema.iter().zip(texts) {
        let rows: Vec<Map<String, Value>> =
            serde_json::from_str(&text).map_err(|e| Error::failed(format!("database: {e}")))?;
        let of_noun = state.entry(*noun).or_default();
        for mut fields in rows {
            let id = fields.shift_remove("#id").and_then(|id| i32::try_from(id.as_i64()?).ok()).unwrap_or_default();
            for column in columns {
                let Some(value) = fields.get_mut(&column.name) else { continue };
                if let Value::String(text) = value {
                    if noun.is_escaped() {
                        *text = Text::decode(text).0;
                    }
                    // Asterisk and the web back end take an empty text for null
                    if text.is_empty() && column.nullable {
                        *value = Value::Null;
                    }
                }
            }
            of_noun.insert(key_of(*noun, &fields), Row { id, fields });
        }
    }
    Ok(state)
}

/// A column's name in a statement.
fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn expect(noun: Noun, what: &str, rows: u64, expected: usize) -> Result<()> {
    if usize::try_from(rows).is_ok_and(|rows| rows == expected) {
        return Ok(());
    }
    Err(Error::conflict(format!("{rows} of {expected} {}s were {what}: somebody else changed them", noun.name()))
        .hint("Nothing was changed. Try again."))
}

/// Adds rows with all their columns, in their order.
///
/// # Errors
/// The database's; something that a row refers to is not there.
pub fn add(tx: &mut impl GenericClient, schema: &Schema, noun: Noun, rows: Vec<Map<String, Value>>) -> Result<()> {
    let (Some(columns), false) = (schema.get(&noun), rows.is_empty()) else { return Ok(()) };
    let count = rows.len();
    let (owners, owner_values, joins) = noun.owners();
    let names: Vec<String> = columns.iter().map(|column| identifier(&column.name)).collect();
    let values: Vec<String> = names.iter().map(|name| format!("p.{name}")).collect();
    let table = noun.table();
    let sql = format!(
        "INSERT INTO {table} ({owners}{}) SELECT {owner_values}{}
         FROM jsonb_array_elements($1::text::jsonb) WITH ORDINALITY x (r, n)
         CROSS JOIN jsonb_populate_record(NULL::{table}, r) p {joins} ORDER BY x.n",
        names.join(", "),
        values.join(", "),
    );
    let rows = rows.into_iter().map(|row| stored(noun, row)).collect::<Value>();
    let added = tx.run(&sql, args![rows.to_string()])?;
    expect(noun, "added", added, count)
}

/// Changes columns of rows; a row holds only the columns that change.
///
/// # Errors
/// The database's; a row that is there no more.
pub fn change(
    tx: &mut impl GenericClient,
    schema: &Schema,
    noun: Noun,
    rows: Vec<(i32, Map<String, Value>)>,
) -> Result<()> {
    let (Some(columns), false) = (schema.get(&noun), rows.is_empty()) else { return Ok(()) };
    let count = rows.len();
    let mut sets: Vec<String> = columns
        .iter()
        .filter(|column| rows.iter().any(|(_, fields)| fields.contains_key(&column.name)))
        .map(|column| {
            let (name, key) = (identifier(&column.name), column.name.replace('\'', "''"));
            format!("{name} = CASE WHEN r ? '{key}' THEN p.{name} ELSE t.{name} END")
        })
        .collect();
    if noun == Noun::Did {
        sets.push(
            "user_id = CASE WHEN r ? 'user' THEN (SELECT u.id FROM users u WHERE u.username = r->>'user')
                 ELSE t.user_id END"
                .to_owned(),
        );
    }
    sets.push(format!("{} = now()", noun.updated()));
    let rows = rows.into_iter().map(|(id, mut fields)| {
        fields.insert("#id".to_owned(), json!(id));
        stored(noun, fields)
    });
    let (table, handle) = (noun.table(), noun.handle());
    let sql = format!(
        "UPDATE {table} t SET {}
         FROM jsonb_array_elements($1::text::jsonb) x (r) CROSS JOIN jsonb_populate_record(NULL::{table}, r) p
         WHERE t.{handle} = (r->>'#id')::integer",
        sets.join(", "),
    );
    let changed = tx.run(&sql, args![rows.collect::<Value>().to_string()])?;
    expect(noun, "changed", changed, count)
}

/// A campaign's seller, its name, and the number of a DID.
pub type Link = (String, String, String);

/// Lets DIDs feed campaigns.
pub fn link(tx: &mut impl GenericClient, links: &[Link]) -> Result<()> {
    let sql = "INSERT INTO campaign_dids (campaign_id, did_id) SELECT g.id, d.id FROM";
    of_links(tx, links, sql, "ON CONFLICT DO NOTHING")
}

/// Lets DIDs feed campaigns no more.
pub fn unlink(tx: &mut impl GenericClient, links: &[Link]) -> Result<()> {
    of_links(tx, links, "DELETE FROM campaign_dids k USING", "WHERE k.campaign_id = g.id AND k.did_id = d.id")
}

fn of_links(tx: &mut impl GenericClient, links: &[Link], before: &str, behind: &str) -> Result<()> {
    if links.is_empty() {
        return Ok(());
    }
    let part = |part: fn(&Link) -> &String| links.iter().map(part).cloned().collect::<Vec<_>>();
    let sql = format!(
        "{before} unnest($1, $2, $3) x (username, name, number)
         JOIN users u ON u.username = x.username JOIN campaigns g ON g.user_id = u.id AND g.name = x.name
         JOIN dids d ON d.number = x.number {behind}"
    );
    tx.run(&sql, args![part(|link| &link.0), part(|link| &link.1), part(|link| &link.2)])?;
    Ok(())
}

/// Frees the e-mail addresses of users who change theirs or go, for the users who get them.
pub fn free_emails(tx: &mut impl GenericClient, ids: &[i32]) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    tx.run("UPDATE users SET email = format('%s@moving.invalid', id) WHERE id = ANY ($1)", args![ids.to_vec()])?;
    Ok(())
}

/// Locks rows that are to be removed. Nouns go in the order of [`Noun::ALL`], in which a call record locks what it
/// names: so the two cannot deadlock.
pub fn lock_rows(tx: &mut impl GenericClient, noun: Noun, ids: &[i32]) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let (table, handle) = (noun.table(), noun.handle());
    let sql = format!(
        "WITH l AS MATERIALIZED (SELECT {handle} FROM {table} WHERE {handle} = ANY ($1) ORDER BY {handle} FOR UPDATE)
         SELECT count(*) FROM l"
    );
    tx.rows(&sql, args![ids.to_vec()])?;
    Ok(())
}

/// Calls in flight of these rows, for those that have any.
pub fn in_flight(db: &mut impl GenericClient, noun: Noun, ids: &[i32]) -> Result<BTreeMap<i32, i64>> {
    let (Some(column), false) = (noun.in_ledger(), ids.is_empty()) else { return Ok(BTreeMap::new()) };
    let sql = format!(
        "SELECT a.{column}, count(*) FROM call_attempts a WHERE a.{column} = ANY ($1) AND {IN_FLIGHT} GROUP BY 1"
    );
    db.rows(&sql, args![ids.to_vec()])?.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// Removes rows with all that depends on them; call records stay, but name none of them any more.
pub fn remove(tx: &mut impl GenericClient, noun: Noun, ids: &[i32], _: &Confirmed) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let (table, handle) = (noun.table(), noun.handle());
    if noun == Noun::Auth {
        tx.run(
            "UPDATE pjsip_endpoints e
             SET auth = nullif(e.auth, a.id), outbound_auth = nullif(e.outbound_auth, a.id), config_updated_at = now()
             FROM pjsip_auths a
             WHERE a.client_id = ANY ($1) AND e.client_id = a.client_id AND a.id IN (e.auth, e.outbound_auth)",
            args![ids.to_vec()],
        )?;
    }
    tx.run(&format!("DELETE FROM {table} WHERE {handle} = ANY ($1)"), args![ids.to_vec()])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_tables_are_those_of_the_list() {
        let list = include_str!("../../sql/routines/tables.sql");
        for noun in Noun::ALL {
            let audited = if noun.is_escaped() { "pjsip" } else { noun.name() };
            let row = format!("('{}', '{audited}', 'data', true,", noun.table());
            assert!(list.contains(&row), "{row}");
        }
    }
}
