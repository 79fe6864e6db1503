#include "tests/sim/world.h"

#include <sodium.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/path.h"
#include "coordinator/table.h"
#include "tests/sim/spread.h"

enum { CHECK_MS = 700 };

struct world *world;

/* xoshiro256**, seeded by splitmix64 (Blackman and Vigna). */
uint64_t chance(void)
{
    uint64_t *s = world->random, t = s[1] << 17, r = s[1] * 5;
    r = (r << 7 | r >> 57) * 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = s[3] << 45 | s[3] >> 19;
    return r;
}

static void seed_chance(uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        uint64_t z = seed += 0x9e3779b97f4a7c15;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
        z = (z ^ z >> 27) * 0x94d049bb133111eb;
        world->random[i] = z ^ z >> 31;
    }
}

uint64_t chance_below(uint64_t most)
{
    return most ? chance() % most : 0;
}

double chance_real(void)
{
    return (double)(chance() >> 11) / 9007199254740992.0;
}

bool chance_percent(unsigned percent)
{
    return chance_below(100) < percent;
}

static bool is_before(const struct event *one, const struct event *other)
{
    return one->at != other->at ? one->at < other->at : one->order < other->order;
}

static void push(const struct event *event)
{
    if (world->events == world->room) {
        world->room = world->room ? 2 * world->room : 1024;
        world->heap = realloc(world->heap, world->room * sizeof *world->heap);
        if (!world->heap)
            abort();
    }
    size_t at = world->events++;
    for (; at && is_before(event, &world->heap[(at - 1) / 2]); at = (at - 1) / 2)
        world->heap[at] = world->heap[(at - 1) / 2];
    world->heap[at] = *event;
}

static struct event pop(void)
{
    struct event first = world->heap[0], last = world->heap[--world->events];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child + 1 < world->events &&
            is_before(&world->heap[child + 1], &world->heap[child]))
            child++;
        if (child >= world->events || !is_before(&world->heap[child], &last))
            break;
        world->heap[at] = world->heap[child];
        at = child;
    }
    if (world->events)
        world->heap[at] = last;
    return first;
}

void happen(int64_t in_ms, enum event_kind kind, uint32_t who, uint64_t stamp)
{
    struct event event = {.at = world->now + in_ms,
                          .order = ++world->orders,
                          .kind = kind,
                          .who = who,
                          .stamp = stamp};
    push(&event);
}

void happen_with(int64_t at, enum event_kind kind, uint32_t who, uint8_t *data,
                 size_t size)
{
    struct event event = {.at = at,
                          .order = ++world->orders,
                          .kind = kind,
                          .who = who,
                          .data = data,
                          .size = size};
    push(&event);
}

void broken(const char *format, ...)
{
    if (world->wrong)
        return;
    va_list values;
    va_start(values, format);
    char text[400];
    vsnprintf(text, sizeof text, format, values);
    va_end(values);
    world->wrong = path_format("after %.3f s: %s", (double)world->now / 1000, text);
}

static void note_event(const struct event *event)
{
    const uint64_t fields[] = {(uint64_t)event->at, event->order, event->kind,
                               event->who,          event->stamp, event->size};
    world->course = hash_bytes(world->course, fields, sizeof fields);
    world->course = hash_bytes(world->course, event->data, event->size);
}

static void handle(struct event *event)
{
    switch (event->kind) {
    case EVENT_TURN:
        if (world->coordinator && event->stamp == world->life &&
            event->at == world->turn_at)
            coordinator_turn_now();
        break;
    case EVENT_TO_COORDINATOR:
        coordinator_take(event);
        break;
    case EVENT_TO_PEER:
        deliver_to_peer(event);
        break;
    case EVENT_DISK:
        if (event->stamp == world->life)
            disk_done();
        break;
    case EVENT_RESTART:
        if (!world->coordinator)
            coordinator_up();
        break;
    case EVENT_POWER:
        if (event->stamp == world->life)
            coordinator_down(true);
        break;
    case EVENT_TICK:
        if (event->who >= WORKERS_MOST)
            client_tick(event->who - WORKERS_MOST);
        else
            worker_event(event);
        break;
    case EVENT_NEARLY:
    case EVENT_RENDERED:
    case EVENT_UPLOAD:
        worker_event(event);
        break;
    case EVENT_FETCH:
        if (event->stamp == world->worker[event->who].life)
            spread_turn(event->who);
        break;
    case EVENT_WANT:
        links_want(event);
        break;
    case EVENT_RANGE:
        links_range(event);
        break;
    case EVENT_LINE:
        links_line(event);
        break;
    case EVENT_MISFORTUNE:
        misfortune();
        break;
    case EVENT_CHECK:
        check_queue();
        happen(CHECK_MS, EVENT_CHECK, 0, 0);
        break;
    }
}

void world_run(struct world *self, int64_t until)
{
    while (self->events && self->heap[0].at <= until && !self->wrong && !all_ended()) {
        struct event event = pop();
        self->now = event.at > self->now ? event.at : self->now;
        self->handled++;
        note_event(&event);
        handle(&event);
        free(event.data);
    }
}

void world_open(struct world *self, uint64_t seed, const struct plan *plan)
{
    *self = (struct world){.seed = seed, .plan = *plan, .now = 1000000};
    world = self;
    seed_chance(seed);
    self->inbox = zlistx_new();
    self->stored = zlistx_new();
    self->unsynced = zlistx_new();
    self->blobs = table_new(32);
    self->attempts = table_new(16);
    client_plan();
    coordinator_up();
    for (uint32_t w = 0; w < plan->workers; w++)
        worker_start(w);
    for (uint32_t c = 0; c < SUBMITTERS; c++)
        happen(1, EVENT_TICK, WORKERS_MOST + c, 0);
    if (plan->misfortune_s > 0)
        happen(1000, EVENT_MISFORTUNE, 0, 0);
    happen(CHECK_MS, EVENT_CHECK, 0, 0);
}

static void free_all(zhashx_t **table)
{
    for (void *item = zhashx_first(*table); item; item = zhashx_next(*table))
        free(item);
    zhashx_destroy(table);
}

void world_close(struct world *self)
{
    if (self->coordinator)
        coordinator_down(false);
    store_close(&self->store);
    spread_close();
    while (self->events) {
        struct event event = pop();
        free(event.data);
    }
    for (unsigned j = 0; j < JOBS_MOST; j++) {
        free(self->job[j].packed);
        free(self->job[j].answered);
    }
    free_all(&self->blobs);
    free_all(&self->attempts);
    zlistx_destroy(&self->inbox);
    zlistx_destroy(&self->stored);
    zlistx_destroy(&self->unsynced);
    free(self->connection);
    free(self->queued);
    free(self->heap);
    free(self->wrong);
}
