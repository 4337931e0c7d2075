-- The links that could not get the call, in the order of the campaign: `acme concurrency_cap 5/5, borealis
-- total_cap 999/1000 (1 in flight), dormant client_inactive`. Null where every link could. It travels in an AGI command
-- of at most 2000 bytes: beyond 900 bytes, the remaining links become `and 3 more`; of identifiers, in which v3.0
-- allows anything, only unambiguous characters are kept.
--
-- A loop without a statement, since it runs under the campaign's lock.
CREATE OR REPLACE FUNCTION cc_passed_over(p_candidates cc_candidate[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    c    cc_candidate;
    link text;
    said text;
    more integer := 0;
BEGIN
    FOREACH c IN ARRAY p_candidates LOOP
        CONTINUE WHEN c.reason IS NULL;
        link := regexp_replace(c.client_identifier, '[^A-Za-z0-9_.@-]', '?', 'g') || ' ' || c.reason;
        IF c.reason = 'concurrency_cap' THEN
            link := link || ' ' || c.live_calls || '/' || c.max_concurrency;
        ELSIF c.reason = 'total_cap' THEN
            link := link || ' ' || c.current_total_calls || '/' || c.total_calls_allowed;
            IF c.live_calls + c.uncounted_calls > 0 THEN
                link := link || ' (' || concat_ws(' + ', nullif(c.live_calls, 0) || ' in flight',
                                                  nullif(c.uncounted_calls, 0) || ' to be counted') || ')';
            END IF;
        END IF;
        IF said IS NULL THEN
            said := link;
        ELSIF more = 0 AND length(said) + length(link) < 880 THEN
            said := said || ', ' || link;
        ELSE
            more := more + 1;
        END IF;
    END LOOP;
    IF more > 0 THEN
        said := said || ' and ' || more || ' more';
    END IF;
    RETURN said;
END $$;
