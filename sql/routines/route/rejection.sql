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
        reason := p_did_reason;
        call_status := 'REJECTED_' || upper(reason);
        hangup_cause := CASE reason WHEN 'owner_inactive' THEN 21
                                    WHEN 'no_active_campaign_for_did' THEN 20
                                    ELSE 1 END;
        RETURN;
    END IF;
    SELECT coalesce(array_agg(DISTINCT c.reason), '{}') INTO reasons FROM unnest(p_candidates) c;
    IF reasons <@ ARRAY['setting_inactive', 'client_inactive'] THEN
        reason := 'no_active_clients_in_campaign';
    ELSE
        reason := 'no_eligible_clients_available';
    END IF;
    IF 'concurrency_cap' = ANY (reasons) THEN
        call_status := 'REJECTED_CC';
        hangup_cause := 34;
    ELSIF 'total_cap' = ANY (reasons) THEN
        call_status := 'REJECTED_TOTAL';
        hangup_cause := 34;
    ELSIF 'already_tried' = ANY (reasons) THEN
        -- every client was asked: the call ends as the last one ended
        call_status := CASE WHEN p_dial_status IN ('BUSY', 'NOANSWER') THEN p_dial_status ELSE 'FAILED' END;
        hangup_cause := CASE p_dial_status WHEN 'BUSY' THEN 17 WHEN 'NOANSWER' THEN 19 ELSE 34 END;
    ELSE
        call_status := 'REJECTED_NO_CLIENTS';
        hangup_cause := 20;
    END IF;
END $$;
