-- cc_log_call writes the call record once, releases the claim and counts the call in the same transaction, however
-- often the logger runs for one call.

SELECT cc_drop('cc_log_call');

-- Times are UTC; p_answered is the client's answer, null when no client answered; seconds are whole.
-- p_setting_id: the call's link according to the channel; the ledger's last attempt takes precedence. p_passed_over:
-- what cc_route said of the rejection. p_call_start: when the call came in, as cc_route was told; null: not known.
-- already_logged: the record was there before.
CREATE OR REPLACE FUNCTION cc_log_call(
    p_did text, p_caller_id_num text, p_caller_id_name text,
    p_start timestamptz, p_answered timestamptz, p_end timestamptz, p_duration integer, p_billsec integer,
    p_call_status text, p_cause_code integer, p_cause_text text,
    p_uniqueid text, p_linkedid text, p_dial_status text, p_setting_id integer,
    p_passed_over text DEFAULT NULL, p_call_start timestamptz DEFAULT NULL,
    OUT call_log_id bigint, OUT already_logged boolean
) LANGUAGE plpgsql VOLATILE
-- Longer than any claim takes. Where an administrator's open transaction holds the link for longer,
-- the record is spooled and the claim released by cc_release_call.
SET lock_timeout = '2s'
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
    link    record;
    settled record;
    call_id text;
BEGIN
    PERFORM cc_require_read_committed();
    PERFORM pg_advisory_xact_lock(cc_call_lock(p_uniqueid));
    call_id := cc_call_id(p_uniqueid, p_did, p_call_start);

    UPDATE call_attempts a
    SET released_at = coalesce(a.released_at, clock_timestamp()),
        release_reason = coalesce(a.release_reason, 'hangup'),
        dial_status = CASE WHEN a.released_at IS NULL THEN p_dial_status ELSE a.dial_status END,
        hangup_cause_code = CASE WHEN a.released_at IS NULL THEN p_cause_code ELSE a.hangup_cause_code END,
        count_pending = false
    WHERE a.asterisk_uniqueid = call_id AND (a.released_at IS NULL OR a.count_pending);

    SELECT l.id INTO call_log_id FROM call_logs l WHERE l.asterisk_uniqueid = call_id;
    already_logged := FOUND;
    IF already_logged THEN
        -- The real record replaces what a person decided, on both sides of the count: the removal moves the base, the
        -- correction moves it back.
        UPDATE call_attempts a SET release_reason = 'hangup', dial_status = p_dial_status, hangup_cause_code = p_cause_code
        WHERE a.asterisk_uniqueid = call_id AND a.release_reason = 'settled';
        already_logged := NOT FOUND;
        IF already_logged THEN
            RETURN;
        END IF;
        DELETE FROM call_logs l WHERE l.id = call_log_id
        RETURNING l.call_status, l.campaign_client_setting_id INTO settled;
        IF settled.call_status = 'ANSWERED' THEN
            UPDATE campaign_client_settings s SET current_total_calls = s.current_total_calls - 1
            WHERE s.id = settled.campaign_client_setting_id AND s.current_total_calls > 0;
        END IF;
    END IF;

    -- The ledger knows what the call was routed by, whatever has been changed since. A rejected call has no client in
    -- its record; its attempts name the clients that it tried.
    SELECT a.user_id, a.did_id, a.campaign_id, a.client_id, a.campaign_client_setting_id AS setting_id
    INTO link FROM call_attempts a WHERE a.asterisk_uniqueid = call_id
    ORDER BY a.attempt_number DESC LIMIT 1;
    IF NOT FOUND THEN
        SELECT r.user_id, r.did_id, r.campaign_id, s.client_id, s.id AS setting_id
        INTO link FROM cc_resolve_did(p_did) r
        LEFT JOIN campaign_client_settings s ON s.id = p_setting_id AND s.campaign_id = r.campaign_id;
    END IF;
    IF p_call_status LIKE 'REJECTED%' THEN
        link.client_id := NULL;
        link.setting_id := NULL;
    END IF;

    -- What was removed while the call was up is recorded as null. Locked in the order in which
    -- removals cascade, so that the two never wait for each other.
    PERFORM FROM users WHERE id = link.user_id FOR KEY SHARE;
    IF NOT FOUND THEN link.user_id := NULL; END IF;
    PERFORM FROM clients WHERE id = link.client_id FOR KEY SHARE;
    IF NOT FOUND THEN link.client_id := NULL; END IF;
    PERFORM FROM dids WHERE id = link.did_id FOR KEY SHARE;
    IF NOT FOUND THEN link.did_id := NULL; END IF;
    PERFORM FROM campaigns WHERE id = link.campaign_id FOR KEY SHARE;
    IF NOT FOUND THEN link.campaign_id := NULL; END IF;
    PERFORM FROM campaign_client_settings WHERE id = link.setting_id FOR KEY SHARE;
    IF NOT FOUND THEN link.setting_id := NULL; END IF;

    INSERT INTO call_logs (
        user_id, campaign_id, did_id, client_id, campaign_client_setting_id,
        incoming_did_number, caller_id_num, caller_id_name, timestamp_start, timestamp_answered, timestamp_end,
        duration_seconds, billsec_seconds, call_status, hangup_cause_code, hangup_cause_text,
        asterisk_uniqueid, asterisk_linkedid, passed_over)
    VALUES (
        link.user_id, link.campaign_id, link.did_id, link.client_id, link.setting_id,
        p_did, p_caller_id_num, p_caller_id_name, p_start, p_answered, p_end,
        p_duration, p_billsec, p_call_status, p_cause_code, p_cause_text,
        call_id, p_linkedid, p_passed_over)
    RETURNING id INTO call_log_id;

    IF p_call_status = 'ANSWERED' THEN
        UPDATE campaign_client_settings s SET current_total_calls = s.current_total_calls + 1
        WHERE s.id = link.setting_id;
    END IF;
END $$;
SELECT cc_as_owner('cc_log_call');
