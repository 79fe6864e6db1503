/* A task's settings as the pipeline takes them. */
#ifndef FARM_TASK_REQUEST_H
#define FARM_TASK_REQUEST_H

#include "proto/job/options.h"
#include "worker/sd/pipeline.h"
#include "worker/task_loras.h"

/* All but the files it names besides LoRAs (brought.h). Texts stay the task's and the
 * loras'. */
void task_request(const struct task *task, const struct task_loras *loras,
                  struct image_request *into);

#endif
