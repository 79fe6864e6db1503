-- Version 3: what steers jobs and nodes, and what scheduling learned.

ALTER TABLE job ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
ALTER TABLE job ADD COLUMN paused INTEGER NOT NULL DEFAULT 0;

-- Devices of workers that may not work as they like: draining or blocked.
CREATE TABLE node (
    worker BLOB NOT NULL REFERENCES key (public_key),
    device INTEGER NOT NULL,
    state INTEGER NOT NULL,  -- enum node_order
    reason TEXT NOT NULL,
    PRIMARY KEY (worker, device)
) STRICT, WITHOUT ROWID;

-- Step-pixels per second, model load excluded: moving averages.
CREATE TABLE speed (
    worker BLOB NOT NULL REFERENCES key (public_key),
    device INTEGER NOT NULL,
    model BLOB NOT NULL,
    size_class INTEGER NOT NULL,  -- of the picture: log2 of its pixels
    batch INTEGER NOT NULL,       -- images at once: log2
    step_pixels_per_s REAL NOT NULL,
    images INTEGER NOT NULL,      -- measured so far
    PRIMARY KEY (worker, device, model, size_class, batch)
) STRICT, WITHOUT ROWID;

-- Step-pixels rendered for a submitter; halves in 24 hours.
CREATE TABLE usage (
    submitter BLOB PRIMARY KEY REFERENCES key (public_key),
    step_pixels REAL NOT NULL,  -- as of that time
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX task_by_result ON task (result) WHERE result IS NOT NULL;
CREATE INDEX attempt_fault ON attempt (node) WHERE fault = 1;
