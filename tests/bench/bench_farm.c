/* Tasks a second through a whole farm, rendering aside.
 *
 *     bench_farm [--workers 500] [--tasks 20000] [--blob 16384] [--state DIR] [--json]
 *                [--kill] [--stalled 100] COORDINATOR
 *     bench_farm --idle 20 | --restart 1000000 [--state DIR] [--json] COORDINATOR
 *
 * Starts the real coordinator on loopback and, in this process, that many workers: two CURVE
 * connections each, the real messages, everything but the picture. Each task is assigned,
 * its blob (distinct, or with --blob 0 one that is there already) offered on the bulk link,
 * hashed, synced, committed and answered. --kill ends the coordinator by SIGKILL after the
 * last answer, starts it again and counts what it remembers. --stalled adds that many
 * watchers that read nothing of what they ask for; --idle takes the coordinator's processor
 * time with that many workers and no work, --restart how long it takes to start with that
 * many tasks done and as many queued.
 */
#include <getopt.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/path.h"
#include "tests/bench/farm_client.h"
#include "tests/bench/farm_peers.h"
#include "tests/bench/farm_stand.h"

enum { CREDIT = 2, HEARTBEAT_MS = 2000, HELD_MOST = CREDIT };

static const double IDLE_S = 20;

struct worker {
    zsock_t *control, *bulk;
    uint32_t index;
    Farm__Commit *held[HELD_MOST]; /* packed again when its blob is stored */
    size_t holds;
    uint64_t received;
    int64_t ready_us; /* when credit was last sent with nothing held */
};

struct bench {
    struct farm_client client;
    size_t workers, tasks, blob;
    size_t stalled, idle, restart;
    double memory_mib; /* the coordinator's, at the most */
    bool json, kill_it;
    uint8_t stored[BLOB_ID]; /* without blobs, every task's result */
    struct worker *worker;
    size_t committed;
    double *wait_ms; /* credit sent -> Assign, first of each worker aside */
    size_t waits;
    double assign_ms, turn_ms, commit_ms; /* p99, of the coordinator's own clocks */
};

static void send_ready(struct bench *self, struct worker *w)
{
    ProtobufCBinaryData model = wire_bytes(self->client.model, BLOB_ID);
    Farm__Ready ready = FARM__READY__INIT;
    ready.credit = (uint32_t)(w->holds < CREDIT ? CREDIT - w->holds : 0);
    ready.received = w->received;
    ready.models = &model;
    ready.n_models = 1;
    ready.batch = 1;
    ENVELOPE(envelope, READY, ready, &ready);
    farm_client_send(w->control, &envelope, NULL, 0);
    w->ready_us = clock_us();
}

static void send_heartbeat(struct worker *w)
{
    Farm__Progress progress[HELD_MOST], *list[HELD_MOST];
    for (size_t i = 0; i < w->holds; i++) {
        farm__progress__init(&progress[i]);
        progress[i].attempt = w->held[i]->attempt;
        progress[i].state = FARM__ATTEMPT_STATE__ATTEMPT_UPLOADING;
        list[i] = &progress[i];
    }
    Farm__Heartbeat heartbeat = FARM__HEARTBEAT__INIT;
    heartbeat.progress = list;
    heartbeat.n_progress = w->holds;
    ENVELOPE(envelope, HEARTBEAT, heartbeat, &heartbeat);
    farm_client_send(w->control, &envelope, NULL, 0);
}

static void send_commit(struct worker *w, Farm__Commit *commit)
{
    ENVELOPE(envelope, COMMIT, commit, commit);
    farm_client_send(w->control, &envelope, NULL, 0);
}

/* A commit of one's own, unpacked from its packed form: one free_unpacked ends it. */
static Farm__Commit *make_commit(struct bench *self, const Farm__Attempt *attempt,
                                 const uint8_t blob[BLOB_ID])
{
    uint8_t packed[512];
    Farm__Result result = FARM__RESULT__INIT;
    result.png = wire_bytes(blob, BLOB_ID);
    result.png_size = self->blob ? self->blob : 1;
    result.pixels = wire_bytes(blob, BLOB_ID);
    result.seconds = 0.001;
    result.step_pixels = 20 * 64 * 64;
    Farm__Commit commit = FARM__COMMIT__INIT;
    commit.attempt = attempt->id;
    commit.job = attempt->job;
    commit.index = attempt->index;
    commit.key = attempt->key;
    commit.result = &result;
    size_t size = farm__commit__pack(&commit, packed);
    return farm__commit__unpack(NULL, size, packed);
}

