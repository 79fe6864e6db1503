#include "coordinator/scheduler.h"

#include <math.h>
#include <string.h>

/* A node is late when it takes so many times as long as it should, and so many seconds. */
static const double LATE_FACTOR = 2, LATE_S = 5;

/* A second attempt must promise to end in this part of the time the first one needs. */
static const double TWIN_GAIN = 0.8;

static bool has_model(const struct scheduler_node *node, const uint8_t model[32])
{
    for (size_t m = 0; m < node->models; m++)
        if (memcmp(node->model[m], model, 32) == 0)
            return true;
    return false;
}

struct candidate {
    struct queue_job *job;
    double used;
    const void *submitter;
    int64_t deadline;
};

/* Jobs come in their order: a later one is better only if something says so. */
static bool is_better(const struct candidate *one, const struct candidate *than)
{
    if (!than->job || one->used != than->used)
        return !than->job || one->used < than->used;
    if (one->job->priority != than->job->priority)
        return one->job->priority > than->job->priority;
    return one->submitter == than->submitter && one->deadline &&
           (!than->deadline || one->deadline < than->deadline);
}

/* May a job whose model is there go before the one that is next? */
static bool may_go_before(const struct scheduler_node *node,
                          const struct candidate *here, const struct candidate *next)
{
    if (here->used == next->used)
        return here->job->priority >= next->job->priority;
    return here->used - next->used <= node->patience;
}

struct queue_job *scheduler_choose(const struct queue *queue,
                                   const struct scheduler_node *node, int64_t now,
                                   scheduler_look_fn *look, void *context)
{
    struct candidate next = {0}, here = {0};
    struct queue_job *job;
    int looks = 0;
    for (job = TAILQ_FIRST(&queue->open); job && looks < SCHEDULER_LOOKS;
         job = TAILQ_NEXT(job, open)) {
        uint64_t index;
        struct scheduler_task task;
        if (job->paused || !queue_next(job, node->node, node->alone, now, &index) ||
            !look(context, job, index, &task))
            continue;
        looks++;
        struct candidate one = {job, task.used, task.submitter, task.deadline};
        if (is_better(&one, &next))
            next = one;
        if (has_model(node, task.model) && is_better(&one, &here))
            here = one;
    }
    return here.job && next.job && may_go_before(node, &here, &next) ? here.job
                                                                     : next.job;
}

/* Tasks the node has finished by then. */
static double finished(const struct scheduler_pace *node, double by)
{
    return by > node->busy ? floor((by - node->busy) * node->rate - 1e-9) : 0;
}

uint32_t scheduler_portion(const struct scheduler_pace *nodes, size_t count,
                           size_t node, uint64_t ready, uint32_t most)
{
    const struct scheduler_pace *self = &nodes[node];
    uint32_t low = 0, high = ready < most ? (uint32_t)ready : most;
    while (low < high) {
        uint32_t portion = low + (high - low + 1) / 2;
        double by = self->busy + portion / self->rate, all = portion;
        for (size_t n = 0; n < count; n++)
            if (n != node)
                all += fmax(finished(&nodes[n], by), 0);
        if (all <= (double)ready)
            low = portion;
        else
            high = portion - 1;
    }
    return low;
}

double scheduler_left(double held, double step_pixels_per_s, double elapsed_s,
                      bool *late)
{
    double whole = held / step_pixels_per_s;
    *late = elapsed_s > LATE_FACTOR * whole + LATE_S;
    return fmax(whole - elapsed_s, 0);
}

bool scheduler_twin_pays(double own_s, double left_s)
{
    return own_s < TWIN_GAIN * left_s;
}
