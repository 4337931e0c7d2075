-- Routing: which client gets a call. Eligibility, order and the claim live here, so that the rules
-- are the same for cc-route.agi, `capconduit route explain` and psql.
--
--   cc_route       one routing attempt: closes the previous attempt of the call, claims the next link
--   cc_explain     the same decision, claiming nothing
--   cc_resolve_did DID -> campaign, or why not
--   cc_links       the links of a campaign, and why those that cannot get a call cannot
--   cc_turns       whose turn it is among the links of a tier
--   cc_rejection   what a rejection means: call status and Q.850 cause
--   cc_passed_over the links that could not get the call, and why, as text
--
-- Locks, always taken in this order: the call (bigint advisory lock), then the campaign (two-int
-- advisory lock). Both end with the transaction, so they hold through PgBouncer in transaction mode,
-- and no administrator's open transaction can hold up a call.

DROP FUNCTION IF EXISTS cc_route(text, text, text, text, text, text, text, integer);
DROP FUNCTION IF EXISTS cc_route(text, text, text, text, text, text, text, integer, integer);
DROP FUNCTION IF EXISTS cc_explain(text);
DROP FUNCTION IF EXISTS cc_rejection(text, cc_candidate[], text);
DROP FUNCTION IF EXISTS cc_passed_over(cc_candidate[]);
DROP FUNCTION IF EXISTS cc_candidates(integer, text, timestamptz);
DROP FUNCTION IF EXISTS cc_links(integer, text, integer[], timestamptz);
DROP FUNCTION IF EXISTS cc_turns(cc_candidate[], integer, text, integer);
DROP FUNCTION IF EXISTS cc_resolve_did(text);
DROP TYPE IF EXISTS cc_candidate;

-- The key of a call's lock. cc_route and cc_log_call of one call never overlap: a claim that was
-- still under way when the caller hung up is either seen by the logger or refused as call_ended.
CREATE OR REPLACE FUNCTION cc_call_lock(p_uniqueid text) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT hashtextextended(p_uniqueid, 0) $$;

-- What claims and logs looks at what others have committed after it got a lock. Under a stricter
-- isolation level it would not see that, and caps would break.
CREATE OR REPLACE FUNCTION cc_require_read_committed() RETURNS void
LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'transaction isolation is %, not read committed', current_setting('transaction_isolation')
            USING HINT = 'Set default_transaction_isolation to read committed for this database and role.';
    END IF;
END $$;

