-- The tables of the v3.0 platform: created where the database is empty, taken over where the web
-- back end's ORM made them (no CHECK constraints, no database defaults, other constraint names).
-- Both end with the same schema. Rows are never changed: where old rows break a rule, the migration
-- fails, names them all and leaves the database as it was.

DO $$
DECLARE
    elsewhere text;
BEGIN
    SELECT string_agg(schemaname, ', ') INTO elsewhere FROM pg_tables
    WHERE tablename = 'campaign_client_settings' AND schemaname <> current_schema();
    IF elsewhere IS NOT NULL THEN
        RAISE EXCEPTION 'the platform''s tables are in schema %, but this login creates tables in %', elsewhere, current_schema()
            USING HINT = 'Nothing was changed. Set the search_path of this role or database to that schema.';
    END IF;
END
$$;

CREATE TABLE IF NOT EXISTS users (
    id            serial PRIMARY KEY,
    username      varchar(80),
    email         varchar(120),
    password_hash varchar(128),
    role          varchar(10),
    status        varchar(20),
    full_name     varchar(100),
    company_name  varchar(100),
    created_at    timestamptz,
    updated_at    timestamptz
);

CREATE TABLE IF NOT EXISTS clients (
    id                serial PRIMARY KEY,
    client_identifier varchar(50),
    name              varchar(100),
    department        varchar(100),
    status            varchar(20),
    notes             text,
    created_by        integer,
    created_at        timestamptz,
    updated_at        timestamptz
);

CREATE TABLE IF NOT EXISTS pjsip_endpoints (
    id                varchar(40) PRIMARY KEY,
    client_id         integer,
    transport         varchar(40),
    aors              varchar(200),
    auth              varchar(40),
    context           varchar(80),
    disallow          varchar(200),
    allow             varchar(200),
    direct_media      varchar(10),
    outbound_auth     varchar(40),
    from_user         varchar(80),
    from_domain       varchar(80),
    callerid          varchar(80),
    config_updated_at timestamptz
);

CREATE TABLE IF NOT EXISTS pjsip_aors (
    id                varchar(40) PRIMARY KEY,
    client_id         integer,
    contact           varchar(255),
    max_contacts      integer,
    qualify_frequency integer,
    config_updated_at timestamptz
);

CREATE TABLE IF NOT EXISTS pjsip_auths (
    id                varchar(40) PRIMARY KEY,
    client_id         integer,
    auth_type         varchar(20),
    username          varchar(80),
    password          varchar(128),
    realm             varchar(80),
    config_updated_at timestamptz
);

CREATE TABLE IF NOT EXISTS dids (
    id          serial PRIMARY KEY,
    number      varchar(50),
    user_id     integer,
    status      varchar(20),
    description varchar(255),
    created_at  timestamptz,
    updated_at  timestamptz
);

CREATE TABLE IF NOT EXISTS campaigns (
    id                   serial PRIMARY KEY,
    user_id              integer,
    name                 varchar(100),
    status               varchar(20),
    routing_strategy     varchar(20),
    dial_timeout_seconds integer,
    description          text,
    created_at           timestamptz,
    updated_at           timestamptz
);

CREATE TABLE IF NOT EXISTS campaign_dids (
    campaign_id integer,
    did_id      integer,
    PRIMARY KEY (campaign_id, did_id)
);

CREATE TABLE IF NOT EXISTS campaign_client_settings (
    id                  serial PRIMARY KEY,
    campaign_id         integer,
    client_id           integer,
    status              varchar(20),
    max_concurrency     integer,
    total_calls_allowed integer,
    current_total_calls integer,
    forwarding_priority integer,
    weight              integer,
    created_at          timestamptz,
    updated_at          timestamptz
);

