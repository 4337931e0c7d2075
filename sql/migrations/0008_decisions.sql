-- Why a call went where it went, or nowhere: what a decision was made by, kept with it.

-- Calls take these two tables in either order. Given up before PostgreSQL looks for a deadlock (1 s), this
-- waits for a call, but no call is refused for it.
SET LOCAL lock_timeout = '500ms';

ALTER TABLE call_attempts
    -- the campaign's at the time
    ADD COLUMN IF NOT EXISTS routing_strategy    varchar(20),
    -- strategy priority: the link's at the time
    ADD COLUMN IF NOT EXISTS forwarding_priority integer,
    -- the links that could not get the call, as cc_passed_over writes them; null: none
    ADD COLUMN IF NOT EXISTS passed_over         text;

-- The same of the decision that ended the call.
ALTER TABLE call_logs ADD COLUMN IF NOT EXISTS passed_over text;
