//! A seller with a DID, a campaign and its links: what a test or the demo routes calls through.

use std::sync::atomic::{AtomicU32, Ordering};

use super::postgres::Database;

/// A link of a campaign to a client.
#[derive(Clone)]
pub struct Link {
    /// SIP URI of the client.
    pub contact: String,
    /// `max_concurrency`
    pub max_concurrency: u32,
    /// `total_calls_allowed`
    pub total_calls_allowed: Option<u32>,
    /// `forwarding_priority`
    pub forwarding_priority: u32,
    /// `weight`
    pub weight: u32,
}

impl Link {
    /// A link without narrow caps.
    pub fn to(contact: impl Into<String>) -> Link {
        Link {
            contact: contact.into(),
            max_concurrency: 100,
            total_calls_allowed: None,
            forwarding_priority: 0,
            weight: 100,
        }
    }
}

/// What was set up. Names are unique in the database, so that tests can share it.
pub struct Site {
    /// Where.
    pub database: Database,
    /// The DID with its +.
    pub did: String,
    /// The seller.
    pub user: String,
    /// The campaign's name and id.
    pub campaign: String,
    /// `campaigns.id`
    pub campaign_id: i32,
    /// The clients' identifiers, in the order of the links.
    pub clients: Vec<String>,
    /// The links' ids.
    pub settings: Vec<i32>,
}

impl Site {
    /// Sets it up; links without a priority of their own are tried in their order.
    pub fn new(database: &Database, strategy: &str, dial_timeout: u32, links: &[Link]) -> Site {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let (user, campaign, did) = (format!("seller{n}"), format!("campaign {n}"), format!("+1800555{n:04}"));
        let mut client = database.connect();
        let mut tx = client.transaction().expect("a transaction");
        let id = |tx: &mut postgres::Transaction<'_>, sql: &str| -> i32 {
            tx.query_one(sql, &[]).unwrap_or_else(|e| panic!("{sql}: {e:?}")).get(0)
        };
        let user_id = id(
            &mut tx,
            &format!(
                "INSERT INTO users (username, email, password_hash, status)
                 VALUES ('{user}', '{user}@test.invalid', '!', 'active') RETURNING id"
            ),
        );
        let did_id =
            id(&mut tx, &format!("INSERT INTO dids (number, user_id) VALUES ('{did}', {user_id}) RETURNING id"));
        let campaign_id = id(
            &mut tx,
            &format!(
                "INSERT INTO campaigns (user_id, name, routing_strategy, dial_timeout_seconds)
                 VALUES ({user_id}, '{campaign}', '{strategy}', {dial_timeout}) RETURNING id"
            ),
        );
        id(&mut tx, &format!("INSERT INTO campaign_dids VALUES ({campaign_id}, {did_id}) RETURNING did_id"));
        let (mut clients, mut settings) = (Vec::new(), Vec::new());
        for (index, link) in links.iter().enumerate() {
            let name = format!("client{n}-{}", index + 1);
            let client_id = id(
                &mut tx,
                &format!("INSERT INTO clients (client_identifier, name) VALUES ('{name}', '{name}') RETURNING id"),
            );
            let contact = link.contact.replace(';', "^3B");
            let pjsip = format!(
                "INSERT INTO pjsip_aors (id, client_id, contact, qualify_frequency) VALUES ('{name}', {client_id}, '{contact}', 0);
                 INSERT INTO pjsip_endpoints (id, client_id, aors, context) VALUES ('{name}', {client_id}, '{name}', 'from-client')"
            );
            tx.batch_execute(&pjsip).expect("PJSIP rows");
            let total = link.total_calls_allowed.map_or("NULL".to_owned(), |n| n.to_string());
            settings.push(id(
                &mut tx,
                &format!(
                    "INSERT INTO campaign_client_settings
                         (campaign_id, client_id, max_concurrency, total_calls_allowed, forwarding_priority, weight)
                     VALUES ({campaign_id}, {client_id}, {}, {total}, {}, {}) RETURNING id",
                    link.max_concurrency, link.forwarding_priority, link.weight
                ),
            ));
            clients.push(name);
        }
        tx.commit().expect("commit");
        Site { database: database.clone(), did, user, campaign, campaign_id, clients, settings }
    }

    /// The call records of its DID, oldest first, each with these columns.
    pub fn records(&self, columns: &str) -> Vec<String> {
        self.database.query(&format!(
            "SELECT {columns} FROM call_logs l LEFT JOIN clients c ON c.id = l.client_id
             WHERE incoming_did_number = '{}' ORDER BY l.id",
            self.did
        ))
    }

    /// Waits until it has this many call records, then gives them.
    pub fn wait_for_records(&self, count: usize, columns: &str) -> Vec<String> {
        super::wait_for(&format!("{count} call records of {}", self.did), || self.records("1").len() >= count);
        self.records(columns)
    }

    /// The attempts of its campaign, oldest first, each with these columns.
    pub fn attempts(&self, columns: &str) -> Vec<String> {
        self.database
            .query(&format!("SELECT {columns} FROM call_attempts WHERE campaign_id = {} ORDER BY id", self.campaign_id))
    }

    /// How many attempts are open.
    pub fn open_attempts(&self) -> usize {
        self.attempts("released_at").iter().filter(|released| released.is_empty()).count()
    }

    /// `current_total_calls` of each link.
    pub fn counts(&self) -> Vec<i32> {
        self.settings
            .iter()
            .map(|id| {
                let sql = format!("SELECT current_total_calls FROM campaign_client_settings WHERE id = {id}");
                self.database.value(&sql).parse().expect("a number")
            })
            .collect()
    }
}
