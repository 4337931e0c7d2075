//! PostgreSQL: reaching a server within a bounded time, statements, rows, errors.
//!
//! Statements go out unnamed with their types ([`Query`]): that is one round trip, and works through PgBouncer in
//! transaction mode, where named prepared statements and session state do not. (`wire` prepares a statement that is
//! repeated on one connection, once it knows that no pooler is in between.)

mod connect;
mod encrypted;
mod error;
mod kept;
mod login;
mod query;
mod row;
mod settings;
mod tls;
mod url;
mod wire;

pub use connect::{
    accepts, asterisk_config, config_of, connect, connect_to, database_config, open, open_to, with_deadline,
};
pub use kept::Kept;
pub use login::name_login;
pub use query::{Query, SqlArg, arg};
pub(crate) use query::{all, column, one};
pub use settings::Settings;
pub use tls::{Mode, Tls};
pub use url::parse_url;
pub use wire::Connection;
