-- A link as a claim sees it. Running claims hold the type: add columns only at its end.
DO $$
DECLARE
    columns constant text[] := ARRAY[
        'tier integer',  -- lower tiers are tried first
        'setting_id integer',
        'client_id integer',
        'client_identifier text',
        'reason text',  -- null when eligible
        'weight integer',
        'live_calls integer',  -- attempts in flight
        'uncounted_calls integer',  -- over, but not or not yet known to be in current_total_calls
        'max_concurrency integer',
        'current_total_calls integer',
        'total_calls_allowed integer',  -- null: unlimited
        -- by cc_turns; of the eligible links of a tier, the one with the lowest (lap, deadline, setting_id) is next
        'lap integer',
        'deadline numeric',
        -- calls owed once this call has been shared out (before it is given to one link)
        'owed_after numeric'];
    c text;
BEGIN
    IF to_regtype('cc_candidate') IS NULL THEN
        CREATE TYPE cc_candidate AS ();
    END IF;
    FOREACH c IN ARRAY columns LOOP
        IF NOT EXISTS (SELECT FROM pg_attribute
                       WHERE attrelid = 'cc_candidate'::regclass AND attname = split_part(c, ' ', 1)) THEN
            EXECUTE 'ALTER TYPE cc_candidate ADD ATTRIBUTE ' || c;
        END IF;
    END LOOP;
END $$;

-- All links. p_strategy: how tiers are made; p_tried: the links that this call has tried. The planner inlines it.
--
-- A session plans its first look while a caller waits: hence joins in a fixed order, by keys. What only links that take
-- turns need is in cc_turns.
CREATE OR REPLACE FUNCTION cc_look(p_strategy text, p_tried integer[], p_at timestamptz)
RETURNS TABLE (campaign_id integer, link cc_candidate)
LANGUAGE sql STABLE AS $$
    SELECT s.campaign_id, ROW(
        CASE p_strategy WHEN 'priority' THEN s.forwarding_priority ELSE 0 END,
        s.id, s.client_id, c.client_identifier,
        CASE
            WHEN s.status <> 'active' THEN 'setting_inactive'
            WHEN c.status <> 'active' THEN 'client_inactive'
            -- the identifier becomes a dial string
            WHEN c.client_identifier !~ '^[A-Za-z0-9_-]{1,40}$' THEN 'client_identifier_invalid'
            WHEN e.id IS NULL THEN 'no_endpoint'
            -- the join finds a single AOR; only a list of AORs is looked up
            WHEN (o.contact = '') IS NOT FALSE
                 AND (e.aors NOT LIKE '%,%' OR NOT EXISTS (
                     SELECT FROM pjsip_aors a WHERE a.id = ANY (string_to_array(e.aors, ',')) AND a.contact <> ''))
                THEN 'no_contact'
            WHEN s.id = ANY (p_tried) THEN 'already_tried'
            WHEN s.current_total_calls >= s.total_calls_allowed THEN 'total_cap'
            WHEN l.calls >= s.max_concurrency THEN 'concurrency_cap'
            -- each call in flight may become a counted one
            WHEN s.current_total_calls::bigint + l.calls + l.uncounted >= s.total_calls_allowed THEN 'total_cap'
        END,
        s.weight, l.calls, l.uncounted, s.max_concurrency, s.current_total_calls, s.total_calls_allowed,
        NULL, NULL, NULL)::cc_candidate
    FROM campaign_client_settings s
    JOIN clients c ON c.id = s.client_id
    LEFT JOIN pjsip_endpoints e ON e.id = c.client_identifier AND e.client_id = c.id
    LEFT JOIN pjsip_aors o ON o.id = coalesce(nullif(e.aors, ''), e.id)
    -- by client, not by link: a link that is removed and added again starts with its calls in flight
    CROSS JOIN LATERAL (
        SELECT (count(*) FILTER (WHERE cc_in_flight(a.released_at, a.lease_expires_at, p_at)))::integer AS calls,
               -- the end of a lease frees a place among calls at once; only the call's outcome frees one in the total
               (count(*) FILTER (WHERE a.count_pending OR a.lease_expires_at <= p_at))::integer AS uncounted
        FROM call_attempts a
        WHERE a.campaign_id = s.campaign_id AND a.client_id = s.client_id
          AND (a.released_at IS NULL OR a.count_pending)) l
$$;

-- The links of a campaign, by tier and id.
CREATE OR REPLACE FUNCTION cc_links(p_campaign_id integer, p_strategy text, p_tried integer[], p_at timestamptz)
RETURNS cc_candidate[]
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN ARRAY(SELECT l.link FROM cc_look(p_strategy, p_tried, p_at) l WHERE l.campaign_id = p_campaign_id
                 ORDER BY (l.link).tier, (l.link).setting_id);
END $$;
