/* Any envelope to the coordinator's handlers, from a member of every role in turn.
 *
 * A real coordinator stands behind it, with a state folder, SQLite, actors and sockets; what came before stays, so that inputs build on each other. After each input the
 * turn ends as in the loop, and what must hold of a queue is checked.
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/path.h"
#include "coordinator/coordinator.h"
#include "coordinator/handlers.h"
#include "coordinator/parked.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PEERS = 5, LIFE = 20000 }; /* inputs of one coordinator's life */

static struct coordinator_settings settings;
static struct coordinator *coordinator;
static char folder[] = "/dev/shm/farm-fuzz-XXXXXX";
static unsigned age;

static void die(const struct error *error)
{
    fprintf(stderr, "%s\n", error->text);
    abort();
}

static void peer_id(unsigned peer, uint8_t id[PEER_ID])
{
    memset(id, 0, PEER_ID);
    id[PEER_ID - 1] = (uint8_t)(peer + 1);
}

static void key_of(unsigned peer, uint8_t key[32])
{
    memset(key, (int)(peer + 1), 32);
}

/* Roles 1 .. 5 of the protocol, each a member. */
static void add_members(void)
{
    for (unsigned p = 0; p < PEERS; p++) {
        struct member member = {.role = (Farm__Role)(p + 1),
                                .grants = FARM__ROLE__ROLE_WORKER,
                                .expires = INT64_MAX};
        key_of(p, member.key);
        snprintf(member.name, sizeof member.name, "member-%u", p);
        members_add(&coordinator->members, &member);
    }
}

static void deliver(unsigned peer, Farm__Envelope *envelope)
{
    uint8_t id[PEER_ID];
    struct error none = {0};
    struct message message = {.envelope = envelope};
    peer_id(peer, id);
    key_of(peer, message.key);
    message.peer = zframe_new(id, PEER_ID);
    handlers_take(coordinator, &message, &none);
    message_clear(&message);
}

/* Says hello, a worker with a device, unless the connection stands: it ends whenever an
 * answer finds nobody behind the routing id. */
static void greet(unsigned peer)
{
    uint8_t id[PEER_ID];
    peer_id(peer, id);
    if (peer + 1 == FARM__ROLE__ROLE_JOIN ||
        registry_session(&coordinator->registry, id))
        return;
    Farm__Device device = FARM__DEVICE__INIT;
    device.name = device.kind = device.vendor = device.driver = wire_text("GPU");
    Farm__Hello hello = FARM__HELLO__INIT;
    hello.version = WIRE_VERSION;
    hello.host = hello.program = wire_text("host");
    hello.instance = wire_bytes("0123456789abcdef", 16);
    hello.device = peer + 1 == FARM__ROLE__ROLE_WORKER ? &device : NULL;
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.body_case = FARM__ENVELOPE__BODY_HELLO;
    envelope.hello = &hello;
    deliver(peer, wire_copy(&envelope.base));
}

/* A model every task may name: "tiny", of one empty file. */
static void add_model(void)
{
    uint8_t hash[32] = {0};
    crypto_generichash(hash, sizeof hash, NULL, 0, NULL, 0);
    Farm__ModelFile file = FARM__MODEL_FILE__INIT, *files[] = {&file};
    file.path = wire_text("unet/config.json");
    file.blob = file.sha256 = wire_bytes(hash, sizeof hash);
    Farm__Manifest manifest = FARM__MANIFEST__INIT;
    manifest.name = wire_text("tiny");
    manifest.kind = wire_text("diffusers");
    manifest.family = wire_text("sd1");
    manifest.n_files = 1;
    manifest.files = files;
    manifest.factor = 8;
    manifest.width = manifest.height = 64;
    models_add(&coordinator->models, &manifest, "tiny", true, 1);
}

static void end(void)
{
    if (!coordinator)
        return;
    coordinator_destroy(&coordinator);
    zclock_sleep(
        100); /* an actor's thread closes its pipe after its end was reported */
    config_clear(&coordinator_program, &settings);
    path_remove_tree(folder);
}

static void begin(void)
{
    struct error error = {0};
    if (config_load(&coordinator_program, &settings, NULL, NULL, &error) !=
        CONFIG_READY)
        die(&error);
    memcpy(folder + sizeof folder - 7, "XXXXXX", 6);
    if (!mkdtemp(folder))
        abort();
    free(settings.state);
    settings.state = path_format("%s/state", folder);
    free(settings.bind);
    settings.bind = path_format("tcp://127.0.0.1");
    settings.port = settings.bulk_port = settings.reserve_mib = 0;
    coordinator = coordinator_new(&settings, &error);
    if (!coordinator)
        die(&error);
    static bool ends;
    ends = ends || !atexit(end); /* before czmq's own end */
    add_members();
    add_model();
}

static void check_queue(void)
{
    const struct queue_job *job;
    TAILQ_FOREACH(job, &coordinator->queue->open, open)
    if (job->done + job->failed + job->canceled + job->leased + job->sharing >
        job->tasks)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error error = {0};
    Farm__Envelope *first = wire_unpack(data, size, &error);
    if (!first)
        return 0;
    farm__envelope__free_unpacked(first, NULL);
    if (!coordinator) {
        log_open("fuzz", LOG_ERROR_LINE, LOG_TEXT);
        begin();
    }
    for (unsigned p = 0; p < PEERS; p++) {
        greet(p);
        deliver(p, wire_unpack(data, size, &error));
    }
    coordinator_end_turn(coordinator);
    while (parked_take(coordinator))
        ;
    check_queue();
    if (coordinator->stopping || ++age % LIFE == 0)
        end();
    return 0;
}