static void take_attempt(struct bench *self, struct worker *w,
                         const Farm__Attempt *attempt)
{
    static uint8_t bytes[1 << 18];
    if (w->holds == HELD_MOST)
        farm_client_die("a worker was given more than its credit", NULL);
    if (!self->blob) {
        Farm__Commit *commit = make_commit(self, attempt, self->stored);
        w->held[w->holds++] = commit;
        send_commit(w, commit);
        return;
    }
    uint8_t id[BLOB_ID];
    memset(bytes, 0, self->blob);
    memcpy(bytes, attempt->job.data, 16);
    memcpy(bytes + 16, &attempt->index, sizeof attempt->index);
    blob_id(bytes, self->blob, id);
    w->held[w->holds++] = make_commit(self, attempt, id);
    Farm__Offer it = FARM__OFFER__INIT;
    it.blob = wire_bytes(id, BLOB_ID);
    it.size = self->blob;
    ENVELOPE(envelope, OFFER, offer, &it);
    farm_client_send(w->bulk, &envelope, bytes, self->blob);
}

static void take_answer(struct bench *self, struct worker *w,
                        const Farm__Committed *answer)
{
    if (answer->answer != FARM__COMMIT_ANSWER__COMMIT_ACCEPTED) {
        struct error error;
        error_set(&error, "%d %.*s", (int)answer->answer, (int)answer->text.len,
                  (const char *)answer->text.data);
        farm_client_die("a commit was not accepted", &error);
    }
    for (size_t i = 0; i < w->holds; i++)
        if (w->held[i]->attempt->counter == answer->attempt->counter) {
            farm__commit__free_unpacked(w->held[i], NULL);
            w->held[i] = w->held[--w->holds];
            self->committed++;
            break;
        }
    send_ready(self, w);
}

static void read_control(struct bench *self, struct worker *w)
{
    struct message message;
    struct error error;
    while (wire_receive(w->control, WIRE_CONTROL_LIMIT, &message, &error)) {
        const Farm__Envelope *e = message.envelope;
        if (e->body_case == FARM__ENVELOPE__BODY_ASSIGN) {
            if (w->ready_us && self->waits < self->tasks)
                self->wait_ms[self->waits++] = (double)(clock_us() - w->ready_us) / 1e3;
            w->ready_us = 0;
            w->received += e->assign->n_attempts;
            for (size_t i = 0; i < e->assign->n_attempts; i++)
                take_attempt(self, w, e->assign->attempts[i]);
        } else if (e->body_case == FARM__ENVELOPE__BODY_COMMITTED) {
            take_answer(self, w, e->committed);
        } else if (e->body_case == FARM__ENVELOPE__BODY_REFUSED) {
            struct error why;
            error_set(&why, "%.*s", (int)e->refused->text.len,
                      (const char *)e->refused->text.data);
            farm_client_die("refused", &why);
        }
        message_clear(&message);
    }
    message_clear(&message);
}

static void read_bulk(struct worker *w)
{
    struct message message;
    struct error error;
    while (wire_receive(w->bulk, WIRE_BULK_LIMIT, &message, &error)) {
        const Farm__Envelope *e = message.envelope;
        if (e->body_case != FARM__ENVELOPE__BODY_STORED)
            farm_client_die(wire_name(e->body_case), NULL);
        for (size_t i = 0; i < w->holds; i++)
            if (wire_is(w->held[i]->result->png, e->stored->blob.data, BLOB_ID))
                send_commit(w, w->held[i]);
        message_clear(&message);
    }
    message_clear(&message);
}

static void connect_workers(struct bench *self)
{
    char *bulk = farm_client_bulk_address(&self->client);
    for (size_t i = 0; i < self->workers; i++) {
        struct worker *w = &self->worker[i];
        Farm__Device device = FARM__DEVICE__INIT;
        const struct keypair *key = &self->client.worker_key[i / FARM_CLIENT_DEVICES];
        device.index = (uint32_t)(i % FARM_CLIENT_DEVICES);
        device.name = wire_text("none");
        device.kind = wire_text("bench");
        w->control = farm_client_connect(&self->client, key, self->client.farm.address);
        w->bulk = farm_client_connect(&self->client, key, bulk);
        farm_client_greet(&self->client, w->control, &device);
    }
    free(bulk);
}

