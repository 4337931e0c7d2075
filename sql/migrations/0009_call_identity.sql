-- When the call came in, by its Asterisk's clock (CC_START): with the number that it called, this tells two
-- calls apart that have the same unique id. Null where a program of an older release did not say.

-- As in 0008: given up before PostgreSQL looks for a deadlock, this waits for a call, but no call is refused for it.
SET LOCAL lock_timeout = '500ms';

ALTER TABLE call_attempts ADD COLUMN IF NOT EXISTS call_started_at timestamptz;
ALTER TABLE call_endings ADD COLUMN IF NOT EXISTS call_started_at timestamptz;