CREATE TABLE IF NOT EXISTS call_logs (
    id                         bigserial PRIMARY KEY,
    user_id                    integer,
    campaign_id                integer,
    did_id                     integer,
    client_id                  integer,
    campaign_client_setting_id integer,
    incoming_did_number        varchar(50),
    caller_id_num              varchar(50),
    caller_id_name             varchar(100),
    timestamp_start            timestamptz,
    timestamp_answered         timestamptz,
    timestamp_end              timestamptz,
    duration_seconds           integer,
    billsec_seconds            integer,
    call_status                varchar(50),
    hangup_cause_code          integer,
    hangup_cause_text          varchar(50),
    asterisk_uniqueid          varchar(50),
    asterisk_linkedid          varchar(50),
    created_at                 timestamptz
);

-- What the columns above must look like once this migration is done. A key is what names a row to
-- a person when it breaks a rule.
CREATE TEMP TABLE wanted_column (
    tbl text, col text, type text, nullable boolean, dflt text, PRIMARY KEY (tbl, col)
) ON COMMIT DROP;

INSERT INTO wanted_column VALUES
    ('users', 'id', 'integer', false, NULL),
    ('clients', 'id', 'integer', false, NULL),
    ('dids', 'id', 'integer', false, NULL),
    ('campaigns', 'id', 'integer', false, NULL),
    ('campaign_client_settings', 'id', 'integer', false, NULL),
    ('call_logs', 'id', 'bigint', false, NULL),

    ('users', 'username', 'character varying(80)', false, NULL),
    ('users', 'email', 'character varying(120)', false, NULL),
    ('users', 'password_hash', 'character varying(128)', false, NULL),
    ('users', 'role', 'character varying(10)', false, '''user'''),
    ('users', 'status', 'character varying(20)', false, '''pending_approval'''),
    ('users', 'full_name', 'character varying(100)', true, NULL),
    ('users', 'company_name', 'character varying(100)', true, NULL),
    ('users', 'created_at', 'timestamp with time zone', false, 'now()'),
    ('users', 'updated_at', 'timestamp with time zone', false, 'now()'),

    ('clients', 'client_identifier', 'character varying(50)', false, NULL),
    ('clients', 'name', 'character varying(100)', false, NULL),
    ('clients', 'department', 'character varying(100)', true, NULL),
    ('clients', 'status', 'character varying(20)', false, '''active'''),
    ('clients', 'notes', 'text', true, NULL),
    ('clients', 'created_by', 'integer', true, NULL),
    ('clients', 'created_at', 'timestamp with time zone', false, 'now()'),
    ('clients', 'updated_at', 'timestamp with time zone', false, 'now()'),

    ('pjsip_endpoints', 'id', 'character varying(40)', false, NULL),
    ('pjsip_endpoints', 'client_id', 'integer', false, NULL),
    ('pjsip_endpoints', 'transport', 'character varying(40)', true, NULL),
    ('pjsip_endpoints', 'aors', 'character varying(200)', true, NULL),
    ('pjsip_endpoints', 'auth', 'character varying(40)', true, NULL),
    ('pjsip_endpoints', 'context', 'character varying(80)', false, NULL),
    ('pjsip_endpoints', 'disallow', 'character varying(200)', true, '''all'''),
    ('pjsip_endpoints', 'allow', 'character varying(200)', true, '''ulaw,alaw,gsm'''),
    ('pjsip_endpoints', 'direct_media', 'character varying(10)', true, '''no'''),
    ('pjsip_endpoints', 'outbound_auth', 'character varying(40)', true, NULL),
    ('pjsip_endpoints', 'from_user', 'character varying(80)', true, NULL),
    ('pjsip_endpoints', 'from_domain', 'character varying(80)', true, NULL),
    ('pjsip_endpoints', 'callerid', 'character varying(80)', true, NULL),
    ('pjsip_endpoints', 'config_updated_at', 'timestamp with time zone', true, 'now()'),

    ('pjsip_aors', 'id', 'character varying(40)', false, NULL),
    ('pjsip_aors', 'client_id', 'integer', false, NULL),
    ('pjsip_aors', 'contact', 'character varying(255)', false, NULL),
    ('pjsip_aors', 'max_contacts', 'integer', true, '1'),
    ('pjsip_aors', 'qualify_frequency', 'integer', true, '60'),
    ('pjsip_aors', 'config_updated_at', 'timestamp with time zone', true, 'now()'),

    ('pjsip_auths', 'id', 'character varying(40)', false, NULL),
    ('pjsip_auths', 'client_id', 'integer', false, NULL),
    ('pjsip_auths', 'auth_type', 'character varying(20)', true, '''userpass'''),
    ('pjsip_auths', 'username', 'character varying(80)', true, NULL),
    ('pjsip_auths', 'password', 'character varying(128)', true, NULL),
    ('pjsip_auths', 'realm', 'character varying(80)', true, NULL),
    ('pjsip_auths', 'config_updated_at', 'timestamp with time zone', true, 'now()'),

    ('dids', 'number', 'character varying(50)', false, NULL),
    ('dids', 'user_id', 'integer', false, NULL),
    ('dids', 'status', 'character varying(20)', false, '''active'''),
    ('dids', 'description', 'character varying(255)', true, NULL),
    ('dids', 'created_at', 'timestamp with time zone', false, 'now()'),
    ('dids', 'updated_at', 'timestamp with time zone', false, 'now()'),

    ('campaigns', 'user_id', 'integer', false, NULL),
    ('campaigns', 'name', 'character varying(100)', false, NULL),
    ('campaigns', 'status', 'character varying(20)', false, '''active'''),
    ('campaigns', 'routing_strategy', 'character varying(20)', false, '''priority'''),
    ('campaigns', 'dial_timeout_seconds', 'integer', false, '30'),
    ('campaigns', 'description', 'text', true, NULL),
    ('campaigns', 'created_at', 'timestamp with time zone', false, 'now()'),
    ('campaigns', 'updated_at', 'timestamp with time zone', false, 'now()'),

    ('campaign_dids', 'campaign_id', 'integer', false, NULL),
    ('campaign_dids', 'did_id', 'integer', false, NULL),

    ('campaign_client_settings', 'campaign_id', 'integer', false, NULL),
    ('campaign_client_settings', 'client_id', 'integer', false, NULL),
    ('campaign_client_settings', 'status', 'character varying(20)', false, '''active'''),
    ('campaign_client_settings', 'max_concurrency', 'integer', false, '1'),
    ('campaign_client_settings', 'total_calls_allowed', 'integer', true, NULL),
    ('campaign_client_settings', 'current_total_calls', 'integer', false, '0'),
    ('campaign_client_settings', 'forwarding_priority', 'integer', false, '0'),
    ('campaign_client_settings', 'weight', 'integer', false, '100'),
    ('campaign_client_settings', 'created_at', 'timestamp with time zone', false, 'now()'),
    ('campaign_client_settings', 'updated_at', 'timestamp with time zone', false, 'now()'),

    ('call_logs', 'user_id', 'integer', true, NULL),
    ('call_logs', 'campaign_id', 'integer', true, NULL),
    ('call_logs', 'did_id', 'integer', true, NULL),
    ('call_logs', 'client_id', 'integer', true, NULL),
    ('call_logs', 'campaign_client_setting_id', 'integer', true, NULL),
    ('call_logs', 'incoming_did_number', 'character varying(50)', false, NULL),
    ('call_logs', 'caller_id_num', 'character varying(50)', true, NULL),
    ('call_logs', 'caller_id_name', 'character varying(100)', true, NULL),
    ('call_logs', 'timestamp_start', 'timestamp with time zone', false, NULL),
    ('call_logs', 'timestamp_answered', 'timestamp with time zone', true, NULL),
    ('call_logs', 'timestamp_end', 'timestamp with time zone', true, NULL),
    ('call_logs', 'duration_seconds', 'integer', true, NULL),
    ('call_logs', 'billsec_seconds', 'integer', true, NULL),
    ('call_logs', 'call_status', 'character varying(50)', false, NULL),
    ('call_logs', 'hangup_cause_code', 'integer', true, NULL),
    ('call_logs', 'hangup_cause_text', 'character varying(50)', true, NULL),
    ('call_logs', 'asterisk_uniqueid', 'character varying(50)', true, NULL),
    ('call_logs', 'asterisk_linkedid', 'character varying(50)', true, NULL),
    ('call_logs', 'created_at', 'timestamp with time zone', false, 'now()');

