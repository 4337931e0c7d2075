-- Options of PJSIP endpoints and AORs beyond the v3.0 columns, under Asterisk's own names. Null
-- leaves Asterisk its default. What a value may be is checked by the CLI (src/realtime/options.rs),
-- not here: Asterisk's own tooling and v3.0's back end may write what this release does not know.

ALTER TABLE pjsip_endpoints
    ADD COLUMN IF NOT EXISTS rtp_symmetric                varchar(3),
    ADD COLUMN IF NOT EXISTS force_rport                  varchar(3),
    ADD COLUMN IF NOT EXISTS rewrite_contact              varchar(3),
    ADD COLUMN IF NOT EXISTS ice_support                  varchar(3),
    ADD COLUMN IF NOT EXISTS dtmf_mode                    varchar(30),
    ADD COLUMN IF NOT EXISTS media_encryption             varchar(30),
    ADD COLUMN IF NOT EXISTS media_encryption_optimistic  varchar(3),
    ADD COLUMN IF NOT EXISTS media_address                varchar(45),
    ADD COLUMN IF NOT EXISTS bind_rtp_to_media_address    varchar(3),
    ADD COLUMN IF NOT EXISTS asymmetric_rtp_codec         varchar(3),
    ADD COLUMN IF NOT EXISTS use_ptime                    varchar(3),
    ADD COLUMN IF NOT EXISTS rtp_keepalive                integer,
    ADD COLUMN IF NOT EXISTS rtp_timeout                  integer,
    ADD COLUMN IF NOT EXISTS rtp_timeout_hold             integer,
    ADD COLUMN IF NOT EXISTS "100rel"                     varchar(30),
    ADD COLUMN IF NOT EXISTS inband_progress              varchar(3),
    ADD COLUMN IF NOT EXISTS ignore_183_without_sdp       varchar(3),
    ADD COLUMN IF NOT EXISTS timers                       varchar(30),
    ADD COLUMN IF NOT EXISTS timers_min_se                integer,
    ADD COLUMN IF NOT EXISTS timers_sess_expires          integer,
    ADD COLUMN IF NOT EXISTS outbound_proxy               varchar(255),
    ADD COLUMN IF NOT EXISTS allow_transfer               varchar(3),
    ADD COLUMN IF NOT EXISTS suppress_q850_reason_headers varchar(3),
    ADD COLUMN IF NOT EXISTS send_pai                     varchar(3),
    ADD COLUMN IF NOT EXISTS send_rpid                    varchar(3),
    ADD COLUMN IF NOT EXISTS trust_id_inbound             varchar(3),
    ADD COLUMN IF NOT EXISTS trust_id_outbound            varchar(3),
    ADD COLUMN IF NOT EXISTS callerid_privacy             varchar(30),
    ADD COLUMN IF NOT EXISTS send_diversion               varchar(3),
    ADD COLUMN IF NOT EXISTS user_eq_phone                varchar(3),
    ADD COLUMN IF NOT EXISTS contact_user                 varchar(80);

ALTER TABLE pjsip_aors
    ADD COLUMN IF NOT EXISTS qualify_timeout      double precision,
    ADD COLUMN IF NOT EXISTS qualify_2xx_only     varchar(3),
    ADD COLUMN IF NOT EXISTS authenticate_qualify varchar(3),
    ADD COLUMN IF NOT EXISTS outbound_proxy       varchar(255);
