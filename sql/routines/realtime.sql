-- What Asterisk reads live (extconfig.conf): views under the names of its own tooling over the
-- pjsip_* tables. Inactive clients are left out, bookkeeping columns hidden. Asterisk applies the
-- columns in order, so disallow stands before allow; NULL means its default. Replaced, not
-- dropped: grants on them stay.

CREATE OR REPLACE VIEW ps_endpoints AS
SELECT e.id, e.transport, e.aors, e.auth, e.context, e.disallow, e.allow, e.direct_media,
       e.outbound_auth, e.from_user, e.from_domain, e.callerid,
       -- asked for by modules that a site may load besides ours
       NULL::text AS mailboxes
FROM pjsip_endpoints e JOIN clients c ON c.id = e.client_id
WHERE c.status = 'active';

CREATE OR REPLACE VIEW ps_aors AS
SELECT a.id, a.contact, a.max_contacts, a.qualify_frequency, NULL::text AS mailboxes
FROM pjsip_aors a JOIN clients c ON c.id = a.client_id
WHERE c.status = 'active';

CREATE OR REPLACE VIEW ps_auths AS
SELECT a.id, a.auth_type, a.username, a.password, a.realm
FROM pjsip_auths a JOIN clients c ON c.id = a.client_id
WHERE c.status = 'active';
