#![doc = include_str!("README.md")]

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
