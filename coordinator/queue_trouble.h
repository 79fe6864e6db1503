/* What went wrong with tasks: for queue.c alone. */
#ifndef FARM_QUEUE_TROUBLE_H
#define FARM_QUEUE_TROUBLE_H

#include "coordinator/queue.h"

void trouble_forget(struct queue_job *job, uint64_t index);
void troubles_clear(struct queue_job *job);

#endif
