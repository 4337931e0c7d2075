//! Campaigns: what a seller's DIDs feed, and how their calls are shared out.

use chrono::{DateTime, Utc};
use postgres::GenericClient;

use crate::pg::Query;
use crate::store::call::IN_FLIGHT;
use crate::{Result, args, row};

row! {
    /// A campaign.
    pub struct Campaign {
        /// Key.
        pub id: i32,
        /// The seller.
        pub user_id: i32,
        /// The seller's name.
        pub username: String,
        /// Unique for the seller.
        pub name: String,
        /// active, inactive or paused.
        pub status: String,
        /// priority, round_robin or weighted.
        pub routing_strategy: String,
        /// How long a client may ring.
        pub dial_timeout_seconds: i32,
        /// How long a call may last.
        pub max_call_seconds: i32,
        /// Free text.
        pub description: Option<String>,
        /// Numbers of its DIDs.
        pub dids: Vec<String>,
        /// Attempts in flight.
        pub live_calls: i64,
        /// Row creation.
        pub created_at: DateTime<Utc>,
        /// Last change.
        pub updated_at: DateTime<Utc>,
    }
}

fn select() -> String {
    format!(
        "SELECT g.*, u.username,
            ARRAY(SELECT d.number::text FROM campaign_dids k JOIN dids d ON d.id = k.did_id
                  WHERE k.campaign_id = g.id ORDER BY d.number) AS dids,
            (SELECT count(*) FROM call_attempts a WHERE a.campaign_id = g.id AND {IN_FLIGHT}) AS live_calls
         FROM campaigns g JOIN users u ON u.id = g.user_id"
    )
}

/// All campaigns, by name; with a filter, only those.
pub fn list(db: &mut impl GenericClient, user_id: Option<i32>, status: Option<&str>) -> Result<Vec<Campaign>> {
    let sql = format!(
        "{} WHERE ($1::int IS NULL OR g.user_id = $1) AND ($2::text IS NULL OR g.status = $2) ORDER BY g.name, g.id",
        select()
    );
    crate::pg::all(&db.rows(&sql, args![user_id, status])?)
}

/// The campaigns with this name, which several sellers may have; where there are none, the one with
/// this id. With a user, only that seller's.
pub fn find(db: &mut impl GenericClient, name: &str, user_id: Option<i32>) -> Result<Vec<Campaign>> {
    let sql =
        format!("{} WHERE (g.name = $1 OR g.id = $2) AND ($3::int IS NULL OR g.user_id = $3) ORDER BY g.id", select());
    let mut found: Vec<Campaign> = crate::pg::all(&db.rows(&sql, args![name, crate::store::as_id(name), user_id])?)?;
    if found.iter().any(|c| c.name == name) {
        found.retain(|c| c.name == name);
    }
    Ok(found)
}

/// All names.
pub fn names(db: &mut impl GenericClient) -> Result<Vec<String>> {
    crate::pg::column(&db.rows("SELECT DISTINCT name FROM campaigns ORDER BY 1", args![])?)
}

/// Lets a DID of the same seller feed the campaign. Returns how many links were made: 0 where it
/// feeds it already or is another seller's.
pub fn add_did(db: &mut impl GenericClient, id: i32, did_id: i32) -> Result<u64> {
    // the lock keeps the DID from being given to another seller meanwhile
    db.run(
        "INSERT INTO campaign_dids (campaign_id, did_id)
         SELECT g.id, d.id FROM campaigns g JOIN dids d ON d.user_id = g.user_id
         WHERE g.id = $1 AND d.id = $2 FOR SHARE OF d
         ON CONFLICT DO NOTHING",
        args![id, did_id],
    )
}

/// Stops a DID from feeding the campaign. Returns how many links were removed.
pub fn remove_did(db: &mut impl GenericClient, id: i32, did_id: i32) -> Result<u64> {
    if crate::store::seller::only_own(db, "campaign_dids")? {
        return crate::store::seller::rows_removed(
            db.row("SELECT cc_remove_own('campaign_dids', $1, $2)", args![id, did_id])?,
        );
    }
    db.run("DELETE FROM campaign_dids WHERE campaign_id = $1 AND did_id = $2", args![id, did_id])
}
