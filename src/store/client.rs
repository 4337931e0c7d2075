//! Clients: the call centres that calls are sold to. Their SIP side is in `pjsip`.

use chrono::{DateTime, Utc};
use postgres::GenericClient;

use crate::model::realtime::Text;
use crate::pg::Query;
use crate::{Result, args, row};

row! {
    /// A client.
    pub struct Client {
        /// Key.
        pub id: i32,
        /// Unique; the id of its endpoint.
        pub client_identifier: String,
        /// For people.
        pub name: String,
        /// Which part of it takes the calls.
        pub department: Option<String>,
        /// active or inactive.
        pub status: String,
        /// Where its calls go: the contact of its AOR.
        pub contact: Option<Text>,
        /// Free text.
        pub notes: Option<String>,
        /// The user who added it.
        pub created_by: Option<i32>,
        /// Row creation.
        pub created_at: DateTime<Utc>,
        /// Last change.
        pub updated_at: DateTime<Utc>,
    }
}

const SELECT: &str = "SELECT c.*, a.contact FROM clients c LEFT JOIN pjsip_aors a ON a.client_id = c.id";
/// The columns that a seller may read: where the calls go is not among them.
const SELECT_PUBLIC: &str = "SELECT c.id, c.client_identifier, c.name, c.department, c.status, NULL::text AS contact,
    NULL::text AS notes, NULL::integer AS created_by, c.created_at, c.updated_at FROM clients c";

/// Whether this login may read all of a client: a seller's may not.
pub fn are_whole(db: &mut impl GenericClient) -> Result<bool> {
    let sql = "SELECT 1 WHERE has_column_privilege('clients', 'notes', 'SELECT')
                           OR NOT has_column_privilege('clients', 'name', 'SELECT')";
    Ok(db.row(sql, args![])?.is_some())
}

fn select(db: &mut impl GenericClient) -> Result<&'static str> {
    Ok(if are_whole(db)? { SELECT } else { SELECT_PUBLIC })
}

/// All clients, by identifier; with a status, only those.
pub fn list(db: &mut impl GenericClient, status: Option<&str>) -> Result<Vec<Client>> {
    let select = select(db)?;
    let sql = format!("{select} WHERE ($1::text IS NULL OR c.status = $1) ORDER BY c.client_identifier");
    crate::pg::all(&db.rows(&sql, args![status])?)
}

/// The client with this identifier, else with this id.
pub fn find(db: &mut impl GenericClient, name: &str) -> Result<Option<Client>> {
    let select = select(db)?;
    let sql =
        format!("{select} WHERE c.client_identifier = $1 OR c.id = $2 ORDER BY c.client_identifier = $1 DESC LIMIT 1");
    crate::pg::one(db.row(&sql, args![name, crate::store::as_id(name)])?)
}

/// Id and identifier of the client with this identifier, else with this id: what every login may read.
pub fn reference(db: &mut impl GenericClient, name: &str) -> Result<Option<(i32, String)>> {
    let sql = "SELECT id, client_identifier FROM clients WHERE client_identifier = $1 OR id = $2
               ORDER BY client_identifier = $1 DESC LIMIT 1";
    let row = db.row(sql, args![name, crate::store::as_id(name)])?;
    row.map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).transpose()
}

/// All identifiers.
pub fn names(db: &mut impl GenericClient) -> Result<Vec<String>> {
    crate::pg::column(&db.rows("SELECT client_identifier FROM clients ORDER BY 1", args![])?)
}

/// Names of the campaigns that the client has settings in.
pub fn campaigns(db: &mut impl GenericClient, id: i32) -> Result<Vec<String>> {
    crate::pg::column(&db.rows(
        "SELECT g.name FROM campaign_client_settings s JOIN campaigns g ON g.id = s.campaign_id
         WHERE s.client_id = $1 ORDER BY g.name, g.id",
        args![id],
    )?)
}
