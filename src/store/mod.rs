//! All SQL: one file per noun, each statement beside the row it returns. Absence is `Ok(None)`; an error is the
//! database's, where a function does not say otherwise.

pub mod audit;
pub mod call;
pub mod campaign;
pub mod changes;
pub mod client;
pub mod did;
pub mod document;
pub mod health;
pub mod import;
pub mod migrate;
pub mod needs;
pub mod noun;
pub mod page;
pub mod pjsip;
pub mod reap;
pub mod record;
pub mod report;
pub mod role;
pub mod route;
pub mod seller;
pub mod setting;
pub mod status;
pub mod user;
pub mod verify;
pub mod zone;

/// The id that a name may be: things are named by natural key or id.
fn as_id(name: &str) -> Option<i32> {
    if name.bytes().all(|b| b.is_ascii_digit()) { name.parse().ok() } else { None }
}
