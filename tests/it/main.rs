//! Integration tests on real servers: PostgreSQL, PgBouncer, Asterisk and SIPp, started by the
//! harness beside this folder. One file per subject.

#[path = "../harness/mod.rs"]
mod harness;

mod access;
mod agi_serve;
mod asterisk_check;
mod asterisk_dies;
mod audit;
mod calls;
mod caps;
mod cli;
mod clocks;
mod columns;
mod completion;
mod config;
mod connected;
mod contacts;
mod csv;
mod database_away;
mod encryption;
mod ends;
mod env_files;
mod http_sink;
mod identity;
mod in_call;
mod install;
mod killed;
mod last_resort;
mod layers;
mod layout;
mod listing;
mod manual;
mod maps;
mod media;
mod merged;
mod migrate;
mod needs;
mod parts;
mod passed_over;
mod pooler;
mod realtime;
mod reasons;
mod report;
mod schema;
mod sip_options;
mod spool_faults;
mod stage;
mod status;
mod totals;
mod transcript;
mod turns;
mod tutorial;
mod verify;
mod zones;
