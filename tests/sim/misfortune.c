/* What may go wrong, until the storm is over: then all that is not dead for good comes
 * back, and every job must end. */
#include "tests/sim/spread.h"

enum { BACK_WITHIN_MS = 40000, CUT_MS = 45000, JUMP_S = 200000 };

static uint32_t any_worker(void)
{
    return (uint32_t)chance_below(world->plan.workers);
}

static uint32_t alive_workers(void)
{
    uint32_t count = 0;
    for (uint32_t w = 0; w < world->plan.workers; w++)
        count += !world->worker[w].dead;
    return count;
}

/* One that a task half way is kept for; WORKERS_MOST: none. */
static uint32_t awaited_worker(void)
{
    struct coordinator *farm = world->coordinator;
    const struct queue_job *job = farm ? TAILQ_FIRST(&farm->queue->open) : NULL;
    for (; job; job = TAILQ_NEXT(job, open))
        for (size_t r = 0; job->kept && r < job->returned_count; r++)
            if (job->returned[r].only)
                return worker_keyed(
                    registry_node_numbered(&farm->registry, job->returned[r].only)
                        ->key);
    return WORKERS_MOST;
}

static void crash_worker(void)
{
    uint32_t awaited = chance_percent(50) ? awaited_worker() : WORKERS_MOST;
    uint32_t number = awaited < WORKERS_MOST ? awaited : any_worker();
    struct worker *worker = &world->worker[number];
    if (!worker->alive)
        return;
    worker_crash(number);
    if (alive_workers() > 1 + world->plan.workers / 2 &&
        chance_percent(awaited < WORKERS_MOST ? 60 : 20)) {
        worker->dead = true;
        worker->spooled = 0; /* with its disk */
    }
}

static void revive_worker(void)
{
    uint32_t number = any_worker();
    if (!world->worker[number].alive && !world->worker[number].dead)
        worker_start(number);
}

/* A worker speaks of an attempt that is another's. */
static void lie(void)
{
    uint32_t number = any_worker();
    const struct queue_lease *lease =
        world->coordinator
            ? TAILQ_LAST(&world->coordinator->queue->leases, queue_leases)
            : NULL;
    if (lease)
        worker_lies(number, lease->id.epoch, lease->id.counter, lease->node);
}

/* Nothing gets through for a while, and then all of it, or nothing. */
static void part_worker(void)
{
    const struct worker *worker = &world->worker[any_worker()];
    if (worker->connection >= world->connections)
        return;
    struct connection *connection = &world->connection[worker->connection];
    connection->held_until = world->now + (int64_t)chance_below(CUT_MS);
    if (chance_percent(50))
        connection->open = false;
}

void misfortune(void)
{
    if (world->now > world->plan.storm_ms + 1000000) {
        heal();
        return;
    }
    double in_ms = world->plan.misfortune_s * 2000 * chance_real();
    happen(1 + (int64_t)in_ms, EVENT_MISFORTUNE, 0, 0);
    if (world->plan.files && chance_percent(30)) {
        if (chance_percent(50))
            spread_lie(any_worker(), any_worker());
        else
            spread_revoke(any_worker());
        return;
    }
    switch (chance_below(10)) {
    case 0:
        if (chance_percent(50))
            world->power_fails = true; /* with the next slow commit */
        else
            coordinator_down(chance_percent(50));
        break;
    case 1:
    case 2:
        crash_worker();
        break;
    case 3:
    case 4:
        revive_worker();
        break;
    case 5:
    case 6:
        part_worker();
        break;
    case 8:
        lie();
        break;
    case 7:
        world->disk_full = !world->disk_full;
        break;
    default:
        world->unix_offset_s += (int64_t)chance_below(2 * JUMP_S) - JUMP_S;
    }
}

void heal(void)
{
    world->healed = true;
    world->disk_full = false;
    for (uint32_t n = 0; n < world->connections; n++)
        if (world->connection[n].held_until > world->now)
            world->connection[n].open = false;
    for (uint32_t w = 0; w < world->plan.workers; w++)
        if (!world->worker[w].alive && !world->worker[w].dead)
            worker_start(w);
}
