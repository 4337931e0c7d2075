-- Who may do what: the grants and row policies of the roles in database_roles.
--
--   cc_seller_user_id  the seller that this session is, by its login
--   cc_is_seller       whether it is a seller's at all
--   cc_remove_own      a seller's removal of what is his
--   cc_password_set    whether a user has a password, for logins that may not see the hash
--   cc_grant_access    applies all of it again: after each step of a migration, and by `db roles`

-- A seller who is not active sees nothing. By session_user: neither SET ROLE nor owner's rights change it.
CREATE OR REPLACE FUNCTION cc_seller_user_id() RETURNS integer LANGUAGE sql STABLE AS $$
    SELECT r.user_id FROM database_roles r JOIN users u ON u.id = r.user_id AND u.status = 'active'
    WHERE r.role_name = session_user AND r.purpose = 'seller'
$$;
SELECT cc_as_owner('cc_seller_user_id');

-- By the group: a login whose user is gone is still a seller's, and sees nothing.
CREATE OR REPLACE FUNCTION cc_is_seller() RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM database_roles r JOIN pg_roles g ON g.rolname = r.role_name
        WHERE r.purpose = 'seller_group' AND pg_has_role(session_user, g.oid, 'USAGE')
          -- the login that made the roles may be a member of them all, and a superuser is
          AND NOT pg_has_role(session_user, (SELECT c.relowner FROM pg_class c WHERE c.oid = 'database_roles'::regclass), 'USAGE'))
$$;
SELECT cc_as_owner('cc_is_seller');

-- Removes a seller's own did, campaign or campaign_client_settings row, or a DID's link to his campaign
-- (campaign_dids: the campaign's id and the DID's). Returns how many rows went.
--
-- Sellers have no DELETE: on any table it permits LOCK TABLE, in modes that stop all calls. A function locks what it
-- removes. They have UPDATE and INSERT on columns only, which permits no LOCK either.
CREATE OR REPLACE FUNCTION cc_remove_own(p_table text, p_id integer, p_did_id integer DEFAULT NULL)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    me   constant integer := cc_seller_user_id();
    gone bigint;
BEGIN
    IF me IS NULL THEN
        RAISE EXCEPTION 'login % is not an active seller''s', session_user USING ERRCODE = 'insufficient_privilege';
    END IF;
    CASE p_table
        WHEN 'dids' THEN
            DELETE FROM dids d WHERE d.id = p_id AND d.user_id = me;
        WHEN 'campaigns' THEN
            DELETE FROM campaigns g WHERE g.id = p_id AND g.user_id = me;
        WHEN 'campaign_client_settings' THEN
            DELETE FROM campaign_client_settings s USING campaigns g
            WHERE s.id = p_id AND g.id = s.campaign_id AND g.user_id = me;
        WHEN 'campaign_dids' THEN
            DELETE FROM campaign_dids k USING campaigns g
            WHERE k.campaign_id = p_id AND k.did_id = p_did_id AND g.id = k.campaign_id AND g.user_id = me;
        ELSE
            RAISE EXCEPTION 'a seller removes nothing from %', p_table USING ERRCODE = 'insufficient_privilege';
    END CASE;
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone;
END $$;
SELECT cc_as_owner('cc_remove_own');

CREATE OR REPLACE FUNCTION cc_password_set(p_user_id integer) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT u.password_hash LIKE '$2%' FROM users u
    WHERE u.id = p_user_id AND (u.id = cc_seller_user_id() OR NOT cc_is_seller())
$$;
SELECT cc_as_owner('cc_password_set');

-- The rows of a table that sellers see (p_using) and may leave behind (p_check, where that is more). All other roles
-- see all rows, as without a policy: the web back end's login need not be the owner's.
CREATE OR REPLACE FUNCTION cc_guard_rows(p_table text, p_group text, p_using text, p_check text DEFAULT NULL)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    -- what is there already is left alone: a policy's change stops all calls for a moment
    mark constant text := md5(concat_ws(chr(10), p_group, p_using, p_check));
