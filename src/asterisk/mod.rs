//! Asterisk: the files that a server of it needs, and what a running one says ([`live`]).

pub mod conf;
pub mod install;
pub mod live;
pub mod site;
