-- The coordinator's tables, version 1. Ids and keys are raw bytes, times unix seconds.

CREATE TABLE farm (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    epoch INTEGER NOT NULL,  -- of the last start: attempt ids never repeat
    clean INTEGER NOT NULL   -- 1 after a stop in good order
) STRICT;
INSERT INTO farm VALUES (1, 0, 1);

CREATE TABLE key (
    public_key BLOB PRIMARY KEY CHECK (length(public_key) = 32),
    role INTEGER NOT NULL,
    name TEXT NOT NULL,
    created INTEGER NOT NULL,
    revoked INTEGER NOT NULL,  -- 0: valid
    greeted INTEGER NOT NULL   -- 1: was here with its own key, its token is dead
) STRICT, WITHOUT ROWID;

CREATE TABLE token (
    join_key BLOB PRIMARY KEY CHECK (length(join_key) = 32),
    role INTEGER NOT NULL,
    name TEXT NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    used_by BLOB REFERENCES key (public_key)
) STRICT, WITHOUT ROWID;

-- A row means: the file and its name are on disk.
CREATE TABLE blob (
    id BLOB PRIMARY KEY CHECK (length(id) = 32),
    size INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE model (
    id BLOB PRIMARY KEY CHECK (length(id) = 32),
    name TEXT NOT NULL,
    manifest BLOB NOT NULL,
    complete INTEGER NOT NULL,
    added INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Tasks are in `specification`; those before `cursor` were taken at least once.
CREATE TABLE job (
    number INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    submitter BLOB NOT NULL REFERENCES key (public_key),
    content BLOB NOT NULL,  -- hash of what was submitted
    specification BLOB NOT NULL,
    latents INTEGER NOT NULL,
    tasks INTEGER NOT NULL,
    cursor INTEGER NOT NULL,
    state INTEGER NOT NULL,
    done INTEGER NOT NULL,  -- these three once it ended
    failed INTEGER NOT NULL,
    canceled INTEGER NOT NULL,
    created INTEGER NOT NULL,
    ended INTEGER NOT NULL
) STRICT;
CREATE INDEX job_open ON job (number) WHERE state = 0;

CREATE TABLE result (
    number INTEGER PRIMARY KEY,
    key BLOB NOT NULL CHECK (length(key) = 32),
    png BLOB NOT NULL REFERENCES blob (id),
    png_size INTEGER NOT NULL,
    latents BLOB REFERENCES blob (id),
    latents_size INTEGER NOT NULL,
    pixels BLOB NOT NULL,
    seconds REAL NOT NULL,
    step_pixels INTEGER NOT NULL,
    node TEXT NOT NULL,
    superseded INTEGER NOT NULL  -- 1: other pixels for a key that had some; evidence
) STRICT;
CREATE INDEX result_by_key ON result (key);

-- Tasks that ended. The others are ready, or have an attempt that did not end.
CREATE TABLE task (
    job INTEGER NOT NULL REFERENCES job (number),
    position INTEGER NOT NULL,
    state INTEGER NOT NULL,
    result INTEGER REFERENCES result (number),
    reason TEXT NOT NULL,
    PRIMARY KEY (job, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE attempt (
    epoch INTEGER NOT NULL,
    counter INTEGER NOT NULL,
    job INTEGER NOT NULL REFERENCES job (number),
    position INTEGER NOT NULL,
    key BLOB NOT NULL,
    worker BLOB NOT NULL REFERENCES key (public_key),
    device INTEGER NOT NULL,
    node TEXT NOT NULL,
    started INTEGER NOT NULL,
    ended TEXT NOT NULL,     -- '' while open
    fault INTEGER NOT NULL,  -- 1: it counts against task and node
    PRIMARY KEY (epoch, counter)
) STRICT, WITHOUT ROWID;
CREATE INDEX attempt_by_task ON attempt (job, position);
CREATE INDEX attempt_open ON attempt (job) WHERE ended = '';
