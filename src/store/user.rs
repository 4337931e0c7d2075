//! Users: the people who log in to the web back end, and the sellers who own DIDs and campaigns.

use chrono::{DateTime, Utc};
use postgres::GenericClient;

use crate::pg::Query;
use crate::{Result, args, row};

row! {
    /// A user. The password hash stays in the database.
    pub struct User {
        /// Key.
        pub id: i32,
        /// Unique.
        pub username: String,
        /// Unique.
        pub email: String,
        /// admin, staff or user (a seller).
        pub role: String,
        /// active, inactive, pending_approval or suspended.
        pub status: String,
        /// The person.
        pub full_name: Option<String>,
        /// The person's company.
        pub company_name: Option<String>,
        /// Whether there is a hash that a password can match.
        pub password_set: bool,
        /// Row creation.
        pub created_at: DateTime<Utc>,
        /// Last change.
        pub updated_at: DateTime<Utc>,
    }
}

const SELECT: &str = "SELECT id, username, email, role, status, full_name, company_name,
    cc_password_set(id) AS password_set, created_at, updated_at FROM users";

/// All users, by name; with a role or a status, only those.
pub fn list(db: &mut impl GenericClient, role: Option<&str>, status: Option<&str>) -> Result<Vec<User>> {
    let sql = format!(
        "{SELECT} WHERE ($1::text IS NULL OR role = $1) AND ($2::text IS NULL OR status = $2) ORDER BY username"
    );
    crate::pg::all(&db.rows(&sql, args![role, status])?)
}

/// The user with this name, else with this id.
pub fn find(db: &mut impl GenericClient, name: &str) -> Result<Option<User>> {
    let sql = format!("{SELECT} WHERE username = $1 OR id = $2 ORDER BY username = $1 DESC LIMIT 1");
    crate::pg::one(db.row(&sql, args![name, crate::store::as_id(name)])?)
}

/// All usernames.
pub fn names(db: &mut impl GenericClient) -> Result<Vec<String>> {
    crate::pg::column(&db.rows("SELECT username FROM users ORDER BY 1", args![])?)
}

/// Who has this e-mail address.
pub fn with_email(db: &mut impl GenericClient, email: &str) -> Result<Option<User>> {
    crate::pg::one(db.row(&format!("{SELECT} WHERE email = $1"), args![email])?)
}

/// A user's hash, which a seller's login may not read.
pub fn password_hash(db: &mut impl GenericClient, id: i32) -> Result<Option<String>> {
    let row = db.row("SELECT password_hash FROM users WHERE id = $1", args![id])?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

/// Numbers of the user's DIDs, and names of its campaigns.
pub fn owned(db: &mut impl GenericClient, id: i32) -> Result<[Vec<String>; 2]> {
    let dids = db.rows("SELECT number FROM dids WHERE user_id = $1 ORDER BY number", args![id])?;
    let campaigns = db.rows("SELECT name FROM campaigns WHERE user_id = $1 ORDER BY name", args![id])?;
    Ok([crate::pg::column(&dids)?, crate::pg::column(&campaigns)?])
}
