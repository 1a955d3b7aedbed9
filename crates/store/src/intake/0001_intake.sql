CREATE TABLE intake_hierarchy (
    hierarchy TEXT PRIMARY KEY,
    public_key TEXT NOT NULL,
    first_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    collected_at BIGINT NOT NULL,
    level TEXT NOT NULL,
    site_version TEXT NOT NULL,
    program_version TEXT NOT NULL,
    os TEXT NOT NULL,
    arch TEXT NOT NULL,
    mode TEXT NOT NULL,
    sites BIGINT NOT NULL,
    devices BIGINT NOT NULL
);
CREATE INDEX intake_hierarchy_by_first ON intake_hierarchy (first_at);
CREATE TABLE intake_report (
    report TEXT PRIMARY KEY,
    hierarchy TEXT NOT NULL,
    received_at BIGINT NOT NULL,
    collected_at BIGINT NOT NULL,
    level TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    sha256 TEXT NOT NULL,
    verdict TEXT NOT NULL,
    problem TEXT NOT NULL,
    body TEXT NOT NULL,
    receipt TEXT NOT NULL
);
CREATE INDEX intake_report_by_hierarchy ON intake_report (hierarchy, received_at);
CREATE INDEX intake_report_by_time ON intake_report (received_at);
CREATE TABLE intake_count (
    day BIGINT NOT NULL,
    reason TEXT NOT NULL,
    uploads BIGINT NOT NULL,
    PRIMARY KEY (day, reason)
);
