-- cc_differences: what must agree in the database and does not. `capconduit db verify` shows it, a check after the
-- other, and repairs what is repairable (src/store/verify.rs).
CREATE OR REPLACE FUNCTION cc_differences()
RETURNS TABLE ("check" text, "table" text, id text, message text, expected text, found text, repairable boolean)
LANGUAGE sql STABLE AS $$
    -- The HTTP back end commits the record a moment before the logger releases the claim: hence the
    -- minute. Where records are written here, both are one transaction.
    WITH attempt AS (
        SELECT a.*, EXISTS (SELECT FROM call_logs l WHERE l.asterisk_uniqueid = a.asterisk_uniqueid
                            AND l.created_at < now() - interval '60 s') AS has_record
        FROM call_attempts a WHERE a.released_at IS NULL OR a.count_pending
    )
    (SELECT x."check", 'call_attempts', a.id::text, format('call %s: %s', a.asterisk_uniqueid, x.message),
        x.expected, x.found, true
    FROM attempt a, LATERAL (VALUES
        -- the server that has the call renews its lease within minutes, where it is up (call reap)
        ('attempt_expired', 'the attempt is open, but its lease is over', 'released', 'open',
         a.released_at IS NULL AND a.lease_expires_at <= now() - interval '15 minutes' AND NOT a.has_record),
        ('attempt_open_after_record', 'the attempt is open, but the call has a record', 'released', 'open',
         a.released_at IS NULL AND a.has_record),
        ('attempt_pending_after_record', 'waits to be counted, but the call has a record', 'counted', 'count_pending',
         a.count_pending AND a.has_record)
    ) x ("check", message, expected, found, is_so)
    WHERE x.is_so
    ORDER BY x."check", a.id)
    UNION ALL
    -- A record that is spooled leaves a row in call_endings, which `call reap` forgets after a day. Attempts older than
    -- the oldest record have nothing to compare with: old records are removed, and a back end may keep its records
    -- elsewhere. The minutes are what a call's own transaction takes.
    (SELECT 'answer_without_record', 'call_attempts', a.id::text,
        format('call %s was answered and has no record: look in the spool on %s (capconduit call replay)',
               a.asterisk_uniqueid, coalesce(nullif(a.system_name, ''), 'its Asterisk server')),
        'a call record', 'none', false
    FROM call_attempts a
    WHERE a.released_at < now() - interval '60 s' AND a.dial_status = 'ANSWER'
      AND a.released_at > (SELECT min(l.created_at) FROM call_logs l) + interval '60 s'
      AND NOT EXISTS (SELECT FROM call_logs l WHERE l.asterisk_uniqueid = a.asterisk_uniqueid)
      AND NOT EXISTS (SELECT FROM call_endings e WHERE e.asterisk_uniqueid = a.asterisk_uniqueid)
    ORDER BY a.id)
    UNION ALL
    (SELECT 'attempt_orphaned', 'call_attempts', a.id::text,
        format('call %s is with a %s that has been removed: the attempt ends by itself, with the call or its lease',
               a.asterisk_uniqueid,
               CASE WHEN g.id IS NULL THEN 'campaign' WHEN c.id IS NULL THEN 'client' ELSE 'setting' END),
        CASE WHEN g.id IS NULL THEN format('campaign %s', a.campaign_id)
             WHEN c.id IS NULL THEN format('client %s', a.client_id)
             ELSE format('setting %s', a.campaign_client_setting_id) END,
        'none', false
    FROM attempt a
    LEFT JOIN campaigns g ON g.id = a.campaign_id
    LEFT JOIN clients c ON c.id = a.client_id
    LEFT JOIN campaign_client_settings s ON s.id = a.campaign_client_setting_id
    -- the others are closed by the checks above
    WHERE cc_in_flight(a.released_at, a.lease_expires_at, now()) AND (g.id IS NULL OR c.id IS NULL OR s.id IS NULL)
      AND NOT a.has_record
    ORDER BY a.id)
    UNION ALL
    (SELECT 'did_of_another_owner', 'campaign_dids', format('%s/%s', cd.campaign_id, cd.did_id),
        format('campaign %s of %s has DID %s of %s: its calls are recorded as %s''s. Remove the DID from the campaign, or give it to the campaign''s owner',
               g.id, gu.username, d.number, du.username, du.username),
        gu.username, du.username, false
    FROM campaign_dids cd
    JOIN campaigns g ON g.id = cd.campaign_id JOIN users gu ON gu.id = g.user_id
    JOIN dids d ON d.id = cd.did_id JOIN users du ON du.id = d.user_id
    WHERE g.user_id <> d.user_id
    ORDER BY cd.campaign_id, cd.did_id)
    UNION ALL
    (SELECT 'endpoint_names_nothing', 'pjsip_endpoints', e.id,
        format('endpoint %s: %s %s does not exist', e.id, n.what, n.name), n.what || ' ' || n.name, 'none', false
    FROM pjsip_endpoints e, LATERAL (
        SELECT 'AOR' AS what, a.name FROM unnest(string_to_array(e.aors, ',')) a (name)
        WHERE a.name <> '' AND NOT EXISTS (SELECT FROM pjsip_aors p WHERE p.id = a.name)
        UNION ALL
        SELECT 'auth', o.name FROM (VALUES (e.auth::text), (e.outbound_auth)) o (name)
        WHERE o.name <> '' AND NOT EXISTS (SELECT FROM pjsip_auths p WHERE p.id = o.name)
    ) n
    ORDER BY e.id, n.what, n.name)
    UNION ALL
    (SELECT 'turns_orphaned', 'routing_turns', format('%s/%s', t.campaign_id, t.tier),
        format('the turns of campaign %s, which has been removed', t.campaign_id),
        format('campaign %s', t.campaign_id), 'none', true
    FROM routing_turns t
    WHERE NOT EXISTS (SELECT FROM campaigns g WHERE g.id = t.campaign_id)
    ORDER BY t.campaign_id, t.tier)
    UNION ALL
    -- No counter can be below zero: records were changed or moved, and a person must say what is true.
    (SELECT 'counter', 'campaign_client_settings', s.id::text,
        format('client %s in campaign %s: current_total_calls is not base (%s) + answered call records (%s)%s',
               c.client_identifier, g.name, s.total_calls_base, n.answered,
               CASE WHEN n.total < 0 THEN '. Records were changed; say what is right with setting set --current-total-calls'
               ELSE '' END),
        n.total::text, s.current_total_calls::text, n.total BETWEEN 0 AND 2147483647
    FROM campaign_client_settings s
    JOIN clients c ON c.id = s.client_id
    JOIN campaigns g ON g.id = s.campaign_id
    LEFT JOIN (SELECT campaign_client_setting_id, count(*) AS answered FROM call_logs
               WHERE call_status = 'ANSWERED' GROUP BY 1) l ON l.campaign_client_setting_id = s.id,
    LATERAL (SELECT coalesce(l.answered, 0) AS answered, s.total_calls_base + coalesce(l.answered, 0) AS total) n
    WHERE s.current_total_calls <> n.total
    ORDER BY s.id)
$$;