static void run(struct bench *self)
{
    size_t count = 2 * self->workers;
    zmq_pollitem_t *items = calloc(count, sizeof *items);
    for (size_t i = 0; i < self->workers; i++) {
        struct worker *w = &self->worker[i];
        items[2 * i] = (zmq_pollitem_t){zsock_resolve(w->control), 0, ZMQ_POLLIN, 0};
        items[2 * i + 1] = (zmq_pollitem_t){zsock_resolve(w->bulk), 0, ZMQ_POLLIN, 0};
        send_ready(self, w);
        w->ready_us = 0;
    }
    int64_t beat = clock_ms() + HEARTBEAT_MS;
    while (self->committed < self->tasks) {
        zmq_poll(items, (int)count, 1000);
        for (size_t i = 0; i < self->workers; i++) {
            if (items[2 * i].revents)
                read_control(self, &self->worker[i]);
            if (items[2 * i + 1].revents)
                read_bulk(&self->worker[i]);
        }
        if (clock_ms() >= beat) {
            for (size_t i = 0; i < self->workers; i++)
                send_heartbeat(&self->worker[i]);
            beat = clock_ms() + HEARTBEAT_MS;
        }
    }
    free(items);
}

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static uint64_t done_after_kill(struct bench *self, const uint8_t job[16])
{
    kill(self->client.process, SIGKILL);
    waitpid(self->client.process, NULL, 0);
    zsock_destroy(&self->client.admin);
    farm_client_start(&self->client);
    self->client.admin = farm_client_connect(&self->client, &self->client.admin_key,
                                             self->client.farm.address);
    farm_client_greet(&self->client, self->client.admin, NULL);
    char hex[33];
    sodium_bin2hex(hex, sizeof hex, job, 16);
    Farm__JobShow show = FARM__JOB_SHOW__INIT;
    show.job = wire_text(hex);
    ENVELOPE(envelope, JOB_SHOW, job_show, &show);
    struct message answer =
        farm_client_ask(&self->client, self->client.admin, &envelope, NULL, 0,
                        FARM__ENVELOPE__BODY_JOB_DETAIL);
    uint64_t done = answer.envelope->job_detail->summary->done;
    message_clear(&answer);
    return done;
}

/* The same machine's parts, alone, in the same run. */
static void print_peers(struct bench *self)
{
    double router = farm_peer_router(512),
           sqlite = farm_peer_sqlite(self->client.state);
    double files = farm_peer_files(self->client.state, self->blob ? self->blob : 4096);
    if (self->json)
        printf("\"router_trips_per_s\": %.0f, \"sqlite_commits_per_s\": %.0f, "
               "\"synced_files_per_s\": %.0f}\n",
               router, sqlite, files);
    else
        printf("beside it, alone: %.0f CURVE round trips/s, %.0f SQLite commits/s, "
               "%.0f synced files/s\n",
               router, sqlite, files);
}

static void report(struct bench *self, double seconds, uint64_t remembered)
{
    qsort(self->wait_ms, self->waits, sizeof *self->wait_ms, compare);
    double p99 = self->waits ? self->wait_ms[self->waits * 99 / 100] : 0;
    double rate = (double)self->tasks / seconds;
    if (self->json)
        printf("{\"work\": \"farm\", \"workers\": %zu, \"tasks\": %zu, \"blob\": %zu, "
               "\"tasks_per_s\": %.0f, \"assign_p99_ms\": %.1f, \"turn_p99_ms\": %.1f, "
               "\"commit_p99_ms\": %.1f, \"worker_wait_p99_ms\": %.1f, "
               "\"remembered\": %llu, \"stalled\": %zu, \"memory_mib\": %.0f, ",
               self->workers, self->tasks, self->blob, rate, self->assign_ms,
               self->turn_ms, self->commit_ms, p99, (unsigned long long)remembered,
               self->stalled, self->memory_mib);
    else
        printf("%zu workers, %zu tasks, blobs of %zu bytes: %.0f tasks/s\n"
               "in the coordinator p99: credit read to Assign sent %.1f ms, a turn "
               "%.1f ms, a commit %.1f ms\n"
               "at the workers p99: Ready sent to Assign taken %.1f ms\n%s%llu%s"
               "beside %zu stalled watchers the coordinator took %.0f MiB\n",
               self->workers, self->tasks, self->blob, rate, self->assign_ms,
               self->turn_ms, self->commit_ms, p99,
               self->kill_it ? "after kill -9 and restart: " : "",
               (unsigned long long)remembered,
               self->kill_it ? " of them done\n" : " answered\n", self->stalled,
               self->memory_mib);
    print_peers(self);
}

static void end(struct bench *self)
{
    zsock_destroy(&self->client.admin);
    kill(self->client.process, SIGTERM);
    waitpid(self->client.process, NULL, 0);
}

static void run_idle(struct bench *self)
{
    double part = farm_stand_idle(&self->client, self->idle, IDLE_S);
    printf(self->json
               ? "{\"work\": \"idle\", \"workers\": %zu, \"core_percent\": %.3f, "
               : "%zu idle workers: %.3f %% of a core\n",
           self->idle, 100 * part);
    end(self);
    print_peers(self);
}