-- Why a DID cannot be routed, or its campaign. Where it feeds several active campaigns, the lowest id wins.
CREATE FUNCTION cc_resolve_did(
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

CREATE TYPE cc_candidate AS (
    tier                integer,  -- lower tiers are tried first
    setting_id          integer,
    client_id           integer,
    client_identifier   text,
    reason              text,     -- null when eligible
    weight              integer,
    live_calls          integer,  -- attempts in flight
    uncounted_calls     integer,  -- answered and over, but not yet in current_total_calls
    max_concurrency     integer,
    current_total_calls integer,
    total_calls_allowed integer,  -- null: unlimited
    -- by cc_turns; of the eligible links of a tier, the one with the lowest (lap, deadline, setting_id) is next
    lap                 integer,
    deadline            numeric,
    owed_after          numeric   -- calls owed once this call has been shared out (before it is given to one link)
);

-- All links of a campaign, by tier and id. p_strategy: the campaign's; p_tried: the links that this call
-- has tried.
--
-- A session's first look is planned while a caller waits: hence joins in their order, by keys, and
-- the rest in cc_turns, which only needs it where links take turns.
CREATE FUNCTION cc_links(p_campaign_id integer, p_strategy text, p_tried integer[], p_at timestamptz)
RETURNS cc_candidate[]
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN ARRAY(
        SELECT ROW(
            CASE p_strategy WHEN 'priority' THEN s.forwarding_priority ELSE 0 END,
            s.id, s.client_id, c.client_identifier,
            CASE
                WHEN s.status <> 'active' THEN 'setting_inactive'
                WHEN c.status <> 'active' THEN 'client_inactive'
                -- it becomes a dial string
                WHEN c.client_identifier !~ '^[A-Za-z0-9_-]{1,40}$' THEN 'client_identifier_invalid'
                WHEN e.id IS NULL THEN 'no_endpoint'
                -- one AOR is what the join finds; only a list of them is looked up
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
            SELECT (count(*) FILTER (WHERE a.released_at IS NULL AND a.lease_expires_at > p_at))::integer AS calls,
                   (count(*) FILTER (WHERE a.count_pending))::integer AS uncounted
            FROM call_attempts a
            WHERE a.campaign_id = p_campaign_id AND a.client_id = s.client_id
              AND (a.released_at IS NULL OR a.count_pending)) l
        WHERE s.campaign_id = p_campaign_id
        ORDER BY CASE p_strategy WHEN 'priority' THEN s.forwarding_priority ELSE 0 END, s.id);
END $$;

-- The links of one tier with whose turn it is. p_last: the link that this call tried last, or null.
--
-- round_robin: the links after the last one, then the others. A call that fails over goes on from its own
-- last link, not from where other calls have moved the turn.
--
-- weighted, and priority within one forwarding_priority: each call is shared out among the
-- eligible links of the tier in proportion to their weights, so every link is owed a fraction of a
-- call; the one that gets it pays a whole call. Of the links that are owed something, the one that
-- would first be a whole call behind is served. This is the chairman assignment rule (Tijdeman
-- 1980): after every call that finds all links eligible, each link is within one call of its share.
-- A link that is not eligible gets no fraction and pays none, so it does not catch up later.
CREATE FUNCTION cc_turns(p_links cc_candidate[], p_campaign_id integer, p_strategy text, p_last integer)
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

-- What a rejection means for the call: its status in the record and the Q.850 cause towards the
-- carrier (Asterisk answers 1 with 404, 17 with 486, 19 and 20 with 480, 21 with 403, 34 with 503).
-- p_did_reason: from cc_resolve_did, or null; p_dial_status: how the last attempt ended, or null.
CREATE FUNCTION cc_rejection(
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

-- The links that could not get the call, in the order of the campaign: `acme concurrency_cap 5/5, borealis
-- total_cap 999/1000 (1 in flight), dormant client_inactive`. Null where every link could. It travels in
-- an AGI command of at most 2000 bytes: what would make it longer than 900 becomes `and 3 more`, and of
-- identifiers, in which v3.0 allows anything, only what cannot be taken for anything else is kept.
--
-- A loop without a statement, since it runs under the campaign's lock.
CREATE FUNCTION cc_passed_over(p_candidates cc_candidate[]) RETURNS text
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

-- One routing attempt, one round trip. p_did: E.164 with +. p_dial_status, p_hangup_cause: how the
-- call's previous attempt ended; null on the first. status is proceed or reject.
--
-- p_known_attempt: the last attempt that the channel has been told of, 0 before the first. An open
-- attempt after it is one whose answer was lost on the way (a connection broke, a server died): the
-- same question gets the same answer, and nothing more is claimed. Null: not known, no such look.
--
-- The same question may be asked twice and come late: by a server that is given up, and by the program
-- that stands in. Only the channel's next question, which knows the attempt, or the call's end closes
-- an attempt. So whichever comes first claims, and one that comes later
--   while that attempt is open    gets it again, even in the middle of its call, and closes nothing;
--   after the channel's next one  knows too little: it gets nothing and changes nothing;
--   after the logger              is refused as call_ended.
CREATE FUNCTION cc_route(
    p_did text, p_uniqueid text, p_linkedid text, p_system_name text,
    p_caller_id_num text, p_caller_id_name text, p_dial_status text, p_hangup_cause integer,
    p_known_attempt integer DEFAULT NULL,
    OUT status text, OUT reason text, OUT call_status text, OUT hangup_cause integer,
    OUT setting_id integer, OUT client_identifier text, OUT campaign_id integer, OUT user_id integer,
    OUT did_id integer, OUT client_id integer, OUT dial_timeout integer, OUT max_call_seconds integer,
    OUT attempt_number integer, OUT passed_over text
) LANGUAGE plpgsql VOLATILE
-- A claim that cannot be decided in this time fails; the caller must not wait in silence.
SET lock_timeout = '2s'
-- Planning costs several times what the plan does, and a session plans again for every call where it
-- believes that the campaign's number might make a difference.
SET plan_cache_mode = force_generic_plan
-- Keys lead from each table to the next, in the order in which cc_links joins them. A plan is made once for
-- all campaigns: one that reads whole tables, as a platform with a single large campaign suggests, would be
-- slow for all the others.
SET join_collapse_limit = 1
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
DECLARE
    -- what a lease adds to dial timeout and call length: set-up, and the hangup itself
    grace constant interval := '60 seconds';
    campaign_class constant integer := 1128481603;
    asked constant timestamptz := clock_timestamp();
    claimed    timestamptz;
    target     record;
    last       record;
    tried      integer[];
    candidates cc_candidate[];
    candidate  cc_candidate;
    chosen     cc_candidate;
    turns      cc_candidate[];
    tier       integer;
    tier_from  integer;
    tier_to    integer;
    tier_size  integer := 0;
    debts      text[];
    all_owed   jsonb;
BEGIN
    PERFORM cc_require_read_committed();
    PERFORM pg_advisory_xact_lock(cc_call_lock(p_uniqueid));
    status := 'reject';

    -- The logger has been here: the caller hung up while this attempt was under way.
    IF EXISTS (SELECT FROM call_logs l WHERE l.asterisk_uniqueid = p_uniqueid)
        OR EXISTS (SELECT FROM call_endings e WHERE e.asterisk_uniqueid = p_uniqueid) THEN
        reason := 'call_ended';
        call_status := 'ABANDONED';
        hangup_cause := 16;
        RETURN;
    END IF;

    SELECT a.campaign_id, a.attempt_number INTO last
    FROM call_attempts a
    WHERE a.asterisk_uniqueid = p_uniqueid
    ORDER BY a.attempt_number DESC LIMIT 1;
    attempt_number := coalesce(last.attempt_number, 0);

    IF attempt_number > p_known_attempt THEN
        -- No other call may take the place of a lease that runs out just now.
        campaign_id := last.campaign_id;
        PERFORM pg_advisory_xact_lock(campaign_class, campaign_id);
        -- from now on, by the campaign as it is now: the lease must hold the whole call
        UPDATE call_attempts a
        SET lease_expires_at = greatest(a.lease_expires_at, clock_timestamp() + grace
                + make_interval(secs => least(g.dial_timeout_seconds, 86400) + g.max_call_seconds))
        FROM clients c, campaigns g
        WHERE a.asterisk_uniqueid = p_uniqueid AND a.attempt_number = cc_route.attempt_number
          AND a.released_at IS NULL AND a.lease_expires_at > clock_timestamp()
          AND c.id = a.client_id AND g.id = a.campaign_id
        RETURNING 'proceed', a.campaign_client_setting_id, c.client_identifier, a.user_id, a.did_id, a.client_id,
                  least(g.dial_timeout_seconds, 86400), g.max_call_seconds, a.passed_over
        INTO status, setting_id, client_identifier, user_id, did_id, client_id, dial_timeout, max_call_seconds,
             passed_over;
        IF NOT FOUND THEN
            status := 'reject';
            reason := 'attempt_over';
            call_status := 'FAILED';
            hangup_cause := 42;
        END IF;
        RETURN;
    END IF;

    IF attempt_number > 0 THEN
        UPDATE call_attempts a
        SET released_at = clock_timestamp(), release_reason = 'failover',
            dial_status = p_dial_status, hangup_cause_code = p_hangup_cause
        WHERE a.asterisk_uniqueid = p_uniqueid AND a.released_at IS NULL;
        tried := ARRAY(SELECT a.campaign_client_setting_id FROM call_attempts a
                       WHERE a.asterisk_uniqueid = p_uniqueid ORDER BY a.attempt_number);
    END IF;
    attempt_number := attempt_number + 1;

    target := cc_resolve_did(p_did);
    did_id := target.did_id;
    user_id := target.user_id;
    campaign_id := target.campaign_id;
    IF target.reason IS NULL THEN
        -- A new session takes some milliseconds to plan the look: before the lock, at a campaign that is
        -- none, so that nobody waits for it. (A session that a pooler keeps has planned long ago.)
        IF current_setting('capconduit.has_planned', true) IS DISTINCT FROM 'yes' THEN
            PERFORM set_config('capconduit.has_planned', 'yes', false);
            candidates := cc_links(0, target.routing_strategy, tried, asked);
        END IF;
        -- Lock first, look in a later statement: its snapshot then holds every earlier claim.
        PERFORM pg_advisory_xact_lock(campaign_class, campaign_id);
        candidates := cc_links(campaign_id, target.routing_strategy, tried, clock_timestamp());

        -- the first tier with a link that can get the call
        FOR i IN 1..coalesce(cardinality(candidates), 0) LOOP
            candidate := candidates[i];
            IF candidate.tier IS DISTINCT FROM tier THEN
                EXIT WHEN tier_size > 0;
                tier := candidate.tier;
                tier_from := i;
            END IF;
            tier_to := i;
            IF candidate.reason IS NULL THEN
                tier_size := tier_size + 1;
                IF tier_size = 1 THEN
                    chosen := candidate;
                END IF;
            END IF;
        END LOOP;
        IF tier_size < cardinality(candidates) THEN
            passed_over := cc_passed_over(candidates);
        END IF;
        -- where one link is alone there is no turn to take
        IF tier_size > 1 THEN
            turns := cc_turns(candidates[tier_from:tier_to], campaign_id, target.routing_strategy,
                              tried[cardinality(tried)]);
            chosen := NULL;
            FOREACH candidate IN ARRAY turns LOOP
                IF candidate.reason IS NULL AND (chosen.setting_id IS NULL OR candidate.lap < chosen.lap
                        OR candidate.lap = chosen.lap AND candidate.deadline < chosen.deadline) THEN
                    chosen := candidate;
                END IF;
            END LOOP;
        END IF;
    END IF;
    IF chosen.setting_id IS NULL THEN
        attempt_number := NULL;
        SELECT r.reason, r.call_status, r.hangup_cause INTO reason, call_status, hangup_cause
        FROM cc_rejection(target.reason, candidates, p_dial_status) r;
        RETURN;
    END IF;

    -- v3.0 allows any number; nothing rings for longer than a day
    dial_timeout := least(target.dial_timeout_seconds, 86400);

    -- Who asks waits for 5 s at most. Nothing is claimed for one who has gone on without the answer. (A
    -- cancel request instead would end PgBouncer 1.18, which dies of one whose sender does not wait.)
    IF clock_timestamp() > asked + interval '4.5 seconds' THEN
        RAISE EXCEPTION 'the claim came too late: nobody waits for it any more' USING ERRCODE = 'query_canceled';
    END IF;

    -- Only the first choice of a call moves the turn.
    IF attempt_number = 1 AND target.routing_strategy = 'round_robin' AND cardinality(candidates) > 1 THEN
        UPDATE routing_turns t SET last_setting_id = chosen.setting_id
        WHERE t.campaign_id = cc_route.campaign_id AND t.tier = chosen.tier;
        IF NOT FOUND THEN
            INSERT INTO routing_turns (campaign_id, tier, last_setting_id)
            VALUES (cc_route.campaign_id, chosen.tier, chosen.setting_id);
        END IF;
    ELSIF attempt_number = 1 AND tier_size > 1 THEN
        FOREACH candidate IN ARRAY turns LOOP
            debts := debts || ('"' || candidate.setting_id || '":'
                || candidate.owed_after - (candidate.setting_id = chosen.setting_id)::integer);
        END LOOP;
        all_owed := ('{' || array_to_string(debts, ',') || '}')::jsonb;
        UPDATE routing_turns t SET owed = all_owed
        WHERE t.campaign_id = cc_route.campaign_id AND t.tier = chosen.tier;
        IF NOT FOUND THEN
            INSERT INTO routing_turns (campaign_id, tier, owed)
            VALUES (cc_route.campaign_id, chosen.tier, all_owed);
        END IF;
    END IF;

    -- after the look at the ledger, so that its times never overlap
    claimed := clock_timestamp();
    INSERT INTO call_attempts (
        asterisk_uniqueid, asterisk_linkedid, system_name, attempt_number,
        user_id, campaign_id, did_id, client_id, campaign_client_setting_id,
        incoming_did_number, caller_id_num, caller_id_name, claimed_at, lease_expires_at,
        routing_strategy, forwarding_priority, passed_over)
    VALUES (
        p_uniqueid, p_linkedid, p_system_name, cc_route.attempt_number,
        cc_route.user_id, cc_route.campaign_id, cc_route.did_id, chosen.client_id, chosen.setting_id,
        p_did, p_caller_id_num, p_caller_id_name, claimed,
        claimed + make_interval(secs => dial_timeout + target.max_call_seconds) + grace,
        target.routing_strategy, CASE target.routing_strategy WHEN 'priority' THEN chosen.tier END,
        cc_route.passed_over);

    status := 'proceed';
    setting_id := chosen.setting_id;
    client_identifier := chosen.client_identifier;
    client_id := chosen.client_id;
    max_call_seconds := target.max_call_seconds;
END $$;

-- What cc_route would decide for a new call, with every candidate in the order it would be tried.
-- One JSON object: status, reason, call_status, hangup_cause, the DID's campaign, candidates.
CREATE FUNCTION cc_explain(p_did text) RETURNS json
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
                'max_concurrency', c.max_concurrency,
                'current_total_calls', c.current_total_calls,
                'total_calls_allowed', c.total_calls_allowed) ORDER BY c.try_order, c.tier, c.setting_id)
            FROM (SELECT *, CASE WHEN u.reason IS NULL THEN row_number() OVER (
                      PARTITION BY u.reason IS NULL ORDER BY u.tier, u.lap, u.deadline, u.setting_id) END AS try_order
                  FROM unnest(candidates) u) c
            JOIN campaign_client_settings s ON s.id = c.setting_id), '[]'::json));
END $$;

SELECT cc_as_owner('cc_route');
SELECT cc_as_owner('cc_explain');
