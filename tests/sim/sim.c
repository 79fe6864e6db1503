/* farm_sim: many seeds of a farm with all that may go wrong, and how fast work is done when
 * nothing does.
 *
 *     farm_sim [--first S] [--seeds N] [--large]     (500 workers, a million tasks)
 *     farm_sim --paces
 *     farm_sim --spread MIB PEERS
 *
 * Prints the first seed that breaks a promise, and which; that seed alone breaks it again. So
 * that this stays true the first seeds are run once more after all others, and must take the
 * same course to the last byte of the last event.
 * --spread tells how long a model takes to so many workers, beside one alone, over lines of
 * 40 Mbit/s each.
 */
#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "coordinator/table.h"
#include "tests/sim/world.h"

enum {
    AGAIN_MOST = 20,     /* seeds that are run twice */
    SPREAD_WORKERS = 16, /* their files are real ones */
    SLOW_WORKERS = 3,
    PIECE_KIB = 4096,
    START_MS = 1000000,
    STORM_MS = 240000,
    COMMIT_MS = 12,
    LARGE_STORM_MS = 120000, /* a large farm's hours are dear: shorter storms, */
    LARGE_COMMIT_MS = 100,   /* larger groups */
    PATIENCE_MS = 3600000
};

/* What the programs draw comes from here, begun anew by each seed; the secret of hash tables
 * too, which a process has one of. */
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
    plan.workers = 1 + (unsigned)chance_below(2u << chance_below(6));
    plan.workers = large ? 500 : plan.workers > 50 ? 50 : plan.workers;
    plan.jobs = 1 + (unsigned)chance_below(large ? 8 : 6);
    plan.tasks = 1 + chance_below(1u << chance_below(11));
    plan.tasks = large ? 1000000 : plan.tasks;
    plan.even = large;
    plan.misfortune_s = chance_percent(10) ? 0 : 1 + 20 * chance_real();
    plan.storm_ms = large ? LARGE_STORM_MS : STORM_MS;
    plan.commit_ms = large ? LARGE_COMMIT_MS : COMMIT_MS;
    plan.batch = 1u << chance_below(4);
    plan.alike = chance_percent(10);
    if (!large && plan.workers <= SPREAD_WORKERS && chance_percent(20)) {
        plan.files = 1 + chance_below(20);
        plan.file_size = 1 + chance_below(4096);
        double whole_s = 5 + 30 * chance_real(), least = (double)plan.file_size + 200;
        plan.line = fmax((double)(plan.files * plan.file_size) / whole_s, least);
        plan.misfortune_s *= chance_percent(60);
        if (plan.workers <= SLOW_WORKERS &&
            chance_percent(50)) { /* 11 to 30 s a file */
            plan.slow = true;
            plan.line = least / (11 + 19 * chance_real());
        }
    }
    double whole = 0, work = 20 * 64 * 64;
    for (unsigned w = 0; w < plan.workers; w++)
        whole += plan.speed[w] = work * (0.1 + 2 * chance_real() * chance_real());
    /* So fast that all work would take about two minutes. */
    double scale = (double)plan.tasks * work / 120 / whole;
    for (unsigned w = 0; w < plan.workers && scale > 1; w++)
        plan.speed[w] *= scale;
    return plan;
}

/* A large run takes minutes: a line for each of the farm's minutes tells how far it is. */
static void run_telling(struct world *self)
{
    const int64_t end = START_MS + STORM_MS + PATIENCE_MS;
    for (int64_t at = START_MS; at < end && !self->wrong && !all_ended(); at += 60000) {
        uint64_t acked = 0;
        world_run(self, at);
        for (unsigned j = 0; j < self->plan.jobs; j++)
            acked += self->job[j].acked;
        fprintf(stderr, "%lld s: %llu events, %llu results acknowledged, %u starts\n",
                (long long)(at - START_MS) / 1000, (unsigned long long)self->handled,
                (unsigned long long)acked, self->starts);
    }
}

static void draw_secret(void)
{
    zhashx_t *table = table_new(sizeof(uint64_t));
    zhashx_destroy(&table);
}

/* false, and says why, when the seed breaks a promise. *course: a digest of all that happened. */
static bool run_seed(uint64_t seed, bool large, uint64_t *course)
{
    struct plan plan = plan_of(seed, large);
    struct world *self = calloc(1, sizeof *self);
    if (!self)
        abort();
    drawn = 0;
    world_open(self, seed, &plan);
    if (large)
        run_telling(self);
    else
        world_run(self, START_MS + STORM_MS + PATIENCE_MS);
    if (!self->wrong && !all_ended())
        broken("a job does not end");
    if (!self->wrong)
        check_disk(true);
    bool ok = !self->wrong;
    if (!ok)
        printf("seed %llu: %s (%u workers, %u jobs, %llu events)\n",
               (unsigned long long)seed, self->wrong, plan.workers, plan.jobs,
               (unsigned long long)self->handled);
    *course = self->course;
    world_close(self);
    free(self);
    return ok;
}

