-- Version 4: tasks half done. Their files have no row in `blob`: one that is lost costs time.

CREATE TABLE checkpoint (
    key BLOB PRIMARY KEY CHECK (length(key) = 32),  -- of the task
    job INTEGER NOT NULL REFERENCES job (number),
    blob BLOB NOT NULL,
    size INTEGER NOT NULL,
    step INTEGER NOT NULL,
    epoch INTEGER NOT NULL,    -- the attempt whose rendering it is
    counter INTEGER NOT NULL,
    kind TEXT NOT NULL         -- of its device
) STRICT, WITHOUT ROWID;
