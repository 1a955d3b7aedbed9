CREATE TABLE endpoint_run (
    run_id TEXT PRIMARY KEY,
    started_at BIGINT NOT NULL,
    cause TEXT NOT NULL,
    outcome TEXT NOT NULL,
    summary TEXT NOT NULL,
    took_ms BIGINT NOT NULL,
    report TEXT NOT NULL
);
CREATE INDEX endpoint_run_by_time ON endpoint_run (started_at);
CREATE TABLE endpoint_alarm (
    feature TEXT PRIMARY KEY,
    since BIGINT NOT NULL
);
CREATE TABLE endpoint_learned (
    pattern TEXT NOT NULL,
    host TEXT NOT NULL,
    reached_at BIGINT NOT NULL,
    PRIMARY KEY (pattern, host)
);
