CREATE TABLE usage_report (
    report_id TEXT PRIMARY KEY,
    week BIGINT,
    level TEXT NOT NULL,
    collected_at BIGINT NOT NULL,
    took_ms BIGINT NOT NULL,
    hierarchy TEXT NOT NULL,
    body TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    state TEXT NOT NULL,
    sealed BYTEA,
    attempts BIGINT NOT NULL,
    next_attempt_at BIGINT,
    failure TEXT,
    receipt TEXT,
    changed_at BIGINT NOT NULL
);
CREATE INDEX usage_report_by_time ON usage_report (collected_at);
CREATE TABLE usage_ledger (
    entry_number BIGINT PRIMARY KEY,
    recorded_at BIGINT NOT NULL,
    event TEXT NOT NULL,
    report_id TEXT NOT NULL,
    level TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    sha256 TEXT NOT NULL,
    detail TEXT NOT NULL,
    previous TEXT NOT NULL,
    hash TEXT NOT NULL
);
CREATE INDEX usage_ledger_by_report ON usage_ledger (report_id, entry_number);
CREATE TABLE inventory_word (
    word_id BIGINT PRIMARY KEY,
    word TEXT NOT NULL UNIQUE
);
CREATE TABLE inventory_import (
    table_name TEXT PRIMARY KEY,
    batch BIGINT NOT NULL,
    row_count BIGINT NOT NULL,
    imported_at BIGINT NOT NULL,
    format TEXT NOT NULL
);
CREATE TABLE inventory_devices (
    batch BIGINT NOT NULL,
    id TEXT NOT NULL,
    os BIGINT,
    os_version BIGINT,
    arch BIGINT,
    client_version BIGINT,
    processor BIGINT,
    memory_mib BIGINT,
    joined BIGINT,
    managed BIGINT,
    virtual BIGINT,
    last_seen BIGINT,
    PRIMARY KEY (batch, id)
);
CREATE TABLE inventory_users (
    batch BIGINT NOT NULL,
    id TEXT NOT NULL,
    source BIGINT,
    PRIMARY KEY (batch, id)
);
CREATE TABLE inventory_collections (
    batch BIGINT NOT NULL,
    id TEXT NOT NULL,
    kind BIGINT,
    members BIGINT,
    PRIMARY KEY (batch, id)
);
CREATE TABLE inventory_deployments (
    batch BIGINT NOT NULL,
    id TEXT NOT NULL,
    kind BIGINT,
    purpose BIGINT,
    targeted BIGINT,
    succeeded BIGINT,
    failed BIGINT,
    error_code BIGINT,
    PRIMARY KEY (batch, id)
);
