-- The audit: every change of configuration, recorded by the database, so that the CLI's, the web back
-- end's and psql's are all in it. What calls do (records, attempts, counting) is not configuration.

-- Makes a function run with its owner's rights, with names looked up only where the platform's tables
-- are (pg_temp is named, or it would go first), and callable only by whom it is granted to: also what
-- ALTER DEFAULT PRIVILEGES gave is taken away.
CREATE FUNCTION cc_as_owner(p_function regproc) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    grantee text;
BEGIN
    EXECUTE format('ALTER FUNCTION %s SECURITY DEFINER SET search_path = %I, pg_temp',
                   p_function::regprocedure, current_schema());
    FOR grantee IN
        SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END
        FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
        WHERE p.oid = p_function AND a.grantee <> p.proowner
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM %s CASCADE', p_function::regprocedure, grantee);
    END LOOP;
END $$;

-- Takes a table from everybody but its owner, also what ALTER DEFAULT PRIVILEGES gave.
CREATE FUNCTION cc_owner_only(p_table regclass) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    grantee text;
BEGIN
    FOR grantee IN
        SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END
        FROM pg_class c, aclexplode(c.relacl) a
        WHERE c.oid = p_table AND a.grantee <> c.relowner
    LOOP
        EXECUTE format('REVOKE ALL ON %s FROM %s CASCADE', p_table, grantee);
    END LOOP;
END $$;

CREATE TABLE audit_log (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- whom the database knows
    login      text NOT NULL DEFAULT session_user,
    -- what the program says of itself: the person and the command of capconduit, null for others
    operator   text,
    command    text,
    program    text,
    action     text NOT NULL CHECK (action IN ('insert', 'update', 'delete', 'truncate')),
    table_name text NOT NULL,
    -- the row's key, and its name among people; null where a statement took many
    row_id     text,
    row_name   text,
    -- an update: the columns that changed; secrets are masked
    before     jsonb,
    after      jsonb
);
CREATE INDEX audit_log_at_idx ON audit_log (at);
CREATE INDEX audit_log_row_idx ON audit_log (table_name, row_id);
SELECT cc_owner_only('audit_log');

-- A parent's name. One that goes in the same cascade has just been recorded.
CREATE FUNCTION cc_audit_parent(p_table text, p_id text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT coalesce(
        CASE p_table
            WHEN 'campaigns' THEN (SELECT g.name FROM campaigns g WHERE g.id = p_id::integer)
            WHEN 'clients' THEN (SELECT c.client_identifier FROM clients c WHERE c.id = p_id::integer)
            WHEN 'dids' THEN (SELECT d.number FROM dids d WHERE d.id = p_id::integer)
        END,
        (SELECT a.row_name FROM audit_log a WHERE a.table_name = p_table AND a.row_id = p_id ORDER BY a.id DESC LIMIT 1),
        p_id)
$$;

CREATE FUNCTION cc_audit_name(p_table text, p_row jsonb) RETURNS text LANGUAGE sql STABLE AS $$
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

-- That a secret is there, or changed, is recorded; what it is is not.
CREATE FUNCTION cc_audit_masked(p_row jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(jsonb_object_agg(r.key,
        CASE WHEN r.key ~ 'password|secret' AND r.value <> 'null' THEN '"********"' ELSE r.value END), '{}')
    FROM jsonb_each(p_row) r
$$;

-- Of a trigger function that runs as its owner: whoever could attach it to a table of his own would have
-- it record, or run, what he likes.
CREATE FUNCTION cc_audit_guard(p_schema text) RETURNS void LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF p_schema <> current_schema() THEN
        RAISE EXCEPTION 'the audit is of the tables in schema %, not of those in %', current_schema(), p_schema
            USING ERRCODE = 'insufficient_privilege';
    END IF;
END $$;

CREATE FUNCTION cc_audit() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    -- bookkeeping, which says nothing that `at` does not
    ignored constant text[] := '{updated_at,config_updated_at,total_calls_base}';
    old_row jsonb := to_jsonb(OLD) - ignored;
    new_row jsonb := to_jsonb(NEW) - ignored;
    known   jsonb := coalesce(to_jsonb(NEW), to_jsonb(OLD));
    changed text[];
BEGIN
    PERFORM cc_audit_guard(TG_TABLE_SCHEMA);
    IF TG_OP = 'UPDATE' THEN
        SELECT array_agg(n.key) INTO changed FROM jsonb_each(new_row) n WHERE old_row -> n.key IS DISTINCT FROM n.value;
        -- moved alone it says what the counter is to be worth
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

-- Many rows at once: how many. Of call records also when their calls were.
CREATE FUNCTION cc_audit_removal() RETURNS trigger LANGUAGE plpgsql AS $$
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

-- The name stands before the cascades' own ("RI_..."): a parent is recorded before what goes with it.
DO $$
DECLARE
    audited text;
BEGIN
    FOREACH audited IN ARRAY '{users,clients,pjsip_endpoints,pjsip_aors,pjsip_auths,dids,campaigns,campaign_dids}'::text[] LOOP
        EXECUTE format('CREATE TRIGGER "Audit" AFTER INSERT OR UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION cc_audit()', audited);
    END LOOP;
    FOREACH audited IN ARRAY
        '{users,clients,pjsip_endpoints,pjsip_aors,pjsip_auths,dids,campaigns,campaign_dids,campaign_client_settings,call_logs}'::text[]
    LOOP
        EXECUTE format('CREATE TRIGGER "AuditTruncate" BEFORE TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION cc_audit_removal()', audited);
    END LOOP;
END $$;

CREATE TRIGGER "Audit" AFTER INSERT OR DELETE ON campaign_client_settings
    FOR EACH ROW EXECUTE FUNCTION cc_audit();
-- A counted call (one more, the base as it was) costs no function call. A column that is added to this
-- table must be added here.
CREATE TRIGGER "AuditUpdate" AFTER UPDATE ON campaign_client_settings FOR EACH ROW
    WHEN ((NEW.id, NEW.campaign_id, NEW.client_id, NEW.status, NEW.max_concurrency, NEW.total_calls_allowed,
           NEW.forwarding_priority, NEW.weight, NEW.created_at)
              IS DISTINCT FROM
          (OLD.id, OLD.campaign_id, OLD.client_id, OLD.status, OLD.max_concurrency, OLD.total_calls_allowed,
           OLD.forwarding_priority, OLD.weight, OLD.created_at)
          OR NEW.current_total_calls <> OLD.current_total_calls
             AND (NEW.current_total_calls <> OLD.current_total_calls + 1
                  OR NEW.total_calls_base <> OLD.total_calls_base
                  OR current_setting('capconduit.repair', true) = 'on')
          -- the removal of old records, which is recorded itself, moves it from within a trigger
          OR NEW.total_calls_base <> OLD.total_calls_base AND pg_trigger_depth() = 0)
    EXECUTE FUNCTION cc_audit();

CREATE TRIGGER "Audit" AFTER DELETE ON call_logs REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION cc_audit_removal();
-- A record is written once. What a removal sets to null in them follows from it, and comes from a trigger.
CREATE TRIGGER "AuditUpdate" AFTER UPDATE ON call_logs REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION cc_audit_removal();
