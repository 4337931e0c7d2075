//! What must agree in the database and does not: one query per check, and how it is put right.

use postgres::{Client, IsolationLevel, Transaction};

use crate::pg::Query;
use crate::{Result, args, row};

row! {
    /// Two things that do not agree.
    pub struct Difference {
        /// Which check found it.
        pub check: String,
        /// The table of the row that is wrong.
        pub table: String,
        /// The row's key; of several columns: `1/2`.
        pub id: String,
        /// What is wrong and what to do about it.
        pub message: String,
        /// What would be right.
        pub expected: Option<String>,
        /// What is there.
        pub found: Option<String>,
        /// It can be put right without losing anything.
        pub repairable: bool,
        /// It has been put right.
        pub repaired: bool,
    }
}

struct Check {
    name: &'static str,
    table: &'static str,
    /// Gives id, message, expected, found, repairable.
    sql: &'static str,
    /// Each with the ids as $1. They look again: what has come right by itself since is left alone.
    repair: &'static [&'static str],
}

// In the order in which cc_route and cc_log_call lock rows (attempts, turns, settings), so that a
// repair and a call never wait for each other.
const CHECKS: [Check; 9] = [
    // The server that has the call renews its lease within minutes, where it is up (call reap).
    Check {
        name: "attempt_expired",
        table: "call_attempts",
        sql: "SELECT a.id::text AS id, format('call %s: the attempt is open, but its lease is over', a.asterisk_uniqueid) AS message,
                  'released' AS expected, 'open' AS found, true AS repairable
              FROM call_attempts a
              WHERE a.released_at IS NULL AND a.lease_expires_at <= now() - interval '15 minutes'
                AND NOT EXISTS (SELECT FROM call_logs l WHERE l.asterisk_uniqueid = a.asterisk_uniqueid
                                AND l.created_at < now() - interval '60 s')
              ORDER BY a.id",
        repair: &["UPDATE call_attempts SET released_at = clock_timestamp(), release_reason = 'expired', count_pending = true
                   WHERE id = ANY ($1::text[]::bigint[]) AND released_at IS NULL"],
    },
    // The HTTP back end commits the record a moment before the logger releases the claim: hence the
    // minute. Where records are written here, both are one transaction.
    Check {
        name: "attempt_open_after_record",
        table: "call_attempts",
        sql: "SELECT a.id::text AS id, format('call %s: the attempt is open, but the call has a record', a.asterisk_uniqueid) AS message,
                  'released' AS expected, 'open' AS found, true AS repairable
              FROM call_attempts a
              WHERE a.released_at IS NULL
                AND EXISTS (SELECT FROM call_logs l WHERE l.asterisk_uniqueid = a.asterisk_uniqueid
                            AND l.created_at < now() - interval '60 s')
              ORDER BY a.id",
        repair: &["UPDATE call_attempts SET released_at = clock_timestamp(), release_reason = 'hangup'
                   WHERE id = ANY ($1::text[]::bigint[]) AND released_at IS NULL"],
    },
    Check {
        name: "attempt_pending_after_record",
        table: "call_attempts",
        sql: "SELECT a.id::text AS id, format('call %s: waits to be counted, but the call has a record', a.asterisk_uniqueid) AS message,
                  'counted' AS expected, 'count_pending' AS found, true AS repairable
              FROM call_attempts a
              WHERE a.count_pending
                AND EXISTS (SELECT FROM call_logs l WHERE l.asterisk_uniqueid = a.asterisk_uniqueid
                            AND l.created_at < now() - interval '60 s')
              ORDER BY a.id",
        repair: &["UPDATE call_attempts SET count_pending = false WHERE id = ANY ($1::text[]::bigint[]) AND count_pending"],
    },
    // A record that is spooled leaves a row in call_endings, which `call reap` forgets after a day.
    // Older than the oldest record there is nothing to compare with: old records are removed, and
    // where the back end keeps them elsewhere there are none. The minutes are what a call's own
    // transaction takes.
    Check {
        name: "answer_without_record",
        table: "call_attempts",
        sql: "SELECT a.id::text AS id, format('call %s was answered and has no record: look in the spool on %s (capconduit call replay)',
                      a.asterisk_uniqueid, coalesce(nullif(a.system_name, ''), 'its Asterisk server')) AS message,
                  'a call record' AS expected, 'none' AS found, false AS repairable
              FROM call_attempts a
              WHERE a.released_at < now() - interval '60 s' AND a.dial_status = 'ANSWER'
                AND a.released_at > (SELECT min(l.created_at) FROM call_logs l) + interval '60 s'
                AND NOT EXISTS (SELECT FROM call_logs l WHERE l.asterisk_uniqueid = a.asterisk_uniqueid)
                AND NOT EXISTS (SELECT FROM call_endings e WHERE e.asterisk_uniqueid = a.asterisk_uniqueid)
              ORDER BY a.id",
        repair: &[],
    },
    Check {
        name: "attempt_orphaned",
        table: "call_attempts",
        sql: "SELECT a.id::text AS id,
                  format('call %s is with a %s that has been removed: the attempt ends by itself, with the call or its lease',
                         a.asterisk_uniqueid,
                         CASE WHEN g.id IS NULL THEN 'campaign' WHEN c.id IS NULL THEN 'client' ELSE 'setting' END) AS message,
                  CASE WHEN g.id IS NULL THEN format('campaign %s', a.campaign_id)
                       WHEN c.id IS NULL THEN format('client %s', a.client_id)
                       ELSE format('setting %s', a.campaign_client_setting_id) END AS expected,
                  'none' AS found, false AS repairable
              FROM call_attempts a
              LEFT JOIN campaigns g ON g.id = a.campaign_id
              LEFT JOIN clients c ON c.id = a.client_id
              LEFT JOIN campaign_client_settings s ON s.id = a.campaign_client_setting_id
              WHERE a.released_at IS NULL AND (g.id IS NULL OR c.id IS NULL OR s.id IS NULL)
                -- those are closed by the checks above
                AND a.lease_expires_at > now()
                AND NOT EXISTS (SELECT FROM call_logs l WHERE l.asterisk_uniqueid = a.asterisk_uniqueid
                                AND l.created_at < now() - interval '60 s')
              ORDER BY a.id",
        repair: &[],
    },
    Check {
        name: "did_of_another_owner",
        table: "campaign_dids",
        sql: "SELECT format('%s/%s', cd.campaign_id, cd.did_id) AS id,
                  format('campaign %s of %s has DID %s of %s: its calls are recorded as %s''s. Remove the DID from the campaign, or give it to the campaign''s owner',
                         g.id, gu.username, d.number, du.username, du.username) AS message,
                  gu.username::text AS expected, du.username::text AS found, false AS repairable
              FROM campaign_dids cd
              JOIN campaigns g ON g.id = cd.campaign_id JOIN users gu ON gu.id = g.user_id
              JOIN dids d ON d.id = cd.did_id JOIN users du ON du.id = d.user_id
              WHERE g.user_id <> d.user_id
              ORDER BY cd.campaign_id, cd.did_id",
        repair: &[],
    },
    Check {
        name: "endpoint_names_nothing",
        table: "pjsip_endpoints",
        sql: "SELECT e.id::text AS id, format('endpoint %s: %s %s does not exist', e.id, n.what, n.name) AS message,
                  n.what || ' ' || n.name AS expected, 'none' AS found, false AS repairable
              FROM pjsip_endpoints e, LATERAL (
                  SELECT 'AOR' AS what, a.name FROM unnest(string_to_array(e.aors, ',')) a (name)
                  WHERE a.name <> '' AND NOT EXISTS (SELECT FROM pjsip_aors p WHERE p.id = a.name)
                  UNION ALL
                  SELECT 'auth', o.name FROM (VALUES (e.auth::text), (e.outbound_auth)) o (name)
                  WHERE o.name <> '' AND NOT EXISTS (SELECT FROM pjsip_auths p WHERE p.id = o.name)
              ) n
              ORDER BY e.id, n.what, n.name",
        repair: &[],
    },
    Check {
        name: "turns_orphaned",
        table: "routing_turns",
        sql: "SELECT format('%s/%s', t.campaign_id, t.tier) AS id,
                  format('the turns of campaign %s, which has been removed', t.campaign_id) AS message,
                  format('campaign %s', t.campaign_id) AS expected, 'none' AS found, true AS repairable
              FROM routing_turns t
              WHERE NOT EXISTS (SELECT FROM campaigns g WHERE g.id = t.campaign_id)
              ORDER BY t.campaign_id, t.tier",
        repair: &["DELETE FROM routing_turns t WHERE format('%s/%s', t.campaign_id, t.tier) = ANY ($1)
                   AND NOT EXISTS (SELECT FROM campaigns g WHERE g.id = t.campaign_id)"],
    },
    // Below zero no counter can be: records were changed or moved, and somebody must say what is true.
    Check {
        name: "counter",
        table: "campaign_client_settings",
        sql: "SELECT s.id::text AS id,
                  format('client %s in campaign %s: current_total_calls is not base (%s) + answered call records (%s)%s',
                         c.client_identifier, g.name, s.total_calls_base, n.answered,
                         CASE WHEN n.total < 0 THEN '. Records were changed; say what is right with setting set --current-total-calls'
                         ELSE '' END) AS message,
                  n.total::text AS expected, s.current_total_calls::text AS found,
                  n.total BETWEEN 0 AND 2147483647 AS repairable
              FROM campaign_client_settings s
              JOIN clients c ON c.id = s.client_id
              JOIN campaigns g ON g.id = s.campaign_id
              LEFT JOIN (SELECT campaign_client_setting_id, count(*) AS answered FROM call_logs
                         WHERE call_status = 'ANSWERED' GROUP BY 1) l ON l.campaign_client_setting_id = s.id,
              LATERAL (SELECT coalesce(l.answered, 0) AS answered, s.total_calls_base + coalesce(l.answered, 0) AS total) n
              WHERE s.current_total_calls <> n.total
              ORDER BY s.id",
        // The rows are locked before a statement of its own counts: a call that is being logged is in
        // both sides of the sum, or will add itself to both.
        repair: &[
            "WITH locked AS MATERIALIZED (
                 SELECT id FROM campaign_client_settings WHERE id = ANY ($1::text[]::integer[]) ORDER BY id FOR NO KEY UPDATE
             ) SELECT count(*) FROM locked",
            "UPDATE campaign_client_settings s SET current_total_calls = n.total, updated_at = now()
             FROM (SELECT o.id, o.total_calls_base + (
                       SELECT count(*) FROM call_logs l
                       WHERE l.campaign_client_setting_id = o.id AND l.call_status = 'ANSWERED') AS total
                   FROM campaign_client_settings o WHERE o.id = ANY ($1::text[]::integer[])) n
             WHERE s.id = n.id AND s.current_total_calls <> n.total AND n.total >= 0",
        ],
    },
];

/// Everything that does not agree; with `repair`, what can safely be put right has been, in one
/// transaction, which `introduce` tells the audit of.
///
/// # Errors
/// The database's; nothing was repaired then.
pub fn verify(
    client: &mut Client,
    repair: bool,
    introduce: impl FnOnce(&mut Transaction<'_>) -> Result<()>,
) -> Result<Vec<Difference>> {
    // each statement must see what has been committed before it, whatever the database's default is
    let mut tx = client.build_transaction().isolation_level(IsolationLevel::ReadCommitted).start()?;
    if repair {
        // Of this transaction only: through PgBouncer the session is others' afterwards. Calls wait
        // for what is locked here, so this must not wait long for anything itself.
        tx.batch_execute("SET LOCAL capconduit.repair = 'on'; SET LOCAL lock_timeout = '1s'")?;
        introduce(&mut tx)?;
    }
    let mut all = Vec::new();
    for check in &CHECKS {
        let sql = format!(
            "SELECT '{}' AS \"check\", '{}' AS \"table\", f.*, false AS repaired FROM ({}) f",
            check.name, check.table, check.sql
        );
        let mut found: Vec<Difference> = crate::pg::all(&tx.rows(&sql, args![])?)?;
        let ids: Vec<String> = found.iter().filter(|d| d.repairable).map(|d| d.id.clone()).collect();
        if repair && !ids.is_empty() {
            for statement in check.repair {
                tx.rows(statement, args![ids])?;
            }
            found.iter_mut().filter(|d| d.repairable).for_each(|d| d.repaired = true);
        }
        all.append(&mut found);
    }
    tx.commit()?;
    Ok(all)
}
