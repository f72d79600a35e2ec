-- Policy versions. The folder policies/<number> holds the policy; `manifest` is the SHA-256 of the
-- manifest in it, so that whoever rewrites a file and its manifest is found out here.
CREATE TABLE versions (
    number INTEGER PRIMARY KEY CHECK (number > 0),
    state TEXT NOT NULL CHECK (state IN ('candidate', 'trial', 'live', 'retired', 'refused')),
    manifest TEXT NOT NULL CHECK (length(manifest) = 64),
    created_at REAL NOT NULL
);
CREATE UNIQUE INDEX one_version_is_live ON versions (state) WHERE state = 'live';
CREATE UNIQUE INDEX one_version_is_on_trial ON versions (state) WHERE state = 'trial';

-- Which version was live after which: promotion adds a row, rollback takes the last one away.
CREATE TABLE trail (
    position INTEGER PRIMARY KEY,
    version INTEGER NOT NULL REFERENCES versions
);

-- One row per test of a candidate that was ever begun: the k-th may spend 6 alpha / (pi k)^2.
CREATE TABLE judgements (
    k INTEGER PRIMARY KEY CHECK (k > 0),
    version INTEGER NOT NULL REFERENCES versions
);

CREATE TABLE trials (
    k INTEGER PRIMARY KEY REFERENCES judgements,
    candidate INTEGER NOT NULL REFERENCES versions,
    baseline INTEGER NOT NULL REFERENCES versions,
    share REAL NOT NULL CHECK (share > 0 AND share < 1),
    salt TEXT NOT NULL UNIQUE,
    watermark INTEGER NOT NULL CHECK (watermark >= 0),
    alpha REAL NOT NULL CHECK (alpha > 0 AND alpha < 1),
    begun_at REAL NOT NULL,
    begun_by TEXT NOT NULL,
    ended_at REAL,
    outcome TEXT CHECK (outcome IN ('promoted', 'refused', 'stopped')),
    CHECK ((ended_at IS NULL) = (outcome IS NULL)),
    CHECK (candidate <> baseline)
);
CREATE UNIQUE INDEX one_trial_is_open ON trials ((ended_at IS NULL)) WHERE ended_at IS NULL;

-- Every change writes one row here in its own transaction; the last id is the generation.
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    who TEXT NOT NULL CHECK (who <> ''),
    action TEXT NOT NULL,
    version INTEGER NOT NULL,
    previous INTEGER,
    why TEXT NOT NULL,
    evidence TEXT NOT NULL
);
CREATE TRIGGER audit_is_not_edited BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
CREATE TRIGGER audit_is_not_cut BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
