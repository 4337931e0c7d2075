SELECT cc_drop('cc_route', 'cc_candidates');

-- One routing attempt, one round trip: closes the previous attempt of the call, claims the next link.
--
-- Locks, always taken in this order: the call (bigint advisory lock), then the campaign (two-int
-- advisory lock). Both end with the transaction, so they hold through PgBouncer in transaction mode,
-- and no administrator's open transaction can hold up a call.
--
-- p_did: E.164 with +. p_dial_status, p_hangup_cause: how the call's previous attempt ended; null on the
-- first. status is proceed or reject.
--
-- p_known_attempt: the last attempt that the channel has been told of, 0 before the first. If a later attempt is open,
-- its answer was lost on the way (a connection broke, a server died): the same question gets the same answer, and
-- nothing more is claimed. Null: not known, not checked.
--
-- The same question may be asked twice, and late: by a server that was given up, and by the program that replaces it.
-- Only the channel's next question, which knows the attempt, or the call's end closes an attempt. So the first question
-- claims, and a later copy
--   while that attempt is open    gets it again, even in the middle of its call, and closes nothing;
--   after the next question       knows too little: it gets nothing and changes nothing;
--   after the logger              is refused as call_ended.
--
-- p_start: when the call came in, by its Asterisk's clock. call_id: the id of the call's record, p_uniqueid unless
-- another call had that.
CREATE OR REPLACE FUNCTION cc_route(
    p_did text, p_uniqueid text, p_linkedid text, p_system_name text,
    p_caller_id_num text, p_caller_id_name text, p_dial_status text, p_hangup_cause integer,
    p_known_attempt integer DEFAULT NULL, p_start timestamptz DEFAULT NULL,
    OUT status text, OUT reason text, OUT call_status text, OUT hangup_cause integer,
    OUT setting_id integer, OUT client_identifier text, OUT campaign_id integer, OUT user_id integer,
    OUT did_id integer, OUT client_id integer, OUT dial_timeout integer, OUT max_call_seconds integer,
    OUT attempt_number integer, OUT passed_over text, OUT call_id text
) LANGUAGE plpgsql VOLATILE
-- A claim that cannot be decided in this time fails; the caller must not wait in silence.
SET lock_timeout = '2s'
-- Planning costs several times more than execution, and a session would plan again for every call if it believed that
-- the campaign's number might make a difference.
SET plan_cache_mode = force_generic_plan
-- Keys lead from each table to the next, in the order in which cc_look joins them. A plan is made once for all
-- campaigns: a plan that reads whole tables, as suits a single large campaign, would be slow for all the others.
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
    ended      boolean;
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

    call_id := p_uniqueid;
    LOOP
        SELECT a.campaign_id, a.attempt_number INTO last
        FROM call_attempts a
        WHERE a.asterisk_uniqueid = call_id
        ORDER BY a.attempt_number DESC LIMIT 1;
        ended := EXISTS (SELECT FROM call_logs l WHERE l.asterisk_uniqueid = call_id)
            OR EXISTS (SELECT FROM call_endings e WHERE e.asterisk_uniqueid = call_id);
        EXIT WHEN call_id <> p_uniqueid OR NOT ended AND last.attempt_number IS NULL;
        call_id := cc_call_id(p_uniqueid, p_did, p_start);
        EXIT WHEN call_id = p_uniqueid;
    END LOOP;

    -- The logger has been here: the caller hung up while this attempt was under way.
    IF ended THEN
        reason := 'call_ended';
        call_status := 'ABANDONED';
        hangup_cause := 16;
        RETURN;
    END IF;
    attempt_number := coalesce(last.attempt_number, 0);

    IF attempt_number > p_known_attempt THEN
        -- No other call may take the place of a lease that runs out just now.
        campaign_id := last.campaign_id;
        PERFORM pg_advisory_xact_lock(campaign_class, campaign_id);
        -- from now on, with the campaign's present limits: the lease must cover the whole call
        UPDATE call_attempts a
        SET lease_expires_at = greatest(a.lease_expires_at, clock_timestamp() + grace
                + make_interval(secs => least(g.dial_timeout_seconds, 86400) + g.max_call_seconds))
        FROM clients c, campaigns g
        WHERE a.asterisk_uniqueid = cc_route.call_id AND a.attempt_number = cc_route.attempt_number
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
        -- this is its outcome, even if its place among calls at once was freed before
        UPDATE call_attempts a
        SET released_at = coalesce(a.released_at, clock_timestamp()), release_reason = 'failover',
            dial_status = p_dial_status, hangup_cause_code = p_hangup_cause, count_pending = false
        WHERE a.asterisk_uniqueid = cc_route.call_id AND (a.released_at IS NULL OR a.count_pending);
        tried := ARRAY(SELECT a.campaign_client_setting_id FROM call_attempts a
                       WHERE a.asterisk_uniqueid = cc_route.call_id ORDER BY a.attempt_number);
    END IF;
    attempt_number := attempt_number + 1;

    target := cc_resolve_did(p_did);
    did_id := target.did_id;
    user_id := target.user_id;
    campaign_id := target.campaign_id;
    IF target.reason IS NULL THEN
        -- A new session takes some milliseconds to plan the look. It plans before the lock, with a campaign that does
        -- not exist, so that nobody waits. (A session that a pooler keeps has planned long ago.)
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

    -- The program waits for 5 s at most. Nothing is claimed after it has gone on without the answer. (A cancel request
    -- instead would crash PgBouncer 1.18 when its sender does not wait.)
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
        routing_strategy, forwarding_priority, passed_over, call_started_at)
    VALUES (
        cc_route.call_id, p_linkedid, p_system_name, cc_route.attempt_number,
        cc_route.user_id, cc_route.campaign_id, cc_route.did_id, chosen.client_id, chosen.setting_id,
        p_did, p_caller_id_num, p_caller_id_name, claimed,
        claimed + make_interval(secs => dial_timeout + target.max_call_seconds) + grace,
        target.routing_strategy, CASE target.routing_strategy WHEN 'priority' THEN chosen.tier END,
        cc_route.passed_over, p_start);

    status := 'proceed';
    setting_id := chosen.setting_id;
    client_identifier := chosen.client_identifier;
    client_id := chosen.client_id;
    max_call_seconds := target.max_call_seconds;
END $$;
SELECT cc_as_owner('cc_route');