-- kind: c(heck: ok is the condition), u(nique), f(oreign key: target is the table and what happens
-- on deletion), i(ndex).
CREATE TEMP TABLE wanted_rule (
    tbl text, name text PRIMARY KEY, kind "char", cols text, target text, ok text
) ON COMMIT DROP;

INSERT INTO wanted_rule VALUES
    ('users', 'users_username_key', 'u', 'username', NULL, NULL),
    ('users', 'users_email_key', 'u', 'email', NULL, NULL),
    ('users', 'users_role_check', 'c', 'role', NULL, $$role IN ('admin', 'staff', 'user')$$),
    ('users', 'users_status_check', 'c', 'status', NULL,
        $$status IN ('active', 'inactive', 'pending_approval', 'suspended')$$),

    ('clients', 'clients_client_identifier_key', 'u', 'client_identifier', NULL, NULL),
    ('clients', 'clients_status_check', 'c', 'status', NULL, $$status IN ('active', 'inactive')$$),
    ('clients', 'clients_created_by_fkey', 'f', 'created_by', 'users SET NULL', NULL),

    ('pjsip_endpoints', 'pjsip_endpoints_client_id_key', 'u', 'client_id', NULL, NULL),
    ('pjsip_endpoints', 'pjsip_endpoints_client_id_fkey', 'f', 'client_id', 'clients CASCADE', NULL),
    ('pjsip_aors', 'pjsip_aors_client_id_key', 'u', 'client_id', NULL, NULL),
    ('pjsip_aors', 'pjsip_aors_client_id_fkey', 'f', 'client_id', 'clients CASCADE', NULL),
    ('pjsip_auths', 'pjsip_auths_client_id_key', 'u', 'client_id', NULL, NULL),
    ('pjsip_auths', 'pjsip_auths_client_id_fkey', 'f', 'client_id', 'clients CASCADE', NULL),

    ('dids', 'dids_number_key', 'u', 'number', NULL, NULL),
    ('dids', 'dids_status_check', 'c', 'status', NULL, $$status IN ('active', 'inactive')$$),
    ('dids', 'dids_user_id_fkey', 'f', 'user_id', 'users CASCADE', NULL),
    ('dids', 'dids_user_id_idx', 'i', 'user_id', NULL, NULL),

    ('campaigns', 'campaigns_user_id_name_key', 'u', 'user_id, name', NULL, NULL),
    ('campaigns', 'campaigns_status_check', 'c', 'status', NULL,
        $$status IN ('active', 'inactive', 'paused')$$),
    ('campaigns', 'campaigns_routing_strategy_check', 'c', 'routing_strategy', NULL,
        $$routing_strategy IN ('priority', 'round_robin', 'weighted')$$),
    ('campaigns', 'campaigns_dial_timeout_seconds_check', 'c', 'dial_timeout_seconds', NULL,
        'dial_timeout_seconds > 0'),
    ('campaigns', 'campaigns_user_id_fkey', 'f', 'user_id', 'users CASCADE', NULL),

    ('campaign_dids', 'campaign_dids_campaign_id_fkey', 'f', 'campaign_id', 'campaigns CASCADE', NULL),
    ('campaign_dids', 'campaign_dids_did_id_fkey', 'f', 'did_id', 'dids CASCADE', NULL),
    ('campaign_dids', 'campaign_dids_did_id_idx', 'i', 'did_id', NULL, NULL),

    ('campaign_client_settings', 'campaign_client_settings_campaign_id_client_id_key', 'u',
        'campaign_id, client_id', NULL, NULL),
    ('campaign_client_settings', 'campaign_client_settings_status_check', 'c', 'status', NULL,
        $$status IN ('active', 'inactive')$$),
    ('campaign_client_settings', 'campaign_client_settings_max_concurrency_check', 'c',
        'max_concurrency', NULL, 'max_concurrency >= 1'),
    ('campaign_client_settings', 'campaign_client_settings_total_calls_allowed_check', 'c',
        'total_calls_allowed', NULL, 'total_calls_allowed >= 0'),
    ('campaign_client_settings', 'campaign_client_settings_current_total_calls_check', 'c',
        'current_total_calls', NULL, 'current_total_calls >= 0'),
    ('campaign_client_settings', 'campaign_client_settings_weight_check', 'c', 'weight', NULL,
        'weight > 0'),
    ('campaign_client_settings', 'campaign_client_settings_campaign_id_fkey', 'f', 'campaign_id',
        'campaigns CASCADE', NULL),
    ('campaign_client_settings', 'campaign_client_settings_client_id_fkey', 'f', 'client_id',
        'clients CASCADE', NULL),
    ('campaign_client_settings', 'campaign_client_settings_client_id_idx', 'i', 'client_id', NULL, NULL),

    ('call_logs', 'call_logs_asterisk_uniqueid_key', 'u', 'asterisk_uniqueid', NULL, NULL),
    ('call_logs', 'call_logs_duration_seconds_check', 'c', 'duration_seconds', NULL,
        'duration_seconds >= 0'),
    ('call_logs', 'call_logs_billsec_seconds_check', 'c', 'billsec_seconds', NULL,
        'billsec_seconds >= 0'),
    ('call_logs', 'call_logs_user_id_fkey', 'f', 'user_id', 'users SET NULL', NULL),
    ('call_logs', 'call_logs_campaign_id_fkey', 'f', 'campaign_id', 'campaigns SET NULL', NULL),
    ('call_logs', 'call_logs_did_id_fkey', 'f', 'did_id', 'dids SET NULL', NULL),
    ('call_logs', 'call_logs_client_id_fkey', 'f', 'client_id', 'clients SET NULL', NULL),
    ('call_logs', 'call_logs_campaign_client_setting_id_fkey', 'f', 'campaign_client_setting_id',
        'campaign_client_settings SET NULL', NULL),
    ('call_logs', 'call_logs_timestamp_start_idx', 'i', 'timestamp_start', NULL, NULL),
    ('call_logs', 'call_logs_user_id_idx', 'i', 'user_id', NULL, NULL),
    ('call_logs', 'call_logs_campaign_id_idx', 'i', 'campaign_id', NULL, NULL),
    ('call_logs', 'call_logs_did_id_idx', 'i', 'did_id', NULL, NULL),
    ('call_logs', 'call_logs_client_id_idx', 'i', 'client_id', NULL, NULL),
    ('call_logs', 'call_logs_campaign_client_setting_id_idx', 'i', 'campaign_client_setting_id', NULL, NULL);

