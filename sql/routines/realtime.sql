-- What Asterisk reads live (extconfig.conf): views under the names of its own tooling over the
-- pjsip_* tables. Inactive clients are left out, bookkeeping columns hidden. Asterisk applies the
-- columns in order, so disallow stands before allow; NULL means its default. Replaced, not dropped: grants on them
-- stay. security_barrier: otherwise a reader's own function would be called with the rows that are left out, passwords
-- included.

CREATE OR REPLACE VIEW ps_endpoints WITH (security_barrier) AS
SELECT e.id, e.transport, e.aors, e.auth, e.context, e.disallow, e.allow, e.direct_media,
       e.outbound_auth, e.from_user, e.from_domain, e.callerid,
       -- asked for by modules that a site may load besides ours
       NULL::text AS mailboxes,
       -- src/model/pjsip_options.rs
       e.rtp_symmetric, e.force_rport, e.rewrite_contact, e.ice_support, e.dtmf_mode, e.media_encryption,
       e.media_encryption_optimistic, e.media_address, e.bind_rtp_to_media_address,
       e.asymmetric_rtp_codec, e.use_ptime, e.rtp_keepalive,
       -- A party that has gone without a BYE would be billed, and hold its place, until the longest call is over.
       -- Media that do not pass Asterisk cannot be missed.
       coalesce(e.rtp_timeout, CASE WHEN e.direct_media = 'yes' THEN 0 ELSE 120 END) AS rtp_timeout,
       coalesce(e.rtp_timeout_hold, CASE WHEN e.direct_media = 'yes' THEN 0 ELSE 1800 END) AS rtp_timeout_hold,
       e."100rel", e.inband_progress, e.ignore_183_without_sdp, e.timers, e.timers_min_se,
       e.timers_sess_expires, e.outbound_proxy, 'no'::varchar(3) AS allow_transfer, e.suppress_q850_reason_headers,
       e.send_pai, e.send_rpid, e.trust_id_inbound, e.trust_id_outbound, e.callerid_privacy,
       e.send_diversion, e.user_eq_phone, e.contact_user,
       'no-messages'::text AS message_context
FROM pjsip_endpoints e JOIN clients c ON c.id = e.client_id
WHERE c.status = 'active';

CREATE OR REPLACE VIEW ps_aors WITH (security_barrier) AS
SELECT a.id, a.contact, a.max_contacts, a.qualify_frequency, NULL::text AS mailboxes,
       -- src/model/pjsip_options.rs
       a.qualify_timeout, a.qualify_2xx_only, a.authenticate_qualify, a.outbound_proxy
FROM pjsip_aors a JOIN clients c ON c.id = a.client_id
WHERE c.status = 'active';

CREATE OR REPLACE VIEW ps_auths WITH (security_barrier) AS
SELECT a.id, a.auth_type, a.username, a.password, a.realm
FROM pjsip_auths a JOIN clients c ON c.id = a.client_id
WHERE c.status = 'active';
