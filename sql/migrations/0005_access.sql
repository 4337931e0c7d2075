-- Which of the cluster's roles are this database's, and for what. `capconduit db roles` creates them;
-- cc_grant_access (sql/routines/access.sql) gives each what its purpose needs.
CREATE TABLE database_roles (
    role_name  text PRIMARY KEY,
    -- asterisk: realtime; agi: the per-call programs; admin; report: reads, but no password;
    -- seller_group: holds what sellers may do; seller: a seller's login
    purpose    text NOT NULL CHECK (purpose IN ('asterisk', 'agi', 'admin', 'report', 'seller_group', 'seller')),
    user_id    integer REFERENCES users ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    CHECK (user_id IS NULL OR purpose = 'seller')
);
CREATE UNIQUE INDEX database_roles_user_id_key ON database_roles (user_id);
-- There is one of each of the others.
CREATE UNIQUE INDEX database_roles_purpose_key ON database_roles (purpose) WHERE purpose <> 'seller';
-- Whoever could write here could make himself another seller.
SELECT cc_owner_only('database_roles');

CREATE TRIGGER "Audit" AFTER INSERT OR UPDATE OR DELETE ON database_roles
    FOR EACH ROW EXECUTE FUNCTION cc_audit();
