-- A DID's campaign, or why it cannot be routed. Where the DID feeds several active campaigns, the lowest id wins.
CREATE OR REPLACE FUNCTION cc_resolve_did(
    p_did text,
    OUT reason text, OUT did_id integer, OUT user_id integer, OUT campaign_id integer, OUT campaign_name text,
    OUT routing_strategy text, OUT dial_timeout_seconds integer, OUT max_call_seconds integer
) LANGUAGE plpgsql STABLE AS $$
DECLARE
    did_status  text;
    user_status text;
BEGIN
    SELECT d.id, d.user_id, d.status, u.status INTO did_id, user_id, did_status, user_status
    FROM dids d JOIN users u ON u.id = d.user_id
    WHERE d.number = p_did;
    IF NOT FOUND THEN
        reason := 'did_not_found';
    ELSIF did_status <> 'active' THEN
        reason := 'did_inactive';
    ELSIF user_status <> 'active' THEN
        reason := 'owner_inactive';
    ELSE
        SELECT c.id, c.name, c.routing_strategy, c.dial_timeout_seconds, c.max_call_seconds
        INTO campaign_id, campaign_name, routing_strategy, dial_timeout_seconds, max_call_seconds
        FROM campaign_dids cd JOIN campaigns c ON c.id = cd.campaign_id
        WHERE cd.did_id = cc_resolve_did.did_id AND c.status = 'active'
        ORDER BY c.id LIMIT 1;
        IF NOT FOUND THEN
            reason := 'no_active_campaign_for_did';
        END IF;
    END IF;
END $$;