static bool run_seeds(uint64_t first, uint64_t seeds, bool large)
{
    uint64_t course[AGAIN_MOST], latest;
    for (uint64_t s = 0; s < seeds; s++) {
        if (!run_seed(first + s, large, &latest))
            return false;
        if (s < AGAIN_MOST)
            course[s] = latest;
    }
    for (uint64_t s = seeds < AGAIN_MOST ? seeds : AGAIN_MOST; s-- > 0 && !large;)
        if (!run_seed(first + s, large, &latest) || latest != course[s]) {
            printf("seed %llu takes another course when others ran before it\n",
                   (unsigned long long)(first + s));
            return false;
        }
    printf("%llu seeds from %llu on kept every promise\n", (unsigned long long)seeds,
           (unsigned long long)first);
    return true;
}

/* Seconds from the acceptance of one job to its end. */
static double pace(unsigned workers, const double *speeds, uint64_t tasks,
                   uint32_t batch)
{
    struct plan plan = {.workers = workers,
                        .jobs = 1,
                        .tasks = tasks,
                        .batch = batch,
                        .plain = true,
                        .even = true};
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
        .workers = 3, .jobs = 2, .tasks = 600, .batch = 2, .plain = true, .even = true};
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

/* Seconds until all have a model of so many MiB. */
static double spread_to(unsigned workers, unsigned long mib, double *copies)
{
    struct plan plan = {.workers = workers,
                        .jobs = 1,
                        .tasks = 1,
                        .batch = 1,
                        .plain = true,
                        .even = true,
                        .files = mib * 1024 / PIECE_KIB,
                        .file_size = PIECE_KIB << 10,
                        .line = 5e6};
    for (unsigned w = 0; w < workers; w++)
        plan.speed[w] = 1e6;
    struct world *self = calloc(1, sizeof *self);
    if (!self)
        abort();
    world_open(self, 1, &plan);
    world_run(self, START_MS + PATIENCE_MS);
    double seconds = (double)(self->now - START_MS) / 1000;
    *copies = (double)self->depot_sent / (double)(plan.files * plan.file_size);
    if (self->wrong || !all_ended()) {
        printf("%s\n", self->wrong ? self->wrong : "it does not end");
        seconds = 1e9;
    }
    world_close(self);
    free(self);
    return seconds;
}

static bool run_spread(unsigned long mib, unsigned workers)
{
    double copies, alone = spread_to(1, mib, &copies);
    double together = spread_to(workers, mib, &copies);
    printf("%lu MiB: 1 worker %.1f s, %u workers %.1f s: %.2f times that; the "
           "coordinator sent %.2f copies\n",
           mib, alone, workers, together, together / alone, copies);
    return together <= 2 * alone && copies <= 1.3;
}

int main(int argc, char **argv)
{
    uint64_t first = 1, seeds = 0;
    bool large = false, paces = false;
    unsigned long mib = 0, peers = 0;
    for (int a = 1; a < argc; a++) {
        bool takes = a + 1 < argc;
        if (takes && strcmp(argv[a], "--first") == 0)
            first = strtoull(argv[++a], NULL, 10);
        else if (takes && strcmp(argv[a], "--seeds") == 0)
            seeds = strtoull(argv[++a], NULL, 10);
        else if (a + 2 < argc && strcmp(argv[a], "--spread") == 0) {
            mib = strtoul(argv[++a], NULL, 10);
            peers = strtoul(argv[++a], NULL, 10);
        } else if (strcmp(argv[a], "--large") == 0)
            large = true;
        else if (strcmp(argv[a], "--paces") == 0)
            paces = true;
        else
            return 2;
    }
    randombytes_set_implementation(&counted);
    if (sodium_init() < 0)
        return 2;
    draw_secret();
    log_open("sim", LOG_ERROR_LINE + 1, LOG_TEXT);
    if (mib && peers && peers <= WORKERS_MOST)
        return run_spread(mib, (unsigned)peers) ? 0 : 1;
    if (paces)
        return run_paces() && run_shares() ? 0 : 1;
    seeds = seeds ? seeds : large ? 1 : 300;
    return run_seeds(first, seeds, large) ? 0 : 1;
}
