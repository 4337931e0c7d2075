-- Writes the record of a lost call: it has attempts but no record, and its last attempt holds no place among calls at
-- once. Its end was not seen, or was not delivered. p_billsec: null if unknown. p_by: the person. If the real record
-- arrives after all, it replaces this one.
CREATE OR REPLACE FUNCTION cc_settle_call(
    p_call_id text, p_answered boolean, p_billsec integer, p_by text,
    OUT outcome text, OUT call_log_id bigint
) LANGUAGE plpgsql VOLATILE
SET lock_timeout = '2s'
AS $$
DECLARE
    attempt record;
    ended   timestamptz;
BEGIN
    PERFORM pg_advisory_xact_lock(cc_call_lock(p_call_id));
    SELECT a.* INTO attempt FROM call_attempts a
    WHERE a.asterisk_uniqueid = p_call_id ORDER BY a.attempt_number DESC LIMIT 1;
    outcome := CASE
        WHEN NOT FOUND THEN 'unknown'
        WHEN EXISTS (SELECT FROM call_logs l WHERE l.asterisk_uniqueid = p_call_id) THEN 'recorded'
        WHEN attempt.released_at IS NULL AND attempt.lease_expires_at > clock_timestamp() THEN 'live'
        WHEN attempt.release_reason = 'failover' THEN 'live'
        ELSE 'settled' END;
    IF outcome <> 'settled' THEN
        RETURN;
    END IF;
    -- All times are by the database's clock: the start by Asterisk's clock may lie before or after them.
    ended := attempt.released_at;
    SELECT l.call_log_id INTO call_log_id FROM cc_log_call(
        attempt.incoming_did_number, attempt.caller_id_num, attempt.caller_id_name,
        attempt.claimed_at,
        CASE WHEN p_answered THEN greatest(ended - make_interval(secs => p_billsec), attempt.claimed_at) END, ended,
        greatest(extract(epoch FROM ended - attempt.claimed_at), 0)::integer,
        CASE WHEN p_answered THEN p_billsec ELSE 0 END,
        CASE WHEN p_answered THEN 'ANSWERED' ELSE 'FAILED' END, NULL, left('settled by ' || p_by, 50),
        p_call_id, attempt.asterisk_linkedid, attempt.dial_status, attempt.campaign_client_setting_id) l;
    UPDATE call_attempts a SET release_reason = 'settled' WHERE a.id = attempt.id;
END $$;
SELECT cc_as_owner('cc_settle_call');
