-- Version 2: the farm's signed word on where a result comes from. Apart from the results, so
-- that reading many of those does not read these.

CREATE TABLE provenance (
    result INTEGER PRIMARY KEY REFERENCES result (number),
    text TEXT NOT NULL
) STRICT;
