CREATE TABLE site (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    code TEXT NOT NULL,
    site_type TEXT NOT NULL,
    name TEXT NOT NULL,
    hierarchy_id TEXT NOT NULL,
    base_version TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE TABLE setting (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
CREATE TABLE catalogue_shard (
    name TEXT PRIMARY KEY,
    sha256 TEXT NOT NULL
);
CREATE TABLE package (
    guid TEXT PRIMARY KEY,
    shard TEXT NOT NULL,
    record TEXT NOT NULL,
    name TEXT NOT NULL,
    full_version TEXT NOT NULL,
    released_at BIGINT NOT NULL,
    listed BIGINT NOT NULL,
    state BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    flag BIGINT NOT NULL,
    reason TEXT NOT NULL,
    newest BIGINT NOT NULL,
    requested BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    next_attempt_at BIGINT,
    failure TEXT,
    rolled_back BIGINT NOT NULL,
    added_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL
);
CREATE INDEX package_by_state ON package (state);
CREATE TABLE package_condition (
    guid TEXT NOT NULL,
    position BIGINT NOT NULL,
    condition_text TEXT NOT NULL,
    expected TEXT NOT NULL,
    actual TEXT NOT NULL,
    outcome TEXT NOT NULL,
    PRIMARY KEY (guid, position)
);
CREATE TABLE package_history (
    id INTEGER PRIMARY KEY,
    guid TEXT NOT NULL,
    state BIGINT NOT NULL,
    recorded_at BIGINT NOT NULL,
    reason TEXT NOT NULL
);
CREATE INDEX package_history_by_guid ON package_history (guid, id);
CREATE TABLE state_message (
    id INTEGER PRIMARY KEY,
    number BIGINT NOT NULL,
    guid TEXT NOT NULL,
    recorded_at BIGINT NOT NULL,
    detail TEXT NOT NULL
);
CREATE TABLE status_message (
    id INTEGER PRIMARY KEY,
    message_id BIGINT NOT NULL,
    severity BIGINT NOT NULL,
    message_type BIGINT NOT NULL,
    component TEXT NOT NULL,
    machine TEXT NOT NULL,
    site_code TEXT NOT NULL,
    process_id BIGINT NOT NULL,
    recorded_at BIGINT NOT NULL,
    message_text TEXT NOT NULL,
    insertion_strings TEXT NOT NULL
);
CREATE INDEX status_message_by_component ON status_message (component, recorded_at);
CREATE TABLE component (
    name TEXT PRIMARY KEY,
    stopped BIGINT NOT NULL,
    log_level BIGINT NOT NULL,
    tally_reset_at BIGINT NOT NULL
);
CREATE TABLE prereq_result (
    guid TEXT NOT NULL,
    position BIGINT NOT NULL,
    name TEXT NOT NULL,
    category TEXT NOT NULL,
    role TEXT NOT NULL,
    result TEXT NOT NULL,
    detail TEXT NOT NULL,
    link TEXT,
    recorded_at BIGINT NOT NULL,
    PRIMARY KEY (guid, position)
);
CREATE TABLE redist_result (
    guid TEXT NOT NULL,
    name TEXT NOT NULL,
    verdict TEXT NOT NULL,
    detail TEXT NOT NULL,
    recorded_at BIGINT NOT NULL,
    PRIMARY KEY (guid, name)
);
CREATE TABLE sub_stage (
    guid TEXT NOT NULL,
    stage BIGINT NOT NULL,
    state BIGINT NOT NULL,
    progress BIGINT NOT NULL,
    detail TEXT NOT NULL,
    recorded_at BIGINT NOT NULL,
    PRIMARY KEY (guid, stage)
);
CREATE TABLE install_run (
    guid TEXT PRIMARY KEY,
    attempt BIGINT NOT NULL,
    steps_done BIGINT NOT NULL,
    rollback_done BIGINT,
    previous_version TEXT,
    failure TEXT,
    features_on TEXT NOT NULL,
    features_off TEXT NOT NULL,
    started_at BIGINT NOT NULL
);
CREATE TABLE installed (
    guid TEXT PRIMARY KEY,
    full_version TEXT NOT NULL,
    installed_at BIGINT NOT NULL
);
CREATE TABLE feature (
    guid TEXT PRIMARY KEY,
    package_guid TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    pre_release BIGINT NOT NULL,
    turned_on BIGINT NOT NULL,
    changed_at BIGINT NOT NULL
);
CREATE TABLE sync (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    requested BIGINT NOT NULL,
    started_at BIGINT,
    succeeded_at BIGINT,
    failed_at BIGINT,
    failure TEXT,
    failure_reason TEXT,
    failures_in_row BIGINT NOT NULL,
    next_at BIGINT,
    catalogue_generation BIGINT NOT NULL,
    evaluated_generation BIGINT NOT NULL,
    roles TEXT NOT NULL
);
INSERT INTO sync (id, requested, failures_in_row, catalogue_generation, evaluated_generation, roles)
VALUES (1, 0, 0, 0, 0, '[]');
