-- Tools of the other routines: rights of functions, their replacement, ids and locks of calls. The tables: tables.sql.

-- Makes a function run with its owner's rights and look up names only where the platform's tables are (pg_temp is
-- named, or it would go first). Only roles that it is granted to may call it: grants by ALTER DEFAULT PRIVILEGES are
-- taken away.
CREATE OR REPLACE FUNCTION cc_as_owner(p_function regproc) RETURNS void LANGUAGE plpgsql AS $$
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

-- Takes a table from everybody but its owner, grants by ALTER DEFAULT PRIVILEGES included.
CREATE OR REPLACE FUNCTION cc_owner_only(p_table regclass) RETURNS void LANGUAGE plpgsql AS $$
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

-- Functions are replaced while calls go on: a running claim has looked up some of its functions and will look up others
-- by their names. A function with the same arguments and results is replaced in place (CREATE OR REPLACE). One that
-- programs call may change them: cc_drop renames the old one, which then calls the new one, created in the same
-- transaction. (Not renamed, it would make calls ambiguous; dropped, it would be missed by a claim that has just looked
-- it up.) A function that only functions call keeps its arguments or gets another name.
CREATE OR REPLACE FUNCTION cc_drop(VARIADIC p_names text[]) RETURNS void LANGUAGE plpgsql
SET check_function_bodies = off AS $$
DECLARE
    thing record;
BEGIN
    FOR thing IN
        SELECT p.proname, p.oid::regprocedure AS old, format('was_%s_%s', p.proname, p.oid) AS aside,
               pg_get_function_arguments(p.oid) AS arguments, pg_get_function_result(p.oid) AS result,
               coalesce((SELECT string_agg(quote_ident(a.name), ', ' ORDER BY a.place)
                         FROM unnest(p.proargnames, p.proargmodes) WITH ORDINALITY a (name, mode, place)
                         WHERE a.mode = 'o'), '*') AS columns,
               (SELECT string_agg('$' || n, ', ' ORDER BY n) FROM generate_series(1, p.pronargs) n) AS given
        FROM pg_proc p
        WHERE p.pronamespace = current_schema()::regnamespace AND p.proname = ANY (p_names)
    LOOP
        EXECUTE format('ALTER FUNCTION %s RENAME TO %I', thing.old, thing.aside);
        EXECUTE format('CREATE OR REPLACE FUNCTION %I(%s) RETURNS %s LANGUAGE sql AS %L', thing.aside, thing.arguments,
                       thing.result, format('SELECT %s FROM %I(%s)', thing.columns, thing.proname, thing.given));
    END LOOP;
END $$;

-- Drops the functions put aside, once no claim runs that began before this; claims that take longer than 5 s are not
-- waited for. The last part of a migration.
CREATE OR REPLACE FUNCTION cc_drop_aside() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    aside   constant regprocedure[] := ARRAY(
        SELECT p.oid FROM pg_proc p
        WHERE p.pronamespace = current_schema()::regnamespace AND p.proname ~ '^was_cc_[a-z_]+_[0-9]+$');
    running constant text[] := ARRAY(
        SELECT l.virtualtransaction FROM pg_locks l JOIN pg_stat_activity s ON s.pid = l.pid
        WHERE aside <> '{}' AND l.locktype = 'virtualxid' AND l.pid <> pg_backend_pid() AND s.datname = current_database());
    thing   regprocedure;
BEGIN
    FOR i IN 1..50 LOOP
        EXIT WHEN NOT EXISTS (SELECT FROM pg_locks l
                              WHERE l.locktype = 'virtualxid' AND l.virtualtransaction = ANY (running));
        PERFORM pg_sleep(0.1);
    END LOOP;
    FOREACH thing IN ARRAY aside LOOP
        EXECUTE 'DROP FUNCTION ' || thing;
    END LOOP;
END $$;

-- The part that an id shares with the unique id of its channel: an id that does not fit, or that another call had, ends
-- in `~` and 16 hexadecimal digits (src/model/call_id.rs makes the former, cc_call_id the latter).
CREATE OR REPLACE FUNCTION cc_call_tail(p_call_id text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT right(regexp_replace(p_call_id, '~[0-9a-f]{16}$', ''), 33) $$;

SELECT cc_drop('cc_call_lock');

-- The key of a call's lock. cc_route and cc_log_call of one call never overlap: a claim that was
-- still under way when the caller hung up is either seen by the logger or refused as call_ended.
CREATE OR REPLACE FUNCTION cc_call_lock(p_call_id text) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT hashtextextended(cc_call_tail(p_call_id), 0) $$;

-- The id under which a call is kept. Unique ids come twice: from a server that was restored from a snapshot, or from
-- two servers with the same systemname. A call is told from another one by when it came in and what number it called;
-- the second gets an id of its own. p_start null: not known, the ids alone decide. Called under the call's lock.
CREATE OR REPLACE FUNCTION cc_call_id(p_uniqueid text, p_did text, p_start timestamptz) RETURNS text
LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF p_start IS NOT NULL AND (
        -- where a start is not known, the number decides
        SELECT bool_and(coalesce(known.start <> p_start, known.did <> p_did, false))
        FROM (SELECT l.timestamp_start, l.incoming_did_number FROM call_logs l WHERE l.asterisk_uniqueid = p_uniqueid
              UNION ALL
              SELECT a.call_started_at, a.incoming_did_number FROM call_attempts a WHERE a.asterisk_uniqueid = p_uniqueid
              UNION ALL
              SELECT e.call_started_at, NULL FROM call_endings e WHERE e.asterisk_uniqueid = p_uniqueid
             ) known (start, did)) THEN
        RETURN cc_call_tail(p_uniqueid) || '~'
            || left(md5(concat_ws(' ', p_uniqueid, p_did, extract(epoch FROM p_start))), 16);
    END IF;
    RETURN p_uniqueid;
END $$;

-- After it gets its lock, a claim or a record must see what others have committed. A stricter isolation level would
-- hide that, and caps would break.
CREATE OR REPLACE FUNCTION cc_require_read_committed() RETURNS void
LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'transaction isolation is %, not read committed', current_setting('transaction_isolation')
            USING HINT = 'Set default_transaction_isolation to read committed for this database and role.';
    END IF;
END $$;

-- Whether an attempt counts as a live call. The planner inlines it.
CREATE OR REPLACE FUNCTION cc_in_flight(p_released_at timestamptz, p_lease_expires_at timestamptz, p_at timestamptz)
RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT p_released_at IS NULL AND p_lease_expires_at > p_at $$;
