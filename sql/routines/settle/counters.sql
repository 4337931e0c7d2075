-- These keep current_total_calls = total_calls_base + the setting's ANSWERED call_logs (triggers: 0003_counters).

-- A setting begins without records.
CREATE OR REPLACE FUNCTION cc_begin_total_calls() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.total_calls_base := NEW.current_total_calls;
    RETURN NEW;
END $$;

-- The counter was set, by the CLI, v3.0's back end or psql. From here on it counts from the new value.
--
-- Why this is exact while calls are being logged: PostgreSQL takes the row's lock before it calls a
-- BEFORE UPDATE trigger, and the count below is a statement of its own, with a snapshot taken after
-- that (the function is VOLATILE). A logger writes its record and then adds one to this row, in one
-- transaction. So it has either
--   - committed both before we got the lock: its record is counted here and its one is in OLD; or
--   - not yet come to the row: its record is not visible here, and it waits for us and adds its one
--     to the new value, which is base + count, so that both sides grow by one.
-- Having added its one without having committed is impossible: it would hold the lock.
-- The same holds for the removal of records (cc_forget_total_calls), which moves the base of this row in its own
-- transaction. Under a stricter isolation level the snapshot is older, but then a row that has changed since is refused
-- as a serialization failure.
--
-- capconduit.repair is how `db verify --repair` puts the counter right without moving the base.
CREATE OR REPLACE FUNCTION cc_rebase_total_calls() RETURNS trigger LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF current_setting('capconduit.repair', true) = 'on' THEN
        NEW.total_calls_base := coalesce(NEW.total_calls_base, OLD.total_calls_base);
        RETURN NEW;
    END IF;
    SELECT NEW.current_total_calls - count(*) INTO NEW.total_calls_base
    FROM call_logs l
    WHERE l.campaign_client_setting_id = NEW.id AND l.call_status = 'ANSWERED';
    RETURN NEW;
END $$;

-- Old records are removed: the calls stay counted, now in the base. The rows are locked in the order
-- of their ids, so that two removals at once do not wait for each other.
CREATE OR REPLACE FUNCTION cc_forget_total_calls() RETURNS trigger LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM FROM campaign_client_settings s
    WHERE s.id IN (SELECT g.campaign_client_setting_id FROM gone g WHERE g.call_status = 'ANSWERED')
    ORDER BY s.id FOR NO KEY UPDATE;
    UPDATE campaign_client_settings s SET total_calls_base = s.total_calls_base + g.answered
    FROM (SELECT campaign_client_setting_id, count(*) AS answered FROM gone
          WHERE call_status = 'ANSWERED' GROUP BY 1) g
    WHERE s.id = g.campaign_client_setting_id;
    RETURN NULL;
END $$;

-- TRUNCATE has no transition table, but holds off every logger before it calls this.
CREATE OR REPLACE FUNCTION cc_forget_all_total_calls() RETURNS trigger LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    UPDATE campaign_client_settings s SET total_calls_base = s.total_calls_base + l.answered
    FROM (SELECT campaign_client_setting_id, count(*) AS answered FROM call_logs
          WHERE call_status = 'ANSWERED' GROUP BY 1) l
    WHERE s.id = l.campaign_client_setting_id;
    RETURN NULL;
END $$;
