//! Where a database is, who logs in, and how the connection is encrypted.

use std::ops::{Deref, DerefMut};

use crate::pg::tls::Tls;

/// The `postgres` crate's settings, and those of encryption that it leaves to others.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    database: postgres::Config,
    /// How connections are encrypted.
    pub tls: Tls,
}

impl Settings {
    /// The crate's settings with these of encryption.
    #[must_use]
    pub fn new(database: postgres::Config, tls: Tls) -> Settings {
        Settings { database, tls }
    }
}

impl Deref for Settings {
    type Target = postgres::Config;

    fn deref(&self) -> &postgres::Config {
        &self.database
    }
}

impl DerefMut for Settings {
    fn deref_mut(&mut self) -> &mut postgres::Config {
        &mut self.database
    }
}
