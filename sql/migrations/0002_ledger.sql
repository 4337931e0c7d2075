-- The ledger of attempts, and the state of whose turn it is.

-- How long a call may last. Dial's L() enforces it, so that a live call cannot outlive its lease.
ALTER TABLE campaigns ADD COLUMN IF NOT EXISTS max_call_seconds integer NOT NULL DEFAULT 14400
    CONSTRAINT campaigns_max_call_seconds_check CHECK (max_call_seconds BETWEEN 1 AND 86400);

-- One row per attempt to place a call with a client. Live concurrency is counted here and stored
-- nowhere else. There are no foreign keys on purpose: an attempt is a fact that outlives the rows it
-- names, and a claim must not lock them.
CREATE TABLE call_attempts (
    id                         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    asterisk_uniqueid          varchar(50) NOT NULL,
    asterisk_linkedid          varchar(50),
    system_name                varchar(50),
    attempt_number             integer NOT NULL CHECK (attempt_number >= 1),
    user_id                    integer NOT NULL,
    campaign_id                integer NOT NULL,
    did_id                     integer NOT NULL,
    client_id                  integer NOT NULL,
    campaign_client_setting_id integer NOT NULL,
    incoming_did_number        varchar(50) NOT NULL,
    caller_id_num              varchar(50),
    caller_id_name             varchar(100),
    claimed_at                 timestamptz NOT NULL,
    lease_expires_at           timestamptz NOT NULL,
    released_at                timestamptz,
    -- failover: the dialplan asked for the next client; hangup: the call ended; what `call reap`
    -- closed: expired, asterisk_restarted, channel_gone
    release_reason             varchar(20),
    dial_status                varchar(20),
    hangup_cause_code          integer,
    -- answered and over, but not yet in current_total_calls: the record is still to reach the HTTP
    -- back end, which counts it. Holds its place in the total until then.
    count_pending              boolean NOT NULL DEFAULT false,
    CONSTRAINT call_attempts_call_key UNIQUE (asterisk_uniqueid, attempt_number),
    CONSTRAINT call_attempts_release_check CHECK ((released_at IS NULL) = (release_reason IS NULL))
);
-- What holds a place in a campaign's caps: small, however long the ledger grows.
CREATE INDEX call_attempts_open_idx ON call_attempts (campaign_id, client_id)
    WHERE released_at IS NULL OR count_pending;
CREATE INDEX call_attempts_claimed_at_idx ON call_attempts (claimed_at);

-- Calls that are over but whose record is not in call_logs, because it goes to the HTTP back end:
-- nothing may be claimed for them any more. `call reap` forgets them after a day.
CREATE TABLE call_endings (
    asterisk_uniqueid varchar(50) PRIMARY KEY,
    ended_at          timestamptz NOT NULL DEFAULT now()
);

-- Whose turn it is (no foreign key: a claim must not wait for a campaign's removal), one row per group of links that take turns: the links of one
-- forwarding_priority (priority), or all links of the campaign (round_robin, weighted: tier 0).
CREATE TABLE routing_turns (
    campaign_id     integer NOT NULL,
    tier            integer NOT NULL,
    -- round_robin: the link that got the last call
    last_setting_id integer,
    -- priority, weighted: link id -> calls it is owed
    owed            jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (campaign_id, tier)
) WITH (fillfactor = 50);
