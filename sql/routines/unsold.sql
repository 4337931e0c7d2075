-- cc_unsold: the active DIDs whose calls are rejected, whatever the hour: of this seller, into this campaign; null: all.
-- A campaign is looked at as a claim does (cc_links). A link whose cap is reached passes where calls in flight fill it.
CREATE OR REPLACE FUNCTION cc_unsold(p_user_id integer DEFAULT NULL, p_campaign_id integer DEFAULT NULL)
RETURNS TABLE (number text, reason text, username text, user_status text,
               campaign_id integer, campaign_name text, campaign_status text)
LANGUAGE sql STABLE AS $$
    -- a seller is told of what is his
    WITH seller AS MATERIALIZED (
        SELECT cc_seller_user_id() AS id WHERE cc_is_seller()
    ), fed AS (
        -- the campaign that gets the calls, else one that would
        SELECT DISTINCT ON (cd.did_id) cd.did_id, g.id, g.name, g.status
        FROM campaign_dids cd JOIN campaigns g ON g.id = cd.campaign_id
        WHERE NOT EXISTS (SELECT FROM seller) OR g.user_id = (SELECT id FROM seller)
        ORDER BY cd.did_id, g.status <> 'active', g.id
    ), number AS (
        SELECT d.number, u.username, u.status AS user_status, g.id, g.name, g.status
        FROM dids d JOIN users u ON u.id = d.user_id LEFT JOIN fed g ON g.did_id = d.id
        WHERE d.status = 'active' AND (NOT EXISTS (SELECT FROM seller) OR d.user_id = (SELECT id FROM seller))
          AND (p_user_id IS NULL OR d.user_id = p_user_id) AND (p_campaign_id IS NULL OR g.id = p_campaign_id)
    ), sold AS MATERIALIZED (
        SELECT c.id
        FROM (SELECT DISTINCT n.id FROM number n WHERE n.user_status = 'active' AND n.status = 'active') c
        WHERE EXISTS (
            SELECT FROM unnest(cc_links(c.id, '', NULL, now())) l
            WHERE l.reason IS NULL OR l.reason IN (SELECT r.code FROM cc_reasons() r WHERE r.passes)
               -- calls in flight fill the total, and may end without being counted
               OR l.reason = 'total_cap' AND l.current_total_calls < l.total_calls_allowed)
    )
    SELECT n.number, r.reason, n.username, n.user_status, r.campaign_id, r.campaign_name, r.campaign_status
    FROM number n,
    -- with a seller who is not active, no campaign matters
    LATERAL (SELECT 'owner_inactive' AS reason, NULL::integer AS campaign_id, NULL AS campaign_name, NULL AS campaign_status
             WHERE n.user_status <> 'active'
             UNION ALL
             SELECT CASE WHEN n.id IS NULL THEN 'no_campaign' WHEN n.status <> 'active' THEN 'campaign_inactive'
                         ELSE 'no_clients' END, n.id, n.name, n.status
             WHERE n.user_status = 'active' AND NOT EXISTS (SELECT FROM sold s WHERE s.id = n.id)) r
$$;
SELECT cc_as_owner('cc_unsold');
