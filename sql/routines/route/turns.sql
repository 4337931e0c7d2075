-- The links of one tier, and whose turn it is. p_last: the link that this call tried last, or null.
--
-- round_robin: the links after the last one, then the others. A call that fails over goes on from its own
-- last link, not from where other calls have moved the turn.
--
-- weighted, and priority within one forwarding_priority: each call is shared out among the eligible links of the tier
-- in proportion to their weights. Every link is owed a fraction of a call, and the link that gets the call pays a whole
-- one. Of the links that are owed something, the next is the one that would first be a whole call behind. This is the
-- chairman assignment rule (Tijdeman 1980): after every call that finds all links eligible, each link is within one
-- call of its share.
-- A link that is not eligible gets no fraction and pays none, so it does not catch up later.
CREATE OR REPLACE FUNCTION cc_turns(p_links cc_candidate[], p_campaign_id integer, p_strategy text, p_last integer)
RETURNS cc_candidate[]
LANGUAGE plpgsql STABLE AS $$
DECLARE
    c        cc_candidate;
    placed   cc_candidate[] := '{}';
    weights  bigint := 0;
    last_id  integer;
    debts    jsonb;
    owed     numeric;
BEGIN
    -- unpacked once, not at each look into it
    SELECT n.last_setting_id, n.owed || '{}' INTO last_id, debts
    FROM routing_turns n WHERE n.campaign_id = p_campaign_id AND n.tier = p_links[1].tier;
    IF p_strategy = 'round_robin' THEN
        last_id := coalesce(p_last, last_id, 0);
        FOREACH c IN ARRAY p_links LOOP
            c.lap := CASE WHEN c.setting_id > last_id THEN 0 ELSE 1 END;
            c.deadline := 0;
            placed := placed || c;
        END LOOP;
        RETURN placed;
    END IF;
    FOREACH c IN ARRAY p_links LOOP
        IF c.reason IS NULL THEN
            weights := weights + c.weight;
        END IF;
    END LOOP;
    FOREACH c IN ARRAY p_links LOOP
        owed := coalesce((debts ->> c.setting_id::text)::numeric, 0);
        IF c.reason IS NULL THEN
            c.owed_after := owed + round(c.weight::numeric(40, 30) / weights, 30);
            -- 18 digits decide, 30 are kept: rounding never decides between two links
            c.lap := CASE WHEN round(c.owed_after, 18) > 0 THEN 0 ELSE 1 END;
            c.deadline := round((1 - owed) / c.weight, 18);
        ELSE
            c.owed_after := owed;
        END IF;
        placed := placed || c;
    END LOOP;
    RETURN placed;
END $$;