BEGIN
    IF EXISTS (SELECT FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
               WHERE c.oid = to_regclass(p_table) AND c.relrowsecurity AND p.polname = 'cc_seller'
                 AND obj_description(p.oid, 'pg_policy') = mark
                 AND EXISTS (SELECT FROM pg_policy e WHERE e.polrelid = p.polrelid AND e.polname = 'cc_everyone')
                 AND p.polroles = ARRAY(SELECT oid FROM pg_roles WHERE rolname = p_group)) THEN
        RETURN;
    END IF;
    EXECUTE format('DROP POLICY IF EXISTS cc_everyone ON %I', p_table);
    EXECUTE format('DROP POLICY IF EXISTS cc_seller ON %I', p_table);
    EXECUTE format('CREATE POLICY cc_everyone ON %I USING (true) WITH CHECK (true)', p_table);
    EXECUTE format('CREATE POLICY cc_seller ON %I AS RESTRICTIVE TO %I USING (%s) WITH CHECK (%s)',
                   p_table, p_group, p_using, coalesce(p_check, p_using));
    EXECUTE format('COMMENT ON POLICY cc_seller ON %I IS %L', p_table, mark);
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', p_table);
END $$;

CREATE OR REPLACE FUNCTION cc_grant_access() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    schema constant text := current_schema();
    me     constant text := '(SELECT cc_seller_user_id())';
    -- the views come after what reads this first
    tables constant text[] := ARRAY(SELECT t.name FROM cc_tables() t WHERE to_regclass(t.name) IS NOT NULL);
    tbl    record;
    role   record;
    thing  text;
    seller_group text;
