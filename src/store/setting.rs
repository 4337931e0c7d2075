//! Settings: the link of a campaign and a client, with its caps.

use chrono::{DateTime, Utc};
use postgres::GenericClient;
use serde_json::Value;

use crate::pg::Query;
use crate::store::call::IN_FLIGHT;
use crate::store::changes::{self, Changes};
use crate::store::noun::Noun;
use crate::{Result, args, row};

row! {
    /// A setting.
    pub struct Setting {
        /// Key.
        pub id: i32,
        /// The campaign.
        pub campaign_id: i32,
        /// The campaign's name.
        pub campaign_name: String,
        /// The seller.
        pub username: String,
        /// The client.
        pub client_id: i32,
        /// The client's identifier.
        pub client_identifier: String,
        /// active or inactive.
        pub status: String,
        /// Calls at once.
        pub max_concurrency: i32,
        /// Attempts in flight, counted from the ledger.
        pub live_calls: i64,
        /// Answered calls in all; null: unlimited.
        pub total_calls_allowed: Option<i32>,
        /// Answered calls so far.
        pub current_total_calls: i32,
        /// Strategy priority: lower first.
        pub forwarding_priority: i32,
        /// Strategies weighted and priority: the share among equals.
        pub weight: i32,
        /// Row creation.
        pub created_at: DateTime<Utc>,
        /// Last change.
        pub updated_at: DateTime<Utc>,
    }
}

fn select() -> String {
    // campaign_id is what the ledger's index of open attempts begins with
    format!(
        "SELECT s.*, g.name AS campaign_name, u.username, c.client_identifier,
            (SELECT count(*) FROM call_attempts a
             WHERE a.campaign_id = s.campaign_id AND a.client_id = s.client_id AND {IN_FLIGHT}) AS live_calls
         FROM campaign_client_settings s
         JOIN campaigns g ON g.id = s.campaign_id
         JOIN users u ON u.id = g.user_id
         JOIN clients c ON c.id = s.client_id"
    )
}

/// The count of answered calls, which a seller's login may not set.
pub const COUNT: &str = "current_total_calls";

/// Which settings; None lets everything through.
#[derive(Debug, Default)]
pub struct Filter {
    /// Of this seller.
    pub user_id: Option<i32>,
    /// Of this campaign.
    pub campaign_id: Option<i32>,
    /// Of this client.
    pub client_id: Option<i32>,
}

/// Settings by campaign, in the order of their priority.
pub fn list(db: &mut impl GenericClient, filter: &Filter) -> Result<Vec<Setting>> {
    let sql = format!(
        "{} WHERE ($1::int IS NULL OR g.user_id = $1) AND ($2::int IS NULL OR s.campaign_id = $2)
           AND ($3::int IS NULL OR s.client_id = $3)
         ORDER BY g.name, g.id, s.forwarding_priority, c.client_identifier",
        select()
    );
    crate::pg::all(&db.rows(&sql, args![filter.user_id, filter.campaign_id, filter.client_id])?)
}

/// The setting with this id.
pub fn by_id(db: &mut impl GenericClient, id: i32) -> Result<Option<Setting>> {
    crate::pg::one(db.row(&format!("{} WHERE s.id = $1", select()), args![id])?)
}

/// The setting of a campaign and a client.
pub fn find(db: &mut impl GenericClient, campaign_id: i32, client_id: i32) -> Result<Option<Setting>> {
    crate::pg::one(
        db.row(&format!("{} WHERE s.campaign_id = $1 AND s.client_id = $2", select()), args![campaign_id, client_id])?,
    )
}

/// Changes a setting; returns how many rows were changed.
pub fn set(db: &mut impl GenericClient, id: i32, changes: &Changes) -> Result<u64> {
    let mut changes = changes.clone();
    if changes.contains_key(COUNT) {
        // without a base the trigger computes a new one: else setting the counter to one more would pass for a call
        changes.insert("total_calls_base".to_owned(), Value::Null);
    }
    changes::set(db, Noun::Setting, id, &changes)
}
