-- Sample data for a database of its own (capconduit db seed). Nobody can log in with it: a password
-- hash of '!' matches no password. The clients' contacts are on this machine.

INSERT INTO users (username, email, password_hash, role, status, full_name, company_name) VALUES
    ('admin', 'admin@sample.invalid', '!', 'admin', 'active', 'Ada Admin', NULL),
    ('staff', 'staff@sample.invalid', '!', 'staff', 'active', 'Sam Staff', NULL),
    ('alice', 'alice@sample.invalid', '!', 'user', 'active', 'Alice Seller', 'Alice Leads'),
    ('bob', 'bob@sample.invalid', '!', 'user', 'active', 'Bob Seller', 'Bob Media');

INSERT INTO clients (client_identifier, name, department, status, notes, created_by)
SELECT v.*, u.id FROM users u, (VALUES
    ('acme', 'Acme Support', 'Sales', 'active', 'Open 24 hours'),
    ('borealis', 'Borealis Call Centre', 'Sales', 'active', 'Authenticates our calls'),
    ('cygnus', 'Cygnus Contact', 'Service', 'active', NULL),
    ('dormant', 'Dormant Desk', NULL, 'inactive', 'Contract ended')
) AS v (client_identifier) WHERE u.username = 'admin' ORDER BY v.client_identifier;

INSERT INTO pjsip_aors (id, client_id, contact)
SELECT c.client_identifier, c.id, 'sip:127.0.0.1:' || (5070 + c.id)
FROM clients c;

INSERT INTO pjsip_auths (id, client_id, auth_type, username, password)
SELECT c.client_identifier, c.id, 'userpass', 'capconduit', 'sample-password'
FROM clients c WHERE c.client_identifier = 'borealis';

INSERT INTO pjsip_endpoints (id, client_id, aors, context, outbound_auth)
SELECT c.client_identifier, c.id, c.client_identifier, 'from-client',
       (SELECT a.id FROM pjsip_auths a WHERE a.client_id = c.id)
FROM clients c;

INSERT INTO dids (number, user_id, status, description)
SELECT v.number, u.id, v.status, v.description
FROM (VALUES
    ('+18005550101', 'alice', 'active', 'Television'),
    ('+18005550102', 'alice', 'active', 'Web search'),
    ('+18005550103', 'bob', 'active', 'Radio'),
    ('+18005550104', 'bob', 'inactive', 'Retired')
) AS v (number, username, status, description) JOIN users u USING (username)
ORDER BY v.number;

INSERT INTO campaigns (user_id, name, routing_strategy, dial_timeout_seconds, description)
SELECT u.id, v.name, v.strategy, v.dial_timeout, v.description
FROM (VALUES
    ('alice', 'Alice Priority', 'priority', 20, 'Acme first, then the others'),
    ('alice', 'Alice Round Robin', 'round_robin', 20, 'In turn'),
    ('bob', 'Bob Weighted', 'weighted', 25, '70 to 30')
) AS v (username, name, strategy, dial_timeout, description) JOIN users u USING (username)
ORDER BY v.name;

INSERT INTO campaign_dids (campaign_id, did_id)
SELECT g.id, d.id
FROM (VALUES
    ('Alice Priority', '+18005550101'),
    ('Alice Round Robin', '+18005550102'),
    ('Bob Weighted', '+18005550103'),
    ('Bob Weighted', '+18005550104')
) AS v (campaign, number) JOIN campaigns g ON g.name = v.campaign JOIN dids d ON d.number = v.number;

INSERT INTO campaign_client_settings
    (campaign_id, client_id, max_concurrency, total_calls_allowed, forwarding_priority, weight)
SELECT g.id, c.id, v.max_concurrency, v.total, v.priority, v.weight
FROM (VALUES
    ('Alice Priority', 'acme', 5, 1000, 0, 100),
    ('Alice Priority', 'borealis', 3, NULL, 1, 100),
    ('Alice Priority', 'cygnus', 10, NULL, 2, 100),
    ('Alice Round Robin', 'acme', 4, NULL, 0, 100),
    ('Alice Round Robin', 'cygnus', 4, NULL, 0, 100),
    ('Bob Weighted', 'acme', 20, NULL, 0, 70),
    ('Bob Weighted', 'borealis', 20, NULL, 0, 30)
) AS v (campaign, client, max_concurrency, total, priority, weight)
JOIN campaigns g ON g.name = v.campaign JOIN clients c ON c.client_identifier = v.client
ORDER BY g.id, v.priority, c.id;

INSERT INTO call_logs (user_id, campaign_id, did_id, client_id, campaign_client_setting_id,
    incoming_did_number, caller_id_num, caller_id_name, timestamp_start, timestamp_answered, timestamp_end,
    duration_seconds, billsec_seconds, call_status, hangup_cause_code, hangup_cause_text,
    asterisk_uniqueid, asterisk_linkedid)
SELECT g.user_id, g.id, d.id, s.client_id, s.id, d.number, v.caller, v.name, v.start,
       v.start + make_interval(secs => v.duration - v.billsec) , v.start + make_interval(secs => v.duration),
       v.duration, coalesce(v.billsec, 0), v.status, v.cause, v.cause_text, 'sample-' || v.n, 'sample-' || v.n
FROM (VALUES
    (1, '+18005550101', 'Alice Priority', 'acme', '+12125550147', 'J Smith', now() - interval '3 hours', 190, 178, 'ANSWERED', 16, 'Normal Clearing'),
    (2, '+18005550101', 'Alice Priority', 'acme', '+12125550148', NULL, now() - interval '2 hours', 64, 55, 'ANSWERED', 16, 'Normal Clearing'),
    (3, '+18005550101', 'Alice Priority', 'cygnus', '+12125550149', NULL, now() - interval '90 minutes', 21, NULL, 'NOANSWER', 19, 'No answer from user'),
    (4, '+18005550102', 'Alice Round Robin', NULL, '+12125550150', NULL, now() - interval '80 minutes', 0, NULL, 'REJECTED_CC', 34, 'No circuit available'),
    (5, '+18005550103', 'Bob Weighted', 'borealis', '+442071838750', 'Küche, "Zoë"', now() - interval '1 hour', 305, 299, 'ANSWERED', 16, 'Normal Clearing'),
    (6, '+18005550103', 'Bob Weighted', 'acme', '+442071838751', NULL, now() - interval '20 minutes', 7, NULL, 'ABANDONED', 16, 'Normal Clearing')
) AS v (n, number, campaign, client, caller, name, start, duration, billsec, status, cause, cause_text)
JOIN dids d ON d.number = v.number
JOIN campaigns g ON g.name = v.campaign
LEFT JOIN clients c ON c.client_identifier = v.client
LEFT JOIN campaign_client_settings s ON s.campaign_id = g.id AND s.client_id = c.id
ORDER BY v.n;

-- The counters agree with the records.
UPDATE campaign_client_settings s SET current_total_calls = (
    SELECT count(*) FROM call_logs l WHERE l.campaign_client_setting_id = s.id AND l.call_status = 'ANSWERED');