BEGIN
    -- A login that may attach an owner's-rights trigger function to a table of its own has the owner's rights. A
    -- trigger that is there needs no such right to fire.
    FOR thing IN SELECT p.oid::regprocedure || ' FROM ' || CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END
                 FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
                 WHERE p.pronamespace = schema::regnamespace AND p.proname ~ '^cc_' AND p.prorettype = 'trigger'::regtype
                   AND a.grantee <> p.proowner LOOP
        EXECUTE 'REVOKE ALL ON FUNCTION ' || thing || ' CASCADE';
    END LOOP;
    -- Another login's trigger would run as the owner, in the owner's functions.
    FOR thing IN SELECT format('%s FROM %s', c.oid::regclass, a.grantee)
                 FROM pg_class c, LATERAL (
                     SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS grantee
                     FROM aclexplode(c.relacl) a WHERE a.privilege_type = 'TRIGGER' AND a.grantee <> c.relowner) a
                 WHERE c.relnamespace = schema::regnamespace AND c.relname = ANY (tables) LOOP
        EXECUTE format('REVOKE TRIGGER ON %s CASCADE', thing);
    END LOOP;
    FOR role IN
        SELECT d.role_name, d.purpose, quote_ident(d.role_name) AS name FROM database_roles d
        JOIN pg_roles r ON r.rolname = d.role_name
        WHERE d.purpose <> 'seller' ORDER BY d.role_name
    LOOP
        IF NOT has_schema_privilege(role.role_name, schema, 'USAGE') THEN
            EXECUTE format('GRANT USAGE ON SCHEMA %I TO %s', schema, role.name);
        END IF;
        IF NOT has_database_privilege(role.role_name, current_database(), 'CONNECT') THEN
            EXECUTE format('GRANT CONNECT ON DATABASE %I TO %s', current_database(), role.name);
        END IF;
        -- from nothing, so that a right that a newer release drops is taken away
        FOREACH thing IN ARRAY tables LOOP
            EXECUTE format('REVOKE ALL ON %I FROM %s', thing, role.name);
        END LOOP;
        FOR thing IN SELECT p.oid::regprocedure FROM pg_proc p
                     WHERE p.pronamespace = schema::regnamespace AND p.proname ~ '^cc_' LOOP
            EXECUTE format('REVOKE ALL ON FUNCTION %s FROM %s', thing, role.name);
        END LOOP;

        FOR thing IN SELECT p.oid::regprocedure FROM pg_proc p
                     WHERE p.pronamespace = schema::regnamespace AND p.proname ~ CASE role.purpose
                         WHEN 'agi' THEN '^cc_(route|log_call|release_call)$'
                         WHEN 'admin' THEN '^cc_(route|log_call|release_call|settle_call|call_tail|explain|unsold|'
                             'differences|in_flight|tables|password_set|seller_user_id|is_seller)$'
                         WHEN 'report' THEN '^cc_(explain|unsold|differences|in_flight|password_set)$'
                         WHEN 'seller_group' THEN '^cc_(explain|unsold|in_flight|password_set|remove_own|'
                             'seller_user_id|is_seller)$' END LOOP
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %s', thing, role.name);
        END LOOP;
        IF role.purpose = 'seller_group' THEN
            seller_group := role.role_name;
        END IF;
        FOR tbl IN SELECT * FROM cc_tables() t WHERE t.name = ANY (tables) LOOP
            IF role.purpose = 'asterisk' AND tbl.class = 'view' OR role.purpose = 'admin' AND tbl.class = 'own' THEN
                EXECUTE format('GRANT SELECT ON %I TO %s', tbl.name, role.name);
            ELSIF role.purpose = 'admin' AND tbl.class = 'data' THEN
                EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO %s', tbl.name, role.name);
                PERFORM cc_grant_sequence(tbl.name, role.name);
            ELSIF role.purpose = 'report' AND tbl.class = 'data' THEN
                PERFORM cc_grant_columns('SELECT', tbl.name, role.name,
                    (SELECT string_agg(a.attname, ',' ORDER BY a.attnum) FROM pg_attribute a
                     WHERE a.attrelid = tbl.name::regclass AND a.attnum > 0 AND NOT a.attisdropped
                       AND a.attname !~ 'password|secret'));
            ELSIF role.purpose = 'seller_group' THEN
                PERFORM cc_grant_columns('SELECT', tbl.name, role.name, tbl.reads),
                        cc_grant_columns('INSERT', tbl.name, role.name, tbl.adds),
                        cc_grant_columns('UPDATE', tbl.name, role.name, tbl.changes);
                IF tbl.adds IS NOT NULL THEN
                    PERFORM cc_grant_sequence(tbl.name, role.name);
                END IF;
            END IF;
        END LOOP;
    END LOOP;

    FOR tbl IN SELECT * FROM cc_tables() t WHERE t.sees IS NOT NULL AND seller_group IS NOT NULL LOOP
        PERFORM cc_guard_rows(tbl.name, seller_group, format(tbl.sees, me), format(tbl.leaves, me));
    END LOOP;
END $$;

DROP FUNCTION IF EXISTS cc_grant_functions(text, text);
SELECT cc_drop('cc_grant_columns');

-- Columns are text, as cc_tables has them.
CREATE OR REPLACE FUNCTION cc_grant_columns(p_right text, p_table text, p_role text, p_columns text)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF p_columns IS NOT NULL THEN
        EXECUTE format('GRANT %s %s ON %I TO %s', p_right, (
            SELECT '(' || string_agg(quote_ident(c), ', ') || ')' FROM unnest(string_to_array(nullif(p_columns, '*'), ',')) c),
            p_table, p_role);
    END IF;
END $$;

-- Numbers for new rows; an identity column needs no grant, but takes one.
CREATE OR REPLACE FUNCTION cc_grant_sequence(p_table text, p_role text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    sequence text;
BEGIN
    IF EXISTS (SELECT FROM pg_attribute WHERE attrelid = p_table::regclass AND attname = 'id' AND NOT attisdropped) THEN
        sequence := pg_get_serial_sequence(p_table, 'id');
        IF sequence IS NOT NULL THEN
            EXECUTE format('GRANT USAGE ON SEQUENCE %s TO %s', sequence, p_role);
        END IF;
    END IF;
END $$;
