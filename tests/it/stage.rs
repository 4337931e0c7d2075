//! What the tests of real calls share: two Asterisk servers on one database.

use std::sync::{OnceLock, PoisonError, RwLock};

use crate::harness::asterisk::{Asterisk, Options};
use crate::harness::postgres::{Database, Postgres};
use crate::harness::site::{Link, Site};

/// The servers and their database.
pub(crate) struct Stage {
    /// Shared by both.
    pub(crate) database: Database,
    /// Answers the caller before it asks for a client.
    pub(crate) early: Asterisk,
    /// Lets the caller ring: a rejection is a SIP failure.
    pub(crate) ringing: Asterisk,
}

/// Tests that measure times share the stage; one that loads the machine has it alone.
static TURN: RwLock<()> = RwLock::new(());

/// The stage for a test whose times matter: others run beside it, heavy ones do not.
pub(crate) fn stage() -> (&'static Stage, impl Sized) {
    let stage = start();
    (stage, TURN.read().unwrap_or_else(PoisonError::into_inner))
}

/// The stage for a test that takes all the machine has.
pub(crate) fn stage_alone() -> (&'static Stage, impl Sized) {
    let stage = start();
    (stage, TURN.write().unwrap_or_else(PoisonError::into_inner))
}

fn start() -> &'static Stage {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    STAGE.get_or_init(|| {
        let database = Postgres::shared().database();
        let start = |system_name, early_answer| {
            Asterisk::start(&database, &Options { system_name, early_answer, ..Options::default() })
        };
        Stage { early: start("early", true), ringing: start("ringing", false), database }
    })
}

impl Stage {
    /// A site on the stage.
    pub(crate) fn site(&self, strategy: &str, dial_timeout: u32, links: &[Link]) -> Site {
        Site::new(&self.database, strategy, dial_timeout, links)
    }

    /// A priority campaign that tries these contacts in their order, two seconds each.
    pub(crate) fn in_order(&self, contacts: &[String]) -> Site {
        let links: Vec<Link> = contacts
            .iter()
            .zip(0..)
            .map(|(contact, forwarding_priority)| Link { forwarding_priority, ..Link::to(contact) })
            .collect();
        self.site("priority", 2, &links)
    }
}
