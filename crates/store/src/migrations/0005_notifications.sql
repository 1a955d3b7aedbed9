CREATE TABLE notification (
    notification_key TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    severity TEXT NOT NULL,
    cause TEXT NOT NULL,
    title TEXT NOT NULL,
    body TEXT NOT NULL,
    command TEXT NOT NULL,
    first_seen_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL
);
CREATE TABLE notification_reaction (
    notification_key TEXT NOT NULL REFERENCES notification (notification_key) ON DELETE CASCADE,
    user_name TEXT NOT NULL,
    severity TEXT NOT NULL,
    cause TEXT NOT NULL,
    snoozed_until BIGINT,
    recorded_at BIGINT NOT NULL,
    PRIMARY KEY (notification_key, user_name)
);
