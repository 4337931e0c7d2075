-- cc_tables: every table and view of the platform, a row each. Rights (access.sql), triggers (audit.sql) and the
-- nouns of `capconduit audit` follow from it.
--
--   noun        what `audit list --noun` calls it; null: no change of it is audited
--   class       data: the administrator changes it, reports read it; own: the programs keep it, the administrator
--               reads it; view: Asterisk's
--   is_audited  each change of a row is recorded, and TRUNCATE
-- and what sellers may do (null: nothing):
--   sees        the rows that exist for them; %1$s is the seller's id
--   leaves      the rows that they may leave behind, where these are more than sees
--   reads, adds, changes   columns that they may select, insert and update, * for all
CREATE OR REPLACE FUNCTION cc_tables()
RETURNS TABLE (name text, noun text, class text, is_audited boolean,
               sees text, leaves text, reads text, adds text, changes text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
VALUES
    ('users', 'user', 'data', true,
        'id = %1$s', NULL,
        'id,username,email,role,status,full_name,company_name,created_at,updated_at',
        NULL,
        'email,password_hash,full_name,company_name,updated_at'),
    -- a seller of another database in the same cluster is none here
    ('clients', 'client', 'data', true,
        '%1$s IS NOT NULL', NULL,
        'id,client_identifier,name,department,status,created_at,updated_at', NULL, NULL),
    ('pjsip_endpoints', 'pjsip', 'data', true, NULL, NULL, NULL, NULL, NULL),
    ('pjsip_aors', 'pjsip', 'data', true, NULL, NULL, NULL, NULL, NULL),
    ('pjsip_auths', 'pjsip', 'data', true, NULL, NULL, NULL, NULL, NULL),
    ('dids', 'did', 'data', true,
        'user_id = %1$s', NULL, '*',
        'number,user_id,status,description,updated_at',
        'number,user_id,status,description,updated_at'),
    ('campaigns', 'campaign', 'data', true,
        'user_id = %1$s', NULL, '*',
        'name,status,routing_strategy,dial_timeout_seconds,max_call_seconds,description,updated_at,user_id',
        'name,status,routing_strategy,dial_timeout_seconds,max_call_seconds,description,updated_at'),
    ('campaign_dids', 'campaign', 'data', true,
        'EXISTS (SELECT FROM campaigns g WHERE g.id = campaign_id AND g.user_id = %1$s)',
        'EXISTS (SELECT FROM campaigns g WHERE g.id = campaign_id AND g.user_id = %1$s)
                AND EXISTS (SELECT FROM dids d WHERE d.id = did_id AND d.user_id = %1$s)',
        '*', 'campaign_id,did_id', NULL),
    ('campaign_client_settings', 'setting', 'data', true,
        'EXISTS (SELECT FROM campaigns g WHERE g.id = campaign_id AND g.user_id = %1$s)', NULL, '*',
        'status,max_concurrency,total_calls_allowed,forwarding_priority,weight,updated_at,campaign_id,client_id',
        'status,max_concurrency,total_calls_allowed,forwarding_priority,weight,updated_at'),
    ('call_logs', 'call', 'data', true, 'user_id = %1$s', NULL, '*', NULL, NULL),
    ('call_attempts', NULL, 'data', false, 'user_id = %1$s', NULL, '*', NULL, NULL),
    ('call_endings', NULL, 'data', false, NULL, NULL, NULL, NULL, NULL),
    ('routing_turns', NULL, 'data', false, NULL, NULL, NULL, NULL, NULL),
    ('audit_log', NULL, 'own', false, NULL, NULL, NULL, NULL, NULL),
    ('database_roles', 'db', 'own', true, NULL, NULL, NULL, NULL, NULL),
    ('capconduit_migrations', NULL, 'own', false, NULL, NULL, NULL, NULL, NULL),
    ('ps_endpoints', NULL, 'view', false, NULL, NULL, NULL, NULL, NULL),
    ('ps_aors', NULL, 'view', false, NULL, NULL, NULL, NULL, NULL),
    ('ps_auths', NULL, 'view', false, NULL, NULL, NULL, NULL, NULL)
$$;
