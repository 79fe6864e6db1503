/* farm_sim: many seeds of a farm with all that may go wrong, and how fast work is done when
 * nothing does.
 *
 *     farm_sim [--first S] [--seeds N] [--large]
 *     farm_sim --paces
 *
 * Prints the first seed that breaks a promise, and which; that seed alone breaks it again.
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "tests/sim/world.h"

enum { START_MS = 1000000, STORM_MS = 240000, PATIENCE_MS = 3600000 };

/* Hash tables draw their secret from here: the same order in every run. */
static uint64_t drawn;
static const char *draw_name(void)
{
    return "counted";
}
static uint32_t draw(void)
{
    return (uint32_t)(++drawn * 2654435761u);
}
static void draw_bytes(void *const into, const size_t size)
{
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)into)[i] = (uint8_t)(draw() >> 24);
}
static struct randombytes_implementation counted = {
    .implementation_name = draw_name, .random = draw, .buf = draw_bytes};

static struct plan plan_of(uint64_t seed, bool large)
{
    struct world scratch = {.seed = seed};
    struct plan plan = {0};
    world = &scratch;
    for (int i = 0; i < 4; i++)
        scratch.random[i] = (seed + 1) * 0x9e3779b97f4a7c15u * (uint64_t)(i + 1);
    for (int i = 0; i < 20; i++)
        chance();
    plan.workers = 1 + (unsigned)chance_below(large ? 500 : 2u << chance_below(6));
    plan.workers = !large && plan.workers > 50 ? 50 : plan.workers;
    plan.jobs = 1 + (unsigned)chance_below(large ? 8 : 6);
    plan.tasks =
        large ? 1 + chance_below(1000000) : 1 + chance_below(1u << chance_below(11));
    plan.misfortune_s = chance_percent(10) ? 0 : 1 + 20 * chance_real();
    plan.storm_ms = STORM_MS;
    plan.batch = 1u << chance_below(4);
    double whole = 0, work = 20 * 64 * 64;
    for (unsigned w = 0; w < plan.workers; w++)
        whole += plan.speed[w] = work * (0.1 + 2 * chance_real() * chance_real());
    /* So fast that all work would take about two minutes. */
    double scale = (double)plan.tasks * work / 120 / whole;
    for (unsigned w = 0; w < plan.workers && scale > 1; w++)
        plan.speed[w] *= scale;
    return plan;
}

/* false, and says why, when the seed breaks a promise. */
static bool run_seed(uint64_t seed, bool large)
{
    struct plan plan = plan_of(seed, large);
    struct world *self = calloc(1, sizeof *self);
    if (!self)
        abort();
    world_open(self, seed, &plan);
    world_run(self, START_MS + STORM_MS + PATIENCE_MS);
    if (!self->wrong && !all_ended())
        broken("a job does not end");
    if (!self->wrong)
        check_disk();
    bool ok = !self->wrong;
    if (!ok)
        printf("seed %llu: %s (%u workers, %u jobs, %llu events)\n",
               (unsigned long long)seed, self->wrong, plan.workers, plan.jobs,
               (unsigned long long)self->handled);
    world_close(self);
    free(self);
    return ok;
}

/* Seconds from the acceptance of one job to its end. */
static double pace(unsigned workers, const double *speeds, uint64_t tasks,
                   uint32_t batch)
{
    struct plan plan = {
        .workers = workers, .jobs = 1, .tasks = tasks, .batch = batch, .plain = true};
    for (unsigned w = 0; w < workers; w++)
        plan.speed[w] = speeds[w] * 20 * 64 * 64 / 10; /* 1: ten seconds a task */
    struct world *self = calloc(1, sizeof *self);
    if (!self)
        abort();
    world_open(self, 1, &plan);
    world_run(self, START_MS + PATIENCE_MS);
    double seconds = (double)(self->now - self->job[0].accepted_at) / 1000;
    if (self->wrong || !all_ended()) {
        printf("%s\n", self->wrong ? self->wrong : "the job does not end");
        seconds = 1e9;
    }
    world_close(self);
    free(self);
    return seconds;
}

/* The best integer schedule's time of two workers, in seconds. */
static double best_of(const double *speeds, uint64_t tasks)
{
    double best = 1e9;
    for (uint64_t slow = 0; slow <= tasks; slow++) {
        double one = (double)slow * 10 / speeds[0];
        double two = (double)(tasks - slow) * 10 / speeds[1];
        double takes = one > two ? one : two;
        best = takes < best ? takes : best;
    }
    return best;
}

static bool run_paces(void)
{
    static const double speeds[] = {1, 5};
    bool ok = true;
    for (uint32_t batch = 1; batch <= 4; batch *= 2) {
        double best = best_of(speeds, 60), took = pace(2, speeds, 60, batch);
        printf(
            "speeds 1 and 5, batches of %u, 60 tasks, started cold: %.2f s, best %.2f "
            "s: %.3f\n",
            batch, took, best, took / best);
        ok = ok && took <= 1.03 * best;
        best = best_of(speeds, 12);
        took = pace(2, speeds, 12, batch);
        printf("speeds 1 and 5, batches of %u, 12 tasks: %.2f s, best %.2f s, a slow "
               "task 10 s\n",
               batch, took, best);
        ok = ok && took <= best + 10;
    }
    return ok;
}

/* Two submitters, one a minute later: when two thirds are done both had as much. */
static bool run_shares(void)
{
    static const double speeds[] = {0.5, 1, 3};
    struct plan plan = {
        .workers = 3, .jobs = 2, .tasks = 600, .batch = 2, .plain = true};
    for (unsigned w = 0; w < 3; w++)
        plan.speed[w] = speeds[w] * 20 * 64 * 64;
    struct world *self = calloc(1, sizeof *self);
    if (!self)
        abort();
    world_open(self, 1, &plan);
    const struct sim_job *one = &self->job[0];
    struct sim_job *two = &self->job[1];
    two->at += 30000;
    for (int64_t at = START_MS; one->acked + two->acked < 400 && at < PATIENCE_MS;
         at += 100)
        world_run(self, at);
    printf("two submitters, the second 30 s later: %llu and %llu of 400 images\n",
           (unsigned long long)one->acked, (unsigned long long)two->acked);
    bool ok = !self->wrong && one->acked >= 190 && two->acked >= 190;
    world_close(self);
    free(self);
    return ok;
}

int main(int argc, char **argv)
{
    uint64_t first = 1, seeds = 300, wrong = 0;
    bool large = false, paces = false;
    for (int a = 1; a < argc; a++) {
        bool takes = a + 1 < argc;
        if (takes && strcmp(argv[a], "--first") == 0)
            first = strtoull(argv[++a], NULL, 10);
        else if (takes && strcmp(argv[a], "--seeds") == 0)
            seeds = strtoull(argv[++a], NULL, 10);
        else if (strcmp(argv[a], "--large") == 0)
            large = true;
        else if (strcmp(argv[a], "--paces") == 0)
            paces = true;
        else
            return 2;
    }
    randombytes_set_implementation(&counted);
    if (sodium_init() < 0)
        return 2;
    log_open("sim", LOG_ERROR_LINE + 1, LOG_TEXT);
    if (paces)
        return run_paces() && run_shares() ? 0 : 1;
    for (uint64_t seed = first; seed < first + seeds && !wrong; seed++)
        wrong += !run_seed(seed, large);
    if (!wrong)
        printf("%llu seeds from %llu on kept every promise\n",
               (unsigned long long)seeds, (unsigned long long)first);
    return wrong ? 1 : 0;
}
