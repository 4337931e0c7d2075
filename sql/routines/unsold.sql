-- cc_unsold: active DIDs whose calls are rejected at any hour, of this seller and into this campaign; null: all. It
-- judges campaigns as a claim does (cc_look). A link at a cap counts as sold where calls in flight fill the cap.
CREATE OR REPLACE FUNCTION cc_unsold(p_user_id integer DEFAULT NULL, p_campaign_id integer DEFAULT NULL)
RETURNS TABLE (number text, reason text, username text, user_status text,
               campaign_id integer, campaign_name text, campaign_status text)
LANGUAGE sql STABLE AS $$
    -- a seller is told of his own DIDs
    WITH seller AS MATERIALIZED (
        SELECT cc_seller_user_id() AS id WHERE cc_is_seller()
    ), fed AS (
        -- the campaign that gets the calls, else one that would
        SELECT DISTINCT ON (cd.did_id) cd.did_id, g.id, g.status
        FROM campaign_dids cd JOIN campaigns g ON g.id = cd.campaign_id
        WHERE NOT EXISTS (SELECT FROM seller) OR g.user_id = (SELECT id FROM seller)
        ORDER BY cd.did_id, g.status <> 'active', g.id
    ), number AS (
        SELECT d.number, u.username, u.status AS user_status, f.id, f.status
        FROM dids d JOIN users u ON u.id = d.user_id LEFT JOIN fed f ON f.did_id = d.id
        WHERE d.status = 'active' AND (NOT EXISTS (SELECT FROM seller) OR d.user_id = (SELECT id FROM seller))
          AND (p_user_id IS NULL OR d.user_id = p_user_id) AND (p_campaign_id IS NULL OR f.id = p_campaign_id)
    ), link AS MATERIALIZED (
        SELECT l.campaign_id, (l.link).*
        FROM cc_look('', NULL, now()) l
        WHERE l.campaign_id IN (SELECT n.id FROM number n WHERE n.user_status = 'active' AND n.status = 'active')
    ), sold AS (
        SELECT l.campaign_id FROM link l
        WHERE l.reason IS NULL OR l.reason IN (SELECT r.code FROM cc_reasons() r WHERE r.passes)
           -- calls in flight fill the total, and may end without being counted
           OR l.reason = 'total_cap' AND l.current_total_calls < l.total_calls_allowed
    )
    SELECT n.number,
           CASE WHEN n.user_status <> 'active' THEN 'owner_inactive' WHEN g.id IS NULL THEN 'no_campaign'
                WHEN g.status <> 'active' THEN 'campaign_inactive' ELSE 'no_clients' END,
           n.username, n.user_status, g.id, g.name, g.status
    -- with a seller who is not active, no campaign matters
    FROM number n LEFT JOIN campaigns g ON g.id = n.id AND n.user_status = 'active'
    WHERE g.id IS NULL OR g.id NOT IN (SELECT s.campaign_id FROM sold s)
$$;
SELECT cc_as_owner('cc_unsold');
