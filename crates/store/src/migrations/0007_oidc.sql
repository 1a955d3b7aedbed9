ALTER TABLE account ADD COLUMN subject TEXT;
CREATE UNIQUE INDEX account_by_subject ON account (subject);
CREATE TABLE used_sign_on (
    hash TEXT PRIMARY KEY,
    expires_at BIGINT NOT NULL
);
CREATE INDEX used_sign_on_by_time ON used_sign_on (expires_at);
