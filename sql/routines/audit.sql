-- The audit of configuration: the triggers that record changes. Migration 0004_audit makes its table.

-- A parent's name. A parent that goes in the same cascade has just been recorded.
CREATE OR REPLACE FUNCTION cc_audit_parent(p_table text, p_id text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT coalesce(
        CASE p_table
            WHEN 'campaigns' THEN (SELECT g.name FROM campaigns g WHERE g.id = p_id::integer)
            WHEN 'clients' THEN (SELECT c.client_identifier FROM clients c WHERE c.id = p_id::integer)
            WHEN 'dids' THEN (SELECT d.number FROM dids d WHERE d.id = p_id::integer)
        END,
        (SELECT a.row_name FROM audit_log a WHERE a.table_name = p_table AND a.row_id = p_id ORDER BY a.id DESC LIMIT 1),
        p_id)
$$;

CREATE OR REPLACE FUNCTION cc_audit_name(p_table text, p_row jsonb) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE p_table
        WHEN 'users' THEN p_row ->> 'username'
        WHEN 'clients' THEN p_row ->> 'client_identifier'
        WHEN 'dids' THEN p_row ->> 'number'
        WHEN 'campaigns' THEN p_row ->> 'name'
        WHEN 'campaign_dids' THEN cc_audit_parent('campaigns', p_row ->> 'campaign_id') || ' / '
                                  || cc_audit_parent('dids', p_row ->> 'did_id')
        WHEN 'campaign_client_settings' THEN cc_audit_parent('campaigns', p_row ->> 'campaign_id') || ' / '
                                             || cc_audit_parent('clients', p_row ->> 'client_id')
        WHEN 'database_roles' THEN p_row ->> 'role_name'
        ELSE p_row ->> 'id'
    END
$$;

-- The audit records that a secret exists or has changed, never the secret.
CREATE OR REPLACE FUNCTION cc_audit_masked(p_row jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(jsonb_object_agg(r.key,
        CASE WHEN r.key ~ 'password|secret' AND r.value <> 'null' THEN '"********"' ELSE r.value END), '{}')
    FROM jsonb_each(p_row) r
$$;

-- For a trigger function that runs as its owner: a login that could attach it to a table of its own could make it
-- record, or run, anything.
CREATE OR REPLACE FUNCTION cc_audit_guard(p_schema text) RETURNS void LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF p_schema <> current_schema() THEN
        RAISE EXCEPTION 'the audit is of the tables in schema %, not of those in %', current_schema(), p_schema
            USING ERRCODE = 'insufficient_privilege';
    END IF;
END $$;

CREATE OR REPLACE FUNCTION cc_audit() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    -- bookkeeping, which adds nothing to `at`
    ignored constant text[] := '{updated_at,config_updated_at,total_calls_base}';
    old_row jsonb := to_jsonb(OLD) - ignored;
    new_row jsonb := to_jsonb(NEW) - ignored;
    known   jsonb := coalesce(to_jsonb(NEW), to_jsonb(OLD));
    changed text[];
BEGIN
    PERFORM cc_audit_guard(TG_TABLE_SCHEMA);
    IF TG_OP = 'UPDATE' THEN
        SELECT array_agg(n.key) INTO changed FROM jsonb_each(new_row) n WHERE old_row -> n.key IS DISTINCT FROM n.value;
        -- when only the base moved, it says what the counter is to be worth
        IF old_row -> 'current_total_calls' = new_row -> 'current_total_calls'
            AND to_jsonb(OLD) -> 'total_calls_base' <> to_jsonb(NEW) -> 'total_calls_base' THEN
            old_row := old_row || jsonb_build_object('total_calls_base', to_jsonb(OLD) -> 'total_calls_base');
            new_row := new_row || jsonb_build_object('total_calls_base', to_jsonb(NEW) -> 'total_calls_base');
            changed := array_append(changed, 'total_calls_base');
        END IF;
        IF changed IS NULL THEN
            RETURN NULL;
        END IF;
        old_row := old_row - ARRAY(SELECT k FROM jsonb_object_keys(old_row) k WHERE k <> ALL (changed));
        new_row := new_row - ARRAY(SELECT k FROM jsonb_object_keys(new_row) k WHERE k <> ALL (changed));
    END IF;
    INSERT INTO audit_log (operator, command, program, action, table_name, row_id, row_name, before, after)
    VALUES (
        nullif(current_setting('capconduit.operator', true), ''), nullif(current_setting('capconduit.command', true), ''),
        nullif(current_setting('application_name'), ''), lower(TG_OP), TG_TABLE_NAME,
        coalesce(known ->> 'id', (known ->> 'campaign_id') || '/' || (known ->> 'did_id')),
        cc_audit_name(TG_TABLE_NAME, known),
        CASE WHEN TG_OP <> 'INSERT' THEN cc_audit_masked(old_row) END,
        CASE WHEN TG_OP <> 'DELETE' THEN cc_audit_masked(new_row) END);
    RETURN NULL;
END $$;
SELECT cc_as_owner('cc_audit');

-- Many rows at once: only their number, and for call records the time of their calls.
CREATE OR REPLACE FUNCTION cc_audit_removal() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    gone_rows jsonb;
BEGIN
    PERFORM cc_audit_guard(TG_TABLE_SCHEMA);
    IF TG_OP <> 'TRUNCATE' THEN
        SELECT jsonb_build_object('rows', count(*), 'from', min(g.timestamp_start), 'to', max(g.timestamp_start))
        INTO gone_rows FROM gone g;
    ELSE
        EXECUTE format('SELECT jsonb_build_object(''rows'', count(*)) FROM %s', TG_RELID::regclass) INTO gone_rows;
    END IF;
    IF gone_rows ->> 'rows' <> '0' THEN
        INSERT INTO audit_log (operator, command, program, action, table_name, before)
        VALUES (
            nullif(current_setting('capconduit.operator', true), ''), nullif(current_setting('capconduit.command', true), ''),
            nullif(current_setting('application_name'), ''), lower(TG_OP), TG_TABLE_NAME, gone_rows);
    END IF;
    RETURN NULL;
END $$;
SELECT cc_as_owner('cc_audit_removal');

-- Where a table has no such trigger yet: CREATE TRIGGER holds off all writers. Its name sorts before the cascades' own
-- ("RI_..."): a parent is recorded before its dependents. The triggers that skip changes made by calls are those of
-- 0004_audit, on settings and call records; but 0004's trigger for a changed setting names columns.
DO $$
DECLARE
    changed constant text := $when$
        to_jsonb(NEW) - '{current_total_calls,total_calls_base,updated_at}'::text[]
            <> to_jsonb(OLD) - '{current_total_calls,total_calls_base,updated_at}'::text[]
        -- a counted call (one more, the base as it was) costs no function call
        OR NEW.current_total_calls <> OLD.current_total_calls
            AND (NEW.current_total_calls <> OLD.current_total_calls + 1
                 OR NEW.total_calls_base <> OLD.total_calls_base
                 OR current_setting('capconduit.repair', true) = 'on')
        -- the removal of old records, which is recorded itself, moves it from within a trigger
        OR NEW.total_calls_base <> OLD.total_calls_base AND pg_trigger_depth() = 0$when$;
    missing text;
BEGIN
    FOR missing IN
        SELECT format('CREATE OR REPLACE TRIGGER %I %s ON %I %s', g.name, g.event, t.name, g.action)
        FROM cc_tables() t, (VALUES
            (NULL, 'Audit', 'AFTER INSERT OR UPDATE OR DELETE', 'FOR EACH ROW EXECUTE FUNCTION cc_audit()', ''),
            (NULL, 'AuditTruncate', 'BEFORE TRUNCATE', 'FOR EACH STATEMENT EXECUTE FUNCTION cc_audit_removal()', ''),
            ('campaign_client_settings', 'AuditUpdate', 'AFTER UPDATE',
             format('FOR EACH ROW WHEN (%s) EXECUTE FUNCTION cc_audit()', changed), 'to_jsonb')
        ) g (of_table, name, event, action, has)
        WHERE t.is_audited AND t.name = coalesce(g.of_table, t.name)
          AND NOT EXISTS (SELECT FROM pg_trigger x WHERE x.tgrelid = to_regclass(t.name) AND x.tgname = g.name
                          AND pg_get_triggerdef(x.oid) ~ g.has)
    LOOP
        EXECUTE missing;
    END LOOP;
END $$;
