//! CapConduit routes pay-per-call phone calls to call centres through Asterisk, never over a cap.
//!
//! Layers, arrows point one way: the entry points in `bin/` call [`cli`] or one of the [`agi`]
//! programs; those use the domain modules ([`call`], [`number`], [`realtime`], [`text`]); [`store`] alone
//! speaks SQL.

pub mod agi;
pub mod asterisk;
pub mod check;
pub mod cli;
pub mod config;
pub mod confirm;
pub mod delivery;
pub mod error;
pub mod model;
pub mod pg;
pub mod store;
pub mod system;
pub mod text;
pub mod words;

pub use error::{Error, Kind, Result};
