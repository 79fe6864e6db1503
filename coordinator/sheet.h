/* How fast who takes part is with one job's tasks, and what a node's part of them is. Made
 * once a turn and job, as it is about all nodes and asked for each; what a node is given is
 * noted in it.
 */
#ifndef FARM_SHEET_H
#define FARM_SHEET_H

#include "coordinator/coordinator.h"

struct sheet {
    const struct queue_job *job; /* NULL: none yet */
    struct scheduler_task task;
    double usual;
    struct scheduler_pace *pace; /* with room for one more */
    size_t *place;               /* of each node; SIZE_MAX: it is not there */
    size_t count;
};

void sheet_clear(struct sheet *sheet);

/* What the node gets of the job now, at most `most`; `task` is what its next is like. */
uint32_t sheet_portion(const struct coordinator *self, struct sheet *sheet,
                       const struct node *node, const struct queue_job *job,
                       const struct scheduler_task *task, uint32_t most);

/* The node was given something: it is busy for longer. */
void sheet_note(const struct coordinator *self, struct sheet *sheet,
                const struct node *node);

/* Seconds until a node of that speed is through with what it holds; *late as
 * scheduler_left says. */
double sheet_busy(const struct coordinator *self, const struct node *node, double speed,
                  bool *late);

#endif
