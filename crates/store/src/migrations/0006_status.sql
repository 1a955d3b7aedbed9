CREATE TABLE status_threshold (
    component TEXT NOT NULL,
    severity BIGINT NOT NULL,
    warning_at BIGINT NOT NULL,
    critical_at BIGINT NOT NULL,
    PRIMARY KEY (component, severity)
);
CREATE TABLE status_tally (
    component TEXT NOT NULL,
    severity BIGINT NOT NULL,
    quarter BIGINT NOT NULL,
    messages BIGINT NOT NULL,
    PRIMARY KEY (component, severity, quarter)
);
INSERT INTO status_tally (component, severity, quarter, messages)
SELECT status_message.component, severity, recorded_at / 900000, COUNT(*)
FROM status_message LEFT JOIN component ON component.name = status_message.component
WHERE recorded_at >= COALESCE(component.tally_reset_at, 0)
GROUP BY status_message.component, severity, recorded_at / 900000;
CREATE TABLE status_rule (
    name TEXT PRIMARY KEY,
    place BIGINT NOT NULL,
    enabled BIGINT NOT NULL,
    source TEXT,
    site_code TEXT,
    machine TEXT,
    component TEXT,
    message_type BIGINT,
    severity BIGINT,
    message_id BIGINT,
    property TEXT,
    property_value TEXT,
    writes BIGINT NOT NULL,
    write_days BIGINT,
    forwards BIGINT NOT NULL,
    to_syslog BIGINT NOT NULL,
    to_email BIGINT NOT NULL,
    to_webhook BIGINT NOT NULL,
    stops BIGINT NOT NULL
);
ALTER TABLE status_message ADD COLUMN deletable_after BIGINT;
DROP INDEX status_message_by_component;
CREATE INDEX status_message_by_component ON status_message (component, id);
CREATE INDEX status_message_by_severity ON status_message (severity, id);
CREATE INDEX status_message_by_message_id ON status_message (message_id, id);
CREATE INDEX status_message_by_time ON status_message (recorded_at, id);
CREATE INDEX status_message_by_deletion ON status_message (deletable_after) WHERE deletable_after IS NOT NULL;
CREATE TABLE alert (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    target TEXT NOT NULL,
    rule TEXT NOT NULL,
    message TEXT NOT NULL,
    state TEXT NOT NULL,
    raised_at BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    next_attempt_at BIGINT NOT NULL,
    failure TEXT,
    changed_at BIGINT NOT NULL
);
CREATE INDEX alert_by_state ON alert (state, target, id);
CREATE INDEX alert_by_change ON alert (changed_at);
CREATE TABLE system_status (
    object TEXT PRIMARY KEY,
    place TEXT NOT NULL,
    free_kib BIGINT NOT NULL,
    total_kib BIGINT NOT NULL,
    health TEXT NOT NULL,
    checked_at BIGINT NOT NULL
);
CREATE TABLE system_threshold (
    object TEXT PRIMARY KEY,
    warning_kib BIGINT NOT NULL,
    critical_kib BIGINT NOT NULL
);
