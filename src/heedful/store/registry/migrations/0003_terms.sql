-- What a trial is judged by stands beside it: settings that change later change nothing of it.
ALTER TABLE trials ADD COLUMN terms TEXT NOT NULL DEFAULT '{}';
