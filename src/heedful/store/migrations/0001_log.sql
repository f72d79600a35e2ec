-- The log. Append-only except for erasure: rows are added, feedback is taken back by another row.
-- Names are written once and called by number; numbers count from 0 in the order of first
-- appearance. Vectors are little-endian: units int32 (codes), logps float64 (NULL: UNKNOWN).

CREATE TABLE subjects (code INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE episodes (code INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE units (code INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE policies (code INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE vocabularies (code INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE people (code INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;

-- A choice set's name is its digest.
CREATE TABLE choice_sets (
  code INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  body TEXT NOT NULL
) STRICT;
INSERT INTO choice_sets VALUES
  (0, 'all', '{"allowed":null,"end":null,"forbidden":[],"repeat":false,"seen":true}');

CREATE TABLE kinds (code INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
INSERT INTO kinds VALUES
  (0, 'click'), (1, 'rating'), (2, 'comment'), (3, 'preference'),
  (4, 'reward'), (5, 'demonstration'), (6, 'flag');

-- seq is one order for decisions, feedback and ends.
CREATE TABLE decisions (
  seq INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  episode INTEGER NOT NULL REFERENCES episodes,
  step INTEGER NOT NULL,
  subject INTEGER NOT NULL REFERENCES subjects,
  choices INTEGER NOT NULL REFERENCES choice_sets,
  policy INTEGER NOT NULL REFERENCES policies,
  vocabulary INTEGER NOT NULL REFERENCES vocabularies,
  made_at REAL NOT NULL,
  units BLOB NOT NULL,
  logps BLOB,
  context TEXT NOT NULL
) STRICT;
CREATE INDEX decisions_of_subject ON decisions (subject);

-- Either decision is set, or episode, start and stop (a span).
CREATE TABLE feedback (
  seq INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  "by" INTEGER NOT NULL REFERENCES people,
  decision INTEGER REFERENCES decisions,
  episode INTEGER REFERENCES episodes,
  start INTEGER,
  stop INTEGER,
  unit INTEGER NOT NULL,
  kind INTEGER NOT NULL REFERENCES kinds,
  value REAL,
  said TEXT NOT NULL,
  given_at REAL NOT NULL,
  received_at REAL NOT NULL,
  retracts INTEGER REFERENCES feedback,
  CHECK ((decision IS NULL) = (episode IS NOT NULL))
) STRICT;
CREATE INDEX feedback_of_decision ON feedback (decision) WHERE decision IS NOT NULL;
CREATE INDEX feedback_of_episode ON feedback (episode) WHERE episode IS NOT NULL;

CREATE TABLE ends (
  seq INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  episode INTEGER NOT NULL UNIQUE REFERENCES episodes,
  terminated INTEGER NOT NULL,
  ended_at REAL NOT NULL,
  context TEXT NOT NULL
) STRICT;

-- Feedback that came before what it is about: waits_for names a decision, an episode or feedback.
-- Where refused is set, what it waited for came, and the row did not fit.
CREATE TABLE parked (
  number INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  waits_on TEXT NOT NULL CHECK (waits_on IN ('decision', 'episode', 'feedback')),
  waits_for TEXT NOT NULL,
  body TEXT NOT NULL,
  received_at REAL NOT NULL,
  refused TEXT
) STRICT;
CREATE INDEX parked_for ON parked (waits_for) WHERE refused IS NULL;

-- Derived: the rows first..last as columns in a file of the folder segments.
CREATE TABLE segments (
  first INTEGER PRIMARY KEY,
  last INTEGER NOT NULL,
  file TEXT NOT NULL UNIQUE,
  sha256 TEXT NOT NULL
) STRICT;

CREATE TABLE state (next_seq INTEGER NOT NULL) STRICT;
INSERT INTO state VALUES (1);
