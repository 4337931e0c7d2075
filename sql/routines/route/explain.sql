-- What cc_route would decide for a new call, with every candidate in the order it would be tried.
-- One JSON object: status, reason, call_status, hangup_cause, the DID's campaign, candidates.
CREATE OR REPLACE FUNCTION cc_explain(p_did text) RETURNS json
LANGUAGE plpgsql STABLE AS $$
DECLARE
    target     record;
    rejection  record;
    candidates cc_candidate[];
BEGIN
    -- a seller is told of his own DIDs only
    IF NOT cc_is_seller()
        OR EXISTS (SELECT FROM dids d WHERE d.number = p_did AND d.user_id = cc_seller_user_id()) THEN
        SELECT * INTO target FROM cc_resolve_did(p_did);
    ELSE
        SELECT * INTO target FROM cc_resolve_did(NULL);
    END IF;
    IF target.reason IS NULL THEN
        candidates := cc_links(target.campaign_id, target.routing_strategy, NULL, clock_timestamp());
        SELECT array_agg(t) INTO candidates
        FROM (SELECT array_agg(c ORDER BY c.setting_id) AS links FROM unnest(candidates) c GROUP BY c.tier) g,
             unnest(cc_turns(g.links, target.campaign_id, target.routing_strategy, NULL)) t;
    END IF;
    IF EXISTS (SELECT FROM unnest(candidates) c WHERE c.reason IS NULL) THEN
        SELECT NULL::text AS reason, NULL::text AS call_status, NULL::integer AS hangup_cause INTO rejection;
    ELSE
        SELECT * INTO rejection FROM cc_rejection(target.reason, candidates, NULL);
    END IF;
    RETURN json_build_object(
        'did', p_did,
        'status', CASE WHEN rejection.reason IS NULL THEN 'proceed' ELSE 'reject' END,
        'reason', rejection.reason,
        'call_status', rejection.call_status,
        'hangup_cause', rejection.hangup_cause,
        'did_id', target.did_id,
        'user_id', target.user_id,
        'campaign_id', target.campaign_id,
        'campaign_name', target.campaign_name,
        'routing_strategy', target.routing_strategy,
        'dial_timeout_seconds', target.dial_timeout_seconds,
        'max_call_seconds', target.max_call_seconds,
        'candidates', coalesce((
            SELECT json_agg(json_build_object(
                'try_order', c.try_order,
                'setting_id', c.setting_id,
                'client_identifier', c.client_identifier,
                'eligible', c.reason IS NULL,
                'reason', c.reason,
                'forwarding_priority', s.forwarding_priority,
                'weight', c.weight,
                'live_calls', c.live_calls,
                'uncounted_calls', c.uncounted_calls,
                'max_concurrency', c.max_concurrency,
                'current_total_calls', c.current_total_calls,
                'total_calls_allowed', c.total_calls_allowed) ORDER BY c.try_order, c.tier, c.setting_id)
            FROM (SELECT *, CASE WHEN u.reason IS NULL THEN row_number() OVER (
                      PARTITION BY u.reason IS NULL ORDER BY u.tier, u.lap, u.deadline, u.setting_id) END AS try_order
                  FROM unnest(candidates) u) c
            JOIN campaign_client_settings s ON s.id = c.setting_id), '[]'::json));
END $$;
SELECT cc_as_owner('cc_explain');
