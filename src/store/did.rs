//! DIDs: the phone numbers that sellers own, and which campaigns they feed.

use chrono::{DateTime, Utc};
use postgres::GenericClient;

use crate::pg::Query;
use crate::store::status::Filter;
use crate::{Result, args, row};

row! {
    /// A DID.
    pub struct Did {
        /// Key.
        pub id: i32,
        /// E.164 with +, unique.
        pub number: String,
        /// The seller.
        pub user_id: i32,
        /// The seller's name.
        pub username: String,
        /// active or inactive.
        pub status: String,
        /// Free text.
        pub description: Option<String>,
        /// Names of the campaigns that it feeds, in the order in which they are tried.
        pub campaigns: Vec<String>,
        /// Row creation.
        pub created_at: DateTime<Utc>,
        /// Last change.
        pub updated_at: DateTime<Utc>,
    }
}

const SELECT: &str = "SELECT d.*, u.username,
    ARRAY(SELECT g.name::text FROM campaign_dids k JOIN campaigns g ON g.id = k.campaign_id
          WHERE k.did_id = d.id ORDER BY g.id) AS campaigns
    FROM dids d JOIN users u ON u.id = d.user_id";

/// All DIDs, by number; with a filter, only those.
pub fn list(
    db: &mut impl GenericClient,
    user_id: Option<i32>,
    campaign_id: Option<i32>,
    status: Option<&str>,
) -> Result<Vec<Did>> {
    let sql = format!(
        "{SELECT} WHERE ($1::int IS NULL OR d.user_id = $1)
           AND ($2::int IS NULL OR EXISTS (SELECT FROM campaign_dids k WHERE k.did_id = d.id AND k.campaign_id = $2))
           AND ($3::text IS NULL OR d.status = $3)
         ORDER BY d.number"
    );
    crate::pg::all(&db.rows(&sql, args![user_id, campaign_id, status])?)
}

/// The DID with this number, else with this id. `number` is the E.164 form of `name`, where it has one: a v3.0
/// database may hold numbers in another form.
pub fn find(db: &mut impl GenericClient, number: Option<&str>, name: &str) -> Result<Option<Did>> {
    let sql = format!(
        "{SELECT} WHERE d.number IN ($1, $2) OR d.id = $3
         ORDER BY d.number = $1 DESC NULLS LAST, d.number = $2 DESC LIMIT 1"
    );
    crate::pg::one(db.row(&sql, args![number, name, crate::store::as_id(name)])?)
}

/// All numbers.
pub fn names(db: &mut impl GenericClient) -> Result<Vec<String>> {
    crate::pg::column(&db.rows("SELECT number FROM dids ORDER BY 1", args![])?)
}

/// A stored number with the digits of `number`, but not `number` itself: v3.0 kept some without +.
pub fn written_otherwise(db: &mut impl GenericClient, number: &str) -> Result<Option<String>> {
    let row = db.row(
        "SELECT number FROM dids
         WHERE number <> $1 AND regexp_replace(number, '[^0-9]', '', 'g') = regexp_replace($1, '[^0-9]', '', 'g')
         ORDER BY id LIMIT 1",
        args![number],
    )?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

row! {
    /// An active DID of an active seller, as it is stored.
    pub struct Stored {
        /// Key.
        pub id: i32,
        /// In whatever form.
        pub number: String,
        /// The seller's name.
        pub username: String,
    }
}

/// The active DIDs of active sellers: all, or only those that are not stored as E.164.
pub fn stored(db: &mut impl GenericClient, filter: Filter, all: bool) -> Result<Vec<Stored>> {
    let sql = "SELECT d.id, d.number, u.username FROM dids d JOIN users u ON u.id = d.user_id
         WHERE d.status = 'active' AND u.status = 'active' AND ($3 OR d.number !~ '^\\+[1-9][0-9]{1,14}$')
           AND ($1::int IS NULL OR d.user_id = $1)
           AND ($2::int IS NULL OR EXISTS (SELECT FROM campaign_dids k WHERE k.did_id = d.id AND k.campaign_id = $2))
         ORDER BY d.id";
    crate::pg::all(&db.rows(sql, args![filter.user_id, filter.campaign_id, all])?)
}

/// The only stored number that ends in the digits of `number`, which may lack its country: None where
/// there is none, or more than one.
pub fn ending_in(db: &mut impl GenericClient, number: &str) -> Result<Option<String>> {
    // fewer digits are the end of many a number by chance
    let digits = number.trim_start_matches('+');
    if digits.len() < 6 {
        return Ok(None);
    }
    let rows = db.rows("SELECT number FROM dids WHERE right(number, length($1)) = $1 LIMIT 2", args![digits])?;
    match rows.as_slice() {
        [row] => Ok(Some(row.try_get(0)?)),
        _ => Ok(None),
    }
}

/// Id, name and status of the campaigns that a number feeds, in the order in which they are tried.
pub fn campaign_statuses(db: &mut impl GenericClient, number: &str) -> Result<Vec<(i32, String, String)>> {
    let rows = db.rows(
        "SELECT g.id, g.name, g.status FROM dids d JOIN campaign_dids k ON k.did_id = d.id
         JOIN campaigns g ON g.id = k.campaign_id WHERE d.number = $1 ORDER BY g.id",
        args![number],
    )?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))).collect()
}

/// Names of the campaigns that the DID feeds though they are another seller's than the DID.
pub fn foreign_campaigns(db: &mut impl GenericClient, id: i32) -> Result<Vec<String>> {
    crate::pg::column(&db.rows(
        "SELECT g.name FROM dids d JOIN campaign_dids k ON k.did_id = d.id JOIN campaigns g ON g.id = k.campaign_id
         WHERE d.id = $1 AND g.user_id <> d.user_id ORDER BY g.id",
        args![id],
    )?)
}
