-- What is known of units and subjects. Append-only: the latest row of a name counts, and one
-- without facts says that nothing is known any more. seq is the log's own order.
-- kind: 0 a unit, whose name is its id; 1 a subject, whose name is a pseudonym.

CREATE TABLE descriptions (
  seq INTEGER PRIMARY KEY,
  kind INTEGER NOT NULL CHECK (kind IN (0, 1)),
  name TEXT NOT NULL,
  facts TEXT NOT NULL,
  given_at REAL NOT NULL
) STRICT;
CREATE INDEX descriptions_of ON descriptions (kind, name, seq);
