CREATE TABLE device (
    hash TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    failures BIGINT NOT NULL,
    locked_until BIGINT,
    changed_at BIGINT NOT NULL
);
CREATE INDEX device_by_account ON device (account);
CREATE INDEX device_by_time ON device (changed_at);
