-- A v3.0 platform's database as its ORM creates it: no CHECK constraints, no database defaults, the
-- ORM's names for indexes, some timestamps without time zone (UTC by convention). With data.

CREATE TABLE users (
	id SERIAL NOT NULL,
	username VARCHAR(80) NOT NULL,
	email VARCHAR(120) NOT NULL,
	password_hash VARCHAR(128) NOT NULL,
	role VARCHAR(10) NOT NULL,
	status VARCHAR(20) NOT NULL,
	full_name VARCHAR(100),
	company_name VARCHAR(100),
	created_at TIMESTAMP WITHOUT TIME ZONE NOT NULL,
	updated_at TIMESTAMP WITHOUT TIME ZONE NOT NULL,
	PRIMARY KEY (id)
);
CREATE UNIQUE INDEX ix_users_username ON users (username);
CREATE UNIQUE INDEX ix_users_email ON users (email);

CREATE TABLE clients (
	id SERIAL NOT NULL,
	client_identifier VARCHAR(50) NOT NULL,
	name VARCHAR(100) NOT NULL,
	department VARCHAR(100),
	status VARCHAR(20) NOT NULL,
	notes TEXT,
	created_by INTEGER,
	created_at TIMESTAMP WITH TIME ZONE NOT NULL,
	updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
	PRIMARY KEY (id),
	CONSTRAINT uq_client_identifier UNIQUE (client_identifier),
	FOREIGN KEY(created_by) REFERENCES users (id) ON DELETE SET NULL
);

CREATE TABLE pjsip_endpoints (
	id VARCHAR(40) NOT NULL,
	client_id INTEGER NOT NULL,
	transport VARCHAR(40),
	aors VARCHAR(200),
	auth VARCHAR(40),
	context VARCHAR(80) NOT NULL,
	disallow VARCHAR(200),
	allow VARCHAR(200),
	direct_media VARCHAR(10),
	outbound_auth VARCHAR(40),
	from_user VARCHAR(80),
	from_domain VARCHAR(80),
	callerid VARCHAR(80),
	config_updated_at TIMESTAMP WITHOUT TIME ZONE,
	PRIMARY KEY (id),
	UNIQUE (client_id),
	FOREIGN KEY(client_id) REFERENCES clients (id) ON DELETE CASCADE
);

CREATE TABLE pjsip_aors (
	id VARCHAR(40) NOT NULL,
	client_id INTEGER NOT NULL,
	contact VARCHAR(255) NOT NULL,
	max_contacts INTEGER,
	qualify_frequency INTEGER,
	config_updated_at TIMESTAMP WITHOUT TIME ZONE,
	PRIMARY KEY (id),
	UNIQUE (client_id),
	-- made by hand once, without an action
	CONSTRAINT aors_client FOREIGN KEY(client_id) REFERENCES clients (id)
);

CREATE TABLE pjsip_auths (
	id VARCHAR(40) NOT NULL,
	client_id INTEGER NOT NULL,
	auth_type VARCHAR(20),
	username VARCHAR(80),
	password VARCHAR(128),
	realm VARCHAR(80),
	config_updated_at TIMESTAMP WITHOUT TIME ZONE,
	PRIMARY KEY (id),
	UNIQUE (client_id),
	FOREIGN KEY(client_id) REFERENCES clients (id) ON DELETE CASCADE
);