DO $takeover$
DECLARE
    w         record;
    same      record;
    bad_rows  text;
    row_key   text;
    problems  text[] := '{}';
    -- At most this many rows are named for each rule.
    shown     constant int := 20;
BEGIN
    -- 1. Column types, keys and sequences.
    FOR w IN
        SELECT c.*, format_type(a.atttypid, a.atttypmod) AS has
        FROM wanted_column c
        LEFT JOIN pg_attribute a ON a.attrelid = c.tbl::regclass AND a.attname = c.col AND NOT a.attisdropped
    LOOP
        IF w.has IS NULL THEN
            problems := problems || format('%s.%s: the column is missing', w.tbl, w.col);
        ELSIF w.has <> w.type
            AND NOT (w.has = 'timestamp without time zone' AND w.type = 'timestamp with time zone') THEN
            problems := problems || format('%s.%s: the type is %s, not %s', w.tbl, w.col, w.has, w.type);
        ELSIF w.col = 'id' AND w.type IN ('integer', 'bigint') AND NOT EXISTS (
            SELECT FROM pg_attribute a WHERE a.attrelid = w.tbl::regclass AND a.attname = 'id'
                AND (a.attidentity <> '' OR a.atthasdef)) THEN
            problems := problems || format('%s.id: it has no sequence', w.tbl);
        END IF;
    END LOOP;
    FOR w IN SELECT DISTINCT tbl FROM wanted_column LOOP
        IF NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = w.tbl::regclass AND i.indisprimary) THEN
            problems := problems || format('%s: it has no primary key', w.tbl);
        END IF;
    END LOOP;
    IF problems <> '{}' THEN
        RAISE EXCEPTION USING ERRCODE = 'datatype_mismatch',
            MESSAGE = 'this database is not a v3.0 platform''s: its columns differ',
            DETAIL = array_to_string(problems, E'\n'),
            HINT = 'Nothing was changed. Migrate a database that is empty or that v3.0 created.';
    END IF;

    -- 2. Old rows that break a rule, all of them before anything is altered.
    FOR w IN
        SELECT tbl, col || ' is null' AS rule, format('%I IS NOT NULL', col) AS ok
        FROM wanted_column WHERE NOT nullable
        UNION ALL
        SELECT tbl, 'not ' || ok, ok FROM wanted_rule WHERE kind = 'c'
        UNION ALL
        SELECT tbl, cols || ' is not unique', format('(SELECT count(*) FROM %I o WHERE (%s) = (%s)) <= 1', tbl,
               regexp_replace(cols, '(\w+)', 'o.\1', 'g'), regexp_replace(cols, '(\w+)', 't.\1', 'g'))
        FROM wanted_rule r WHERE kind = 'u'
            -- an index already guarantees it: the check below would read the table once per row
            AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = r.tbl::regclass AND i.indisunique
                AND i.indpred IS NULL
                AND (SELECT string_agg(a.attname, ', ' ORDER BY k.n) FROM unnest(i.indkey) WITH ORDINALITY k(att, n)
                     JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.att) = r.cols)
        UNION ALL
        SELECT tbl, format('%s is not in %s', cols, split_part(target, ' ', 1)),
               format('t.%I IS NULL OR EXISTS (SELECT FROM %I p WHERE p.id = t.%1$I)', cols, split_part(target, ' ', 1))
        FROM wanted_rule WHERE kind = 'f'
    LOOP
        row_key := CASE w.tbl WHEN 'campaign_dids' THEN 'campaign_id || ''/'' || did_id' ELSE 'id' END;
        EXECUTE format('SELECT string_agg(k, '', '') FILTER (WHERE n <= %s) || CASE WHEN count(*) > %1$s THEN format('' and %%s more'', count(*) - %1$s) ELSE '''' END
                        FROM (SELECT (%s)::text AS k, row_number() OVER (ORDER BY %2$s) AS n FROM %I t WHERE NOT (%s)) bad',
                       shown, row_key, w.tbl, w.ok) INTO bad_rows;
        IF bad_rows IS NOT NULL THEN
            problems := problems || format('%s: %s: id %s', w.tbl, w.rule, bad_rows);
        END IF;
    END LOOP;
    IF problems <> '{}' THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation',
            MESSAGE = 'rows of this database break the rules that are to be added',
            DETAIL = array_to_string(problems, E'\n'),
            HINT = 'Nothing was changed. Correct these rows and run it again.';
    END IF;

    -- 3. A timestamp without time zone holds UTC in v3.0. Converted while the session's time zone is
    --    UTC, PostgreSQL does not rewrite the table.
    PERFORM set_config('timezone', 'UTC', true);
    FOR w IN
        SELECT c.tbl, string_agg(format('ALTER COLUMN %I DROP DEFAULT, ALTER COLUMN %1$I TYPE timestamptz', c.col), ', ') AS changes
        FROM wanted_column c
        JOIN pg_attribute a ON a.attrelid = c.tbl::regclass AND a.attname = c.col AND NOT a.attisdropped
        WHERE a.atttypid = 'timestamp'::regtype
        GROUP BY c.tbl
    LOOP
        EXECUTE format('ALTER TABLE %I %s', w.tbl, w.changes);
    END LOOP;

    -- 4. Defaults and NOT NULL.
    FOR w IN SELECT * FROM wanted_column LOOP
        IF w.dflt IS NOT NULL THEN
            EXECUTE format('ALTER TABLE %I ALTER COLUMN %I SET DEFAULT %s', w.tbl, w.col, w.dflt);
        END IF;
        EXECUTE format('ALTER TABLE %I ALTER COLUMN %I %s NOT NULL', w.tbl, w.col,
                       CASE WHEN w.nullable THEN 'DROP' ELSE 'SET' END);
    END LOOP;

    -- 5. Constraints and indexes: what is there under another name is renamed, a foreign key that
    --    acts otherwise on deletion is replaced.
    FOR w IN SELECT * FROM wanted_rule ORDER BY kind = 'f', name LOOP
        SELECT NULL::name AS conname, NULL::oid AS index INTO same;
        IF w.kind = 'c' THEN
            EXECUTE format('ALTER TABLE %I DROP CONSTRAINT IF EXISTS %I', w.tbl, w.name);
            EXECUTE format('ALTER TABLE %I ADD CONSTRAINT %I CHECK (%s)', w.tbl, w.name, w.ok);
        ELSIF w.kind = 'f' THEN
            FOR same IN
                SELECT k.conname FROM pg_constraint k
                JOIN pg_attribute a ON a.attrelid = k.conrelid AND k.conkey = ARRAY[a.attnum]
                WHERE k.conrelid = w.tbl::regclass AND k.contype = 'f' AND a.attname = w.cols
            LOOP
                EXECUTE format('ALTER TABLE %I DROP CONSTRAINT %I', w.tbl, same.conname);
            END LOOP;
            EXECUTE format('ALTER TABLE %I ADD CONSTRAINT %I FOREIGN KEY (%s) REFERENCES %I (id) ON DELETE %s',
                           w.tbl, w.name, w.cols, split_part(w.target, ' ', 1), substr(w.target, strpos(w.target, ' ') + 1));
        ELSE
            SELECT k.conname, i.indexrelid AS index INTO same
            FROM pg_index i LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid AND k.contype = 'u'
            WHERE i.indrelid = w.tbl::regclass AND NOT i.indisprimary AND i.indpred IS NULL AND i.indexprs IS NULL
              AND i.indisunique = (w.kind = 'u')
              AND (SELECT string_agg(a.attname, ', ' ORDER BY c.n) FROM unnest(i.indkey) WITH ORDINALITY c(att, n)
                   JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = c.att) = w.cols
            ORDER BY k.conname NULLS LAST LIMIT 1;
            IF same.index IS NULL THEN
                EXECUTE CASE w.kind
                    WHEN 'u' THEN format('ALTER TABLE %I ADD CONSTRAINT %I UNIQUE (%s)', w.tbl, w.name, w.cols)
                    ELSE format('CREATE INDEX %I ON %I (%s)', w.name, w.tbl, w.cols) END;
            ELSIF w.kind = 'u' AND same.conname IS NULL THEN
                EXECUTE format('ALTER TABLE %I ADD CONSTRAINT %I UNIQUE USING INDEX %s', w.tbl, w.name, same.index::regclass);
            ELSIF w.kind = 'u' AND same.conname <> w.name THEN
                EXECUTE format('ALTER TABLE %I RENAME CONSTRAINT %I TO %I', w.tbl, same.conname, w.name);
            ELSIF w.kind = 'i' AND same.index::regclass::text <> w.name THEN
                EXECUTE format('ALTER INDEX %s RENAME TO %I', same.index::regclass, w.name);
            END IF;
        END IF;
    END LOOP;
END
$takeover$;
