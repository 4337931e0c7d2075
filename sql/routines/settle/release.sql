SELECT cc_drop('cc_release_call');

-- Releases a call's claim and lets nothing more be claimed for it. p_count_pending: the call was answered, but is not
-- known to be counted yet. p_did, p_call_start: as cc_route was told them. Returns how many claims were open.
CREATE OR REPLACE FUNCTION cc_release_call(
    p_uniqueid text, p_dial_status text, p_cause_code integer, p_count_pending boolean,
    p_did text DEFAULT NULL, p_call_start timestamptz DEFAULT NULL)
RETURNS integer LANGUAGE plpgsql VOLATILE
SET lock_timeout = '2s'
AS $$
DECLARE
    released integer;
    call_id  text;
BEGIN
    PERFORM pg_advisory_xact_lock(cc_call_lock(p_uniqueid));
    call_id := cc_call_id(p_uniqueid, p_did, p_call_start);
    INSERT INTO call_endings (asterisk_uniqueid, call_started_at) VALUES (call_id, p_call_start) ON CONFLICT DO NOTHING;
    UPDATE call_attempts a
    SET released_at = clock_timestamp(), release_reason = 'hangup',
        dial_status = p_dial_status, hangup_cause_code = p_cause_code
    WHERE a.asterisk_uniqueid = call_id AND a.released_at IS NULL;
    GET DIAGNOSTICS released = ROW_COUNT;
    -- the last attempt is the one that was answered
    UPDATE call_attempts a SET count_pending = p_count_pending
    WHERE a.id = (SELECT max(l.id) FROM call_attempts l WHERE l.asterisk_uniqueid = call_id)
      AND a.count_pending <> p_count_pending;
    RETURN released;
END $$;
SELECT cc_as_owner('cc_release_call');
