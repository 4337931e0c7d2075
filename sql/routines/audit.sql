-- Where a change is recorded. The table of the audit and its functions are of 0004_audit.
--
-- Where a table has no such trigger yet: CREATE TRIGGER holds off whoever writes to it. The name stands before the
-- cascades' own ("RI_..."): a parent is recorded before what goes with it. What leaves out what calls do is of
-- 0004_audit: triggers of settings and of call records. But that of 0004 for a change of a setting names columns.
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
