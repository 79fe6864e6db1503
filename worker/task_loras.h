/* The LoRA files of a task: those its option names, and those its prompt does. */
#ifndef FARM_TASK_LORAS_H
#define FARM_TASK_LORAS_H

#include "worker/inputs.h"
#include "worker/sd/request_files.h"

struct task_loras {
    struct adapter_use use[FILES_MOST]; /* texts borrowed from the inputs */
    size_t count;
    char *prompt; /* without tags; heap, owned */
};

/* A tag's name is a file's without its ending; its weight is added to what the option says,
 * which is 0 for files that are there for tags alone. Plain syntax has no tags. */
bool task_loras_read(struct task_loras *self, const struct task *task,
                     const struct inputs *inputs, struct error *error);
void task_loras_clear(struct task_loras *self);

#endif
