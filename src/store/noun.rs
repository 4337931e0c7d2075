//! The nouns of the configuration, and their tables.

/// What the configuration consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Noun {
    /// Key: username.
    User,
    /// Key: client_identifier.
    Client,
    /// Key: the client's.
    Endpoint,
    /// Key: the client's.
    Aor,
    /// Key: the client's.
    Auth,
    /// Key: number.
    Did,
    /// Key: the seller's, name.
    Campaign,
    /// Key: the campaign's, the client's.
    Setting,
}

impl Noun {
    /// In the order in which they are locked and written: each names only those before it.
    pub const ALL: [Noun; 8] =
        [Noun::User, Noun::Client, Noun::Endpoint, Noun::Aor, Noun::Auth, Noun::Did, Noun::Campaign, Noun::Setting];

    /// What people call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Noun::User => "user",
            Noun::Client => "client",
            Noun::Endpoint => "endpoint",
            Noun::Aor => "aor",
            Noun::Auth => "auth",
            Noun::Did => "did",
            Noun::Campaign => "campaign",
            Noun::Setting => "setting",
        }
    }

    /// Where it is stored.
    #[must_use]
    pub fn table(self) -> &'static str {
        match self {
            Noun::User => "users",
            Noun::Client => "clients",
            Noun::Endpoint => "pjsip_endpoints",
            Noun::Aor => "pjsip_aors",
            Noun::Auth => "pjsip_auths",
            Noun::Did => "dids",
            Noun::Campaign => "campaigns",
            Noun::Setting => "campaign_client_settings",
        }
    }

    /// Whether its texts are stored as Asterisk's realtime decodes them.
    #[must_use]
    pub fn is_escaped(self) -> bool {
        matches!(self, Noun::Endpoint | Noun::Aor | Noun::Auth)
    }

    /// The column that names a row in this module: for the SIP side, the client's id.
    pub(crate) fn handle(self) -> &'static str {
        if self.is_escaped() { "client_id" } else { "id" }
    }

    pub(crate) fn updated(self) -> &'static str {
        if self.is_escaped() { "config_updated_at" } else { "updated_at" }
    }

    /// The column of the ledger that names it.
    pub(crate) fn in_ledger(self) -> Option<&'static str> {
        match self {
            Noun::User => Some("user_id"),
            Noun::Client => Some("client_id"),
            Noun::Did => Some("did_id"),
            Noun::Campaign => Some("campaign_id"),
            Noun::Setting => Some("campaign_client_setting_id"),
            Noun::Endpoint | Noun::Aor | Noun::Auth => None,
        }
    }
}
