-- Version 6: which variants of their kernels devices are fastest with.

CREATE TABLE tuning (
    kind TEXT NOT NULL,        -- of the device
    identity BLOB NOT NULL CHECK (length(identity) = 16),  -- device, driver and kernels
    shape TEXT NOT NULL,
    variant TEXT NOT NULL,
    gain REAL NOT NULL,
    at INTEGER NOT NULL,
    node TEXT NOT NULL,        -- who measured it
    PRIMARY KEY (kind, identity, shape)
) STRICT, WITHOUT ROWID;
CREATE INDEX tuning_by_age ON tuning (at);