static void run_restart(struct bench *self)
{
    double seconds = farm_stand_restart(&self->client, self->restart);
    printf(self->json
               ? "{\"work\": \"restart\", \"tasks\": %zu, \"seconds\": %.2f, "
               : "a start with that many tasks done and as many queued, %zu: %.2f s\n",
           self->restart, seconds);
    end(self);
    print_peers(self);
}

static void parse(struct bench *self, int argc, char **argv)
{
    static const struct option options[] = {{"workers", required_argument, NULL, 'w'},
                                            {"tasks", required_argument, NULL, 't'},
                                            {"blob", required_argument, NULL, 'b'},
                                            {"state", required_argument, NULL, 's'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"kill", no_argument, NULL, 'k'},
                                            {"stalled", required_argument, NULL, 'l'},
                                            {"idle", required_argument, NULL, 'i'},
                                            {"restart", required_argument, NULL, 'r'},
                                            {0}};
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 'w')
            self->workers = strtoul(optarg, NULL, 10);
        else if (c == 't')
            self->tasks = strtoul(optarg, NULL, 10);
        else if (c == 'b')
            self->blob = strtoul(optarg, NULL, 10);
        else if (c == 's')
            self->client.state = path_format("%s", optarg);
        else if (c == 'j')
            self->json = true;
        else if (c == 'k')
            self->kill_it = true;
        else if (c == 'l')
            self->stalled = strtoul(optarg, NULL, 10);
        else if (c == 'i')
            self->idle = strtoul(optarg, NULL, 10);
        else if (c == 'r')
            self->restart = strtoul(optarg, NULL, 10);
        else
            exit(2);
    }
    if (optind + 1 != argc ||
        self->workers > FARM_CLIENT_WORKERS * FARM_CLIENT_DEVICES ||
        self->blob > 1 << 18 || (self->blob && self->blob < 32)) {
        fprintf(stderr,
                "usage: bench_farm [--workers N] [--tasks N] [--blob 32..262144 "
                "or 0] [--state DIR] [--json] [--kill] [--stalled N] COORDINATOR\n"
                "       bench_farm --idle N | --restart N [--state DIR] [--json] "
                "COORDINATOR\n");
        exit(2);
    }
    self->client.coordinator = argv[optind];
}

static bool run_load(struct bench *self)
{
    uint8_t job[16];
    farm_client_offer(&self->client, &self->client.worker_key[0], "x", 1, self->stored);
    connect_workers(self);
    zsock_t **stalled = farm_stand_stall(&self->client, self->stalled);
    farm_client_submit(&self->client, self->tasks, job);
    int64_t start = clock_us();
    run(self);
    double seconds = (double)(clock_us() - start) / 1e6;
    self->assign_ms = farm_client_quantile(&self->client, "assign_seconds", 0.99);
    self->turn_ms = farm_client_quantile(&self->client, "turn_seconds", 0.99);
    self->commit_ms = farm_client_quantile(&self->client, "commit_seconds", 0.99);
    self->memory_mib = farm_stand_memory(self->client.process);
    uint64_t remembered =
        self->kill_it ? done_after_kill(self, job) : (uint64_t)self->committed;
    end(self);
    report(self, seconds, remembered);
    for (size_t i = 0; i < self->workers; i++) {
        zsock_destroy(&self->worker[i].control);
        zsock_destroy(&self->worker[i].bulk);
    }
    farm_stand_release(&stalled, self->stalled);
    return remembered == self->tasks;
}

int main(int argc, char **argv)
{
    struct bench self = {.workers = 500, .tasks = 20000, .blob = 16384};
    parse(&self, argc, argv);
    if (sodium_init() < 0)
        farm_client_die("libsodium", NULL);
    zsys_set_max_sockets(0);
    char made[] = "/tmp/clfarm-bench-XXXXXX";
    if (!self.client.state)
        self.client.state = path_format("%s", mkdtemp(made) ? made : "");
    self.worker = calloc(self.workers, sizeof *self.worker);
    self.wait_ms = calloc(self.tasks, sizeof *self.wait_ms);

    bool ok = true;
    farm_client_start(&self.client);
    farm_client_join(&self.client);
    farm_client_add_model(&self.client);
    if (self.idle)
        run_idle(&self);
    else if (self.restart)
        run_restart(&self);
    else
        ok = run_load(&self);
    path_remove_tree(self.client.state);
    free(self.client.state);
    free(self.worker);
    free(self.wait_ms);
    return ok ? 0 : 1;
}