CREATE TABLE dids (
	id SERIAL NOT NULL,
	number VARCHAR(50) NOT NULL,
	user_id INTEGER NOT NULL,
	status VARCHAR(20) NOT NULL,
	description VARCHAR(255),
	created_at TIMESTAMP WITH TIME ZONE NOT NULL,
	updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
	PRIMARY KEY (id),
	FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX ix_dids_number ON dids (number);
CREATE INDEX ix_dids_user_id ON dids (user_id);

CREATE TABLE campaigns (
	id SERIAL NOT NULL,
	user_id INTEGER NOT NULL,
	name VARCHAR(100) NOT NULL,
	status VARCHAR(20) NOT NULL,
	routing_strategy VARCHAR(20) NOT NULL,
	dial_timeout_seconds INTEGER NOT NULL,
	description TEXT,
	created_at TIMESTAMP WITH TIME ZONE NOT NULL,
	updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
	PRIMARY KEY (id),
	CONSTRAINT uq_user_campaign UNIQUE (user_id, name),
	FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);

CREATE TABLE campaign_dids (
	campaign_id INTEGER NOT NULL,
	did_id INTEGER NOT NULL,
	PRIMARY KEY (campaign_id, did_id),
	FOREIGN KEY(campaign_id) REFERENCES campaigns (id) ON DELETE CASCADE,
	FOREIGN KEY(did_id) REFERENCES dids (id) ON DELETE CASCADE
);

CREATE TABLE campaign_client_settings (
	id SERIAL NOT NULL,
	campaign_id INTEGER NOT NULL,
	client_id INTEGER NOT NULL,
	status VARCHAR(20) NOT NULL,
	max_concurrency INTEGER NOT NULL,
	total_calls_allowed INTEGER,
	current_total_calls INTEGER NOT NULL,
	forwarding_priority INTEGER NOT NULL,
	weight INTEGER NOT NULL,
	created_at TIMESTAMP WITH TIME ZONE NOT NULL,
	updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
	PRIMARY KEY (id),
	CONSTRAINT uq_campaign_client UNIQUE (campaign_id, client_id),
	FOREIGN KEY(campaign_id) REFERENCES campaigns (id) ON DELETE CASCADE,
	FOREIGN KEY(client_id) REFERENCES clients (id) ON DELETE CASCADE
);

CREATE TABLE call_logs (
	id BIGSERIAL NOT NULL,
	user_id INTEGER,
	campaign_id INTEGER,
	did_id INTEGER,
	client_id INTEGER,
	campaign_client_setting_id INTEGER,
	incoming_did_number VARCHAR(50) NOT NULL,
	caller_id_num VARCHAR(50),
	caller_id_name VARCHAR(100),
	timestamp_start TIMESTAMP WITHOUT TIME ZONE NOT NULL,
	timestamp_answered TIMESTAMP WITHOUT TIME ZONE,
	timestamp_end TIMESTAMP WITHOUT TIME ZONE,
	duration_seconds INTEGER,
	billsec_seconds INTEGER,
	call_status VARCHAR(50) NOT NULL,
	hangup_cause_code INTEGER,
	hangup_cause_text VARCHAR(50),
	asterisk_uniqueid VARCHAR(50),
	asterisk_linkedid VARCHAR(50),
	created_at TIMESTAMP WITHOUT TIME ZONE NOT NULL,
	PRIMARY KEY (id),
	FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE SET NULL,
	FOREIGN KEY(campaign_id) REFERENCES campaigns (id) ON DELETE SET NULL,
	FOREIGN KEY(did_id) REFERENCES dids (id) ON DELETE SET NULL,
	FOREIGN KEY(client_id) REFERENCES clients (id) ON DELETE SET NULL,
	FOREIGN KEY(campaign_client_setting_id) REFERENCES campaign_client_settings (id) ON DELETE SET NULL
);
CREATE UNIQUE INDEX ix_call_logs_asterisk_uniqueid ON call_logs (asterisk_uniqueid);
CREATE INDEX ix_call_logs_timestamp_start ON call_logs (timestamp_start);

INSERT INTO users (username, email, password_hash, role, status, full_name, created_at, updated_at)
SELECT 'user' || n, 'user' || n || '@v3.invalid', '$2b$12$' || repeat('x', 53),
       (ARRAY['admin', 'staff', 'user'])[1 + n % 3],
       (ARRAY['active', 'inactive', 'pending_approval', 'suspended'])[1 + n % 4], 'Zoë "' || n || '"',
       timestamp '2024-03-31 02:30:00' + n * interval '1 day', timestamp '2024-10-27 02:30:00.123456'
FROM generate_series(1, 40) n;

-- longer than an endpoint's name can be: valid in v3.0
INSERT INTO clients (client_identifier, name, status, notes, created_by, created_at, updated_at)
SELECT 'client_' || n || CASE WHEN n = 7 THEN repeat('y', 40) ELSE '' END, 'Client; ''' || n, (ARRAY['active', 'inactive'])[1 + n % 2],
       E'two\nlines', 1 + n % 5, '2024-05-01 00:00:00+02', '2024-05-02 00:00:00-07'
FROM generate_series(1, 30) n;

INSERT INTO pjsip_endpoints (id, client_id, aors, context, allow)
SELECT client_identifier, id, client_identifier, 'from-clients', 'ulaw' FROM clients WHERE id % 3 <> 0 AND id <> 7;
INSERT INTO pjsip_aors (id, client_id, contact, config_updated_at)
SELECT client_identifier, id, 'sip:10.0.0.' || id, '2024-01-01' FROM clients WHERE id % 3 <> 0 AND id <> 7;
INSERT INTO pjsip_auths (id, client_id, auth_type, username, password)
SELECT client_identifier, id, 'userpass', 'u', 'p;a"s''s' FROM clients WHERE id % 5 = 1;

INSERT INTO dids (number, user_id, status, created_at, updated_at)
SELECT '+1800555' || 1000 + n, 1 + n % 40, (ARRAY['active', 'inactive'])[1 + n % 2], now(), now() FROM generate_series(1, 100) n;
INSERT INTO campaigns (user_id, name, status, routing_strategy, dial_timeout_seconds, created_at, updated_at)
SELECT 1 + n % 40, 'Campaign', (ARRAY['active', 'inactive', 'paused'])[1 + n % 3],
       (ARRAY['priority', 'round_robin', 'weighted'])[1 + n % 3], 10 + n, now(), now() FROM generate_series(1, 40) n;
-- each DID in a campaign of its owner
INSERT INTO campaign_dids SELECT 1 + (n - 1) % 40, n FROM generate_series(1, 100) n;
INSERT INTO campaign_client_settings (campaign_id, client_id, status, max_concurrency, total_calls_allowed,
    current_total_calls, forwarding_priority, weight, created_at, updated_at)
SELECT c, 1 + (c + k) % 30, 'active', k, NULLIF(k * 100, 300), 7 * k, k - 3, 10 * k, now(), now()
FROM generate_series(1, 40) c, generate_series(1, 5) k;
INSERT INTO call_logs (user_id, campaign_id, did_id, client_id, campaign_client_setting_id, incoming_did_number,
    caller_id_num, caller_id_name, timestamp_start, timestamp_answered, timestamp_end, duration_seconds,
    billsec_seconds, call_status, hangup_cause_code, asterisk_uniqueid, asterisk_linkedid, created_at)
SELECT 1 + n % 40, NULLIF(1 + n % 41, 41), 1 + n % 100, NULLIF(1 + n % 31, 31), NULLIF(1 + n % 201, 201), '+1800555' || 1000 + n % 100,
       CASE WHEN n % 7 > 0 THEN '+1212555' || n END, 'Größe ' || n, timestamp '2024-03-31 01:59:59.5' + n * interval '1 minute',
       CASE WHEN n % 2 = 0 THEN timestamp '2024-03-31 02:00:00' + n * interval '1 minute' END,
       timestamp '2024-03-31 02:10:00' + n * interval '1 minute', 600, 590,
       (ARRAY['ANSWERED', 'REJECTED_owner_inactive', 'BUSY', 'some old status'])[1 + n % 4], 16,
       CASE WHEN n % 50 > 0 THEN '1711849' || n || '.' || n END, NULL, now()
FROM generate_series(1, 3000) n;
