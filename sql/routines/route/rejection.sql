-- What a rejection means for the call: its status in the record and the Q.850 cause towards the
-- carrier (Asterisk answers 1 with 404, 17 with 486, 19 and 20 with 480, 21 with 403, 34 with 503).
-- p_did_reason: from cc_resolve_did, or null; p_dial_status: how the last attempt ended, or null.
CREATE OR REPLACE FUNCTION cc_rejection(
    p_did_reason text, p_candidates cc_candidate[], p_dial_status text,
    OUT reason text, OUT call_status text, OUT hangup_cause integer
) LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    reasons text[];
BEGIN
    IF p_did_reason IS NOT NULL THEN
        SELECT r.code, r.call_status, r.hangup_cause INTO reason, call_status, hangup_cause
        FROM cc_reasons() r WHERE r.code = p_did_reason;
        RETURN;
    END IF;
    SELECT coalesce(array_agg(DISTINCT c.reason), '{}') INTO reasons FROM unnest(p_candidates) c;
    reason := CASE WHEN reasons <@ ARRAY['setting_inactive', 'client_inactive'] THEN 'no_active_clients_in_campaign'
                   ELSE 'no_eligible_clients_available' END;
    -- a campaign without links has the last row
    SELECT r.call_status, r.hangup_cause INTO call_status, hangup_cause
    FROM cc_reasons() WITH ORDINALITY r (code, about, call_status, hangup_cause, passes, words, place)
    WHERE r.about = 'link' AND r.code = ANY (reasons) OR r.code = 'no_active_clients_in_campaign'
    ORDER BY r.place LIMIT 1;
    -- every client was asked: the call ends as the last attempt ended
    IF call_status IS NULL THEN
        call_status := CASE WHEN p_dial_status IN ('BUSY', 'NOANSWER') THEN p_dial_status ELSE 'FAILED' END;
        hangup_cause := CASE p_dial_status WHEN 'BUSY' THEN 17 WHEN 'NOANSWER' THEN 19 ELSE 34 END;
    END IF;
END $$;
