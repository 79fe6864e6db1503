/* A job in full: its specification and a page of its tasks. */
#ifndef FARM_SHOW_H
#define FARM_SHOW_H

#include "coordinator/tell.h"

enum { SHOWN_JOBS = 1000 };

/* Tasks from `first` on, at most `limit`, fewer where the message would grow too large.
 * What was decided must be durable: ended tasks and attempts are read from the store. On
 * the heap; farm__job_detail__free_unpacked frees it. */
Farm__JobDetail *show_job(struct coordinator *self, const struct queue_job *job,
                          uint64_t first, uint32_t limit, struct error *error);

#endif
