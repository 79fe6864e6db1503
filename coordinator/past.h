/* Jobs that ended, or tasks of theirs: tried again, or forgotten. */
#ifndef FARM_PAST_H
#define FARM_PAST_H

#include "coordinator/work.h"

/* Everything of the job, whose rows are on disk, that failed or was canceled is ready again.
 * ERROR_INPUT when there is nothing. */
bool past_retry(struct coordinator *self, struct queue_job *job, struct error *error);

/* The job, its history, and results that no other job's task has. ERROR_INPUT while it is
 * open. */
bool past_remove(struct coordinator *self, struct queue_job **job, struct error *error);

#endif
