//! Call records from elsewhere, written into `call_logs` without counting the calls again.

use std::collections::BTreeMap;

use postgres::GenericClient;
use serde_json::{Map, Value};

use crate::pg::Query;
use crate::{Error, Result, args};

/// An import that is going on, in one transaction.
#[derive(Default)]
pub struct History {
    added: i64,
    already_there: i64,
    /// Answered calls of each setting.
    answered: BTreeMap<i32, i64>,
}

impl History {
    /// Begins an import; others wait until the transaction ends.
    pub fn begin(tx: &mut impl GenericClient) -> Result<History> {
        tx.rows("SELECT pg_advisory_xact_lock(hashtextextended('capconduit call import', 0))", args![])?;
        Ok(History::default())
    }

    /// Writes records that are not there yet. A record has the columns of `call_logs`, and instead of
    /// their ids `username`, `campaign_name`, `client_identifier` and `with_setting`.
    pub fn add(&mut self, tx: &mut impl GenericClient, records: Vec<Map<String, Value>>) -> Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        let count = i64::try_from(records.len()).unwrap_or(i64::MAX);
        let records: Value = records.into_iter().map(Value::Object).collect();
        let rows = tx.rows(
            "WITH added AS (
                 INSERT INTO call_logs (
                     user_id, campaign_id, did_id, client_id, campaign_client_setting_id,
                     incoming_did_number, caller_id_num, caller_id_name, timestamp_start, timestamp_answered,
                     timestamp_end, duration_seconds, billsec_seconds, call_status, hangup_cause_code,
                     hangup_cause_text, asterisk_uniqueid, asterisk_linkedid, passed_over)
                 SELECT u.id, g.id, d.id, c.id, s.id,
                     r->>'incoming_did_number', r->>'caller_id_num', r->>'caller_id_name',
                     (r->>'timestamp_start')::timestamptz, (r->>'timestamp_answered')::timestamptz,
                     (r->>'timestamp_end')::timestamptz, (r->>'duration_seconds')::integer,
                     (r->>'billsec_seconds')::integer, r->>'call_status', (r->>'hangup_cause_code')::integer,
                     r->>'hangup_cause_text', r->>'asterisk_uniqueid', r->>'asterisk_linkedid', r->>'passed_over'
                 FROM jsonb_array_elements($1::text::jsonb) WITH ORDINALITY x (r, n)
                 LEFT JOIN users u ON u.username = r->>'username'
                 LEFT JOIN campaigns g ON g.user_id = u.id AND g.name = r->>'campaign_name'
                 LEFT JOIN dids d ON d.number = r->>'incoming_did_number'
                 LEFT JOIN clients c ON c.client_identifier = r->>'client_identifier'
                 LEFT JOIN campaign_client_settings s
                     ON s.campaign_id = g.id AND s.client_id = c.id AND (r->>'with_setting')::boolean
                 ORDER BY x.n
                 ON CONFLICT (asterisk_uniqueid) DO NOTHING
                 RETURNING campaign_client_setting_id, call_status
             )
             SELECT campaign_client_setting_id, count(*), count(*) FILTER (WHERE call_status = 'ANSWERED')
             FROM added GROUP BY 1",
            args![records.to_string()],
        )?;
        let mut added: i64 = 0;
        for row in &rows {
            added += row.try_get::<_, i64>(1)?;
            if let Some(setting) = row.try_get::<_, Option<i32>>(0)? {
                *self.answered.entry(setting).or_default() += row.try_get::<_, i64>(2)?;
            }
        }
        self.added += added;
        self.already_there += count - added;
        Ok(())
    }

    /// Takes the answered calls out of what the counters began with, so that the counters stay as they
    /// are and agree with the records (see 0003_counters.sql). Returns how many records were added, and
    /// how many were there already.
    ///
    /// # Errors
    /// The database's; more answered calls than a counter can hold.
    pub fn finish(self, tx: &mut impl GenericClient) -> Result<(i64, i64)> {
        let answered = self.answered.into_iter().filter(|(_, calls)| *calls > 0);
        let (settings, calls): (Vec<i32>, Vec<i64>) = answered.unzip();
        let count = settings.len();
        // in the order in which others lock several
        tx.rows(
            "WITH l AS MATERIALIZED (
                 SELECT id FROM campaign_client_settings WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE
             ) SELECT count(*) FROM l",
            args![settings],
        )?;
        let changed = tx.run(
            "UPDATE campaign_client_settings s SET total_calls_base = s.total_calls_base - x.calls
             FROM unnest($1, $2) x (id, calls) WHERE s.id = x.id",
            args![settings, calls],
        )?;
        if usize::try_from(changed).is_ok_and(|changed| changed == count) {
            return Ok((self.added, self.already_there));
        }
        Err(Error::failed(format!("database: {changed} of {count} counters were adjusted")))
    }
}
