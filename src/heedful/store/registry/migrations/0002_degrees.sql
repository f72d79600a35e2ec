-- Going live by degrees: a trial runs in stages, what was "trial" is "canary", units can be blocked,
-- and decisions can be held for a person. Tables whose checks change are made anew.

CREATE TABLE versions_ (
    number INTEGER PRIMARY KEY CHECK (number > 0),
    state TEXT NOT NULL CHECK (state IN ('candidate', 'canary', 'live', 'retired', 'refused')),
    manifest TEXT NOT NULL CHECK (length(manifest) = 64),
    created_at REAL NOT NULL
);
INSERT INTO versions_
    SELECT number, iif(state = 'trial', 'canary', state), manifest, created_at FROM versions;
DROP TABLE versions;
ALTER TABLE versions_ RENAME TO versions;
CREATE UNIQUE INDEX one_version_is_live ON versions (state) WHERE state = 'live';
CREATE UNIQUE INDEX one_version_is_canary ON versions (state) WHERE state = 'canary';

-- The stages of a trial: all that are planned, and since when those that were reached hold.
CREATE TABLE stages (
    trial INTEGER NOT NULL REFERENCES trials,
    number INTEGER NOT NULL CHECK (number >= 0),
    share REAL NOT NULL CHECK (share > 0 AND share < 1),
    since REAL,
    PRIMARY KEY (trial, number)
);
INSERT INTO stages SELECT k, 0, share, begun_at FROM trials;
ALTER TABLE trials DROP COLUMN share;

-- Of a unit, not of a version: an entry of the audit names what it is about.
CREATE TABLE audit_ (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    who TEXT NOT NULL CHECK (who <> ''),
    action TEXT NOT NULL,
    version INTEGER,
    previous INTEGER,
    unit TEXT,
    why TEXT NOT NULL,
    evidence TEXT NOT NULL,
    CHECK ((version IS NULL) <> (unit IS NULL))
);
INSERT INTO audit_ SELECT id, at, who, action, version, previous, NULL, why, evidence FROM audit;
DROP TRIGGER audit_is_not_edited;
DROP TRIGGER audit_is_not_cut;
DROP TABLE audit;
ALTER TABLE audit_ RENAME TO audit;
CREATE TRIGGER audit_is_not_edited BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
CREATE TRIGGER audit_is_not_cut BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;

-- Units that no decision may hold from now on.
CREATE TABLE blocked (unit TEXT PRIMARY KEY);

-- Decisions that were drawn and wait for a person, or waited. They are not in the log: it gets those
-- that a person let through, when they are shown.
CREATE TABLE held (
    id TEXT PRIMARY KEY,
    version INTEGER NOT NULL REFERENCES versions,
    subject TEXT NOT NULL,
    drawn_at REAL NOT NULL,
    body TEXT NOT NULL,
    answer TEXT CHECK (answer IN ('approved', 'rejected')),
    answered_at REAL,
    CHECK ((answer IS NULL) = (answered_at IS NULL))
);
CREATE INDEX held_waiting ON held (drawn_at) WHERE answer IS NULL;
CREATE INDEX held_of ON held (drawn_at);
