//! Settings: the link of a campaign and a client, with its caps.

use chrono::{DateTime, Utc};
use postgres::GenericClient;

use crate::confirm::Confirmed;
use crate::pg::Query;
use crate::store::call::IN_FLIGHT;
use crate::{Error, Result, args, row};

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

/// What is to be changed; None stays as it is.
#[derive(Debug, Default, PartialEq)]
pub struct Changes {
    /// `campaign_client_settings.status`
    pub status: Option<String>,
    /// `campaign_client_settings.max_concurrency`
    pub max_concurrency: Option<i32>,
    /// `campaign_client_settings.total_calls_allowed`; `Some(None)`: unlimited.
    pub total_calls_allowed: Option<Option<i32>>,
    /// `campaign_client_settings.current_total_calls`
    pub current_total_calls: Option<i32>,
    /// `campaign_client_settings.forwarding_priority`
    pub forwarding_priority: Option<i32>,
    /// `campaign_client_settings.weight`
    pub weight: Option<i32>,
}

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
///
/// # Errors
/// The database's.
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
///
/// # Errors
/// The database's.
pub fn by_id(db: &mut impl GenericClient, id: i32) -> Result<Option<Setting>> {
    crate::pg::one(db.row(&format!("{} WHERE s.id = $1", select()), args![id])?)
}

/// The setting of a campaign and a client.
///
/// # Errors
/// The database's.
pub fn find(db: &mut impl GenericClient, campaign_id: i32, client_id: i32) -> Result<Option<Setting>> {
    crate::pg::one(
        db.row(&format!("{} WHERE s.campaign_id = $1 AND s.client_id = $2", select()), args![campaign_id, client_id])?,
    )
}

/// Adds a setting with this cap, else with the database's defaults; returns the id.
///
/// # Errors
/// [`crate::Kind::Conflict`] where the two are linked already.
pub fn add(db: &mut impl GenericClient, campaign_id: i32, client_id: i32, max_concurrency: i32) -> Result<i32> {
    let row = db.row(
        "INSERT INTO campaign_client_settings (campaign_id, client_id, max_concurrency) VALUES ($1, $2, $3) RETURNING id",
        args![campaign_id, client_id, max_concurrency],
    )?;
    Ok(row.ok_or_else(|| Error::failed("database: the setting was not added"))?.try_get(0)?)
}

/// Changes a setting; returns how many rows were changed.
///
/// # Errors
/// The database's.
pub fn set(db: &mut impl GenericClient, id: i32, changes: &Changes) -> Result<u64> {
    // A seller's login may not touch the counter: it is named only where it is to be set. Without a base,
    // the trigger works it out anew: also where the counter is set to one more, which
    // would else be taken for a call
    let counter = match changes.current_total_calls {
        Some(_) => "current_total_calls = $6, total_calls_base = NULL,",
        None => "",
    };
    let sql = format!(
        "UPDATE campaign_client_settings SET status = coalesce($2, status),
             max_concurrency = coalesce($3, max_concurrency),
             total_calls_allowed = CASE WHEN $4 THEN $5 ELSE total_calls_allowed END,
             {counter} forwarding_priority = coalesce($7, forwarding_priority),
             weight = coalesce($8, weight), updated_at = now()
         WHERE id = $1"
    );
    db.run(
        &sql,
        args![
            id,
            changes.status,
            changes.max_concurrency,
            changes.total_calls_allowed.is_some(),
            changes.total_calls_allowed.flatten(),
            changes.current_total_calls,
            changes.forwarding_priority,
            changes.weight,
        ],
    )
}

/// How many call records name the setting.
///
/// # Errors
/// The database's.
pub fn records(db: &mut impl GenericClient, id: i32) -> Result<i64> {
    crate::store::call::records_of(db, "campaign_client_setting_id", id)
}

/// Removes a setting; call records stay, but refer to no setting any more. Returns how many were removed.
///
/// # Errors
/// The database's.
pub fn remove(db: &mut impl GenericClient, id: i32, _: &Confirmed) -> Result<u64> {
    crate::store::seller::remove(db, "campaign_client_settings", id)
}
