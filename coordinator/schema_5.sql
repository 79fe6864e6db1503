-- Version 5: jobs that keep to devices of one kind.

ALTER TABLE job ADD COLUMN device_kind TEXT NOT NULL DEFAULT '';  -- '': any, or none yet
