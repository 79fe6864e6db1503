/* Any envelope with any payload to the bulk port's handlers, from a worker and a submitter in
 * turn: what a key has here never passes its quota, and nothing is stored under a hash that
 * is not its own. The first byte says whether the blob's id is made the payload's. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/path.h"
#include "coordinator/ranges.h"
#include "coordinator/registry.h"
#include "coordinator/uploads.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { QUOTA = 1 << 20, LIFE = 5000 }; /* inputs of one store's life */

static struct depot_limits limits = {.worker_quota = QUOTA, .submit_quota = QUOTA};
static struct uploads uploads;
static struct ranges ranges;
static zsock_t *bulk, *sink;
static char folder[] = "/dev/shm/farm-fuzz-XXXXXX";
static unsigned age;

static void begin(void)
{
    struct error error = {0};
    memcpy(folder + sizeof folder - 7, "XXXXXX", 6);
    if (!mkdtemp(folder))
        abort();
    bulk = zsock_new(ZMQ_ROUTER);
    zsock_set_router_mandatory(bulk, 1);
    char *name = path_format("@inproc://fuzz-%u", age);
    zsock_t *pipe = zsock_new_pair(name);
    *name = '>';
    sink = zsock_new_pair(name);
    free(name);
    if (!pipe || !sink)
        abort();
    uploads = (struct uploads){.bulk = bulk,
                               .pipe = pipe,
                               .folder = folder,
                               .limits = &limits,
                               .blobs = blob_store_open(folder, &error)};
    if (!uploads.blobs)
        abort();
    uploads_init(&uploads);
    uploads.landing = landing_new(uploads.blobs);
    ranges.bulk = bulk;
    ranges.blobs = uploads.blobs;
}

static void end(void)
{
    if (!uploads.blobs)
        return;
    uploads_clear(&uploads);
    landing_destroy(&uploads.landing);
    ranges_clear(&ranges);
    blob_store_close(&uploads.blobs);
    zsock_destroy(&uploads.pipe);
    zsock_destroy(&sink);
    zsock_destroy(&bulk);
    path_remove_tree(folder);
}

/* What was stored has the hash it is named by. */
static void take_stored(void)
{
    while (zsock_events(sink) & ZMQ_POLLIN) {
        uint8_t found[BLOB_ID];
        zframe_t *id = zframe_recv(sink);
        char *path = blob_path(uploads.blobs, zframe_data(id));
        if (!blob_id_of_file(path, found, NULL, NULL) ||
            memcmp(found, zframe_data(id), BLOB_ID) != 0)
            abort();
        if (found[0] & 1)
            holdings_release(&uploads.holdings, found);
        free(path);
        zframe_destroy(&id);
    }
}

static void deliver(Farm__Envelope *envelope, const uint8_t *payload, size_t size,
                    unsigned who, bool true_id)
{
    struct error error = {0};
    struct message message = {.envelope = envelope};
    memset(message.key, (int)who + 1, sizeof message.key);
    message.peer = zframe_new("\0\0\0\0\1", PEER_ID);
    message.payload = size ? zframe_new(payload, size) : NULL;
    if (envelope->body_case == FARM__ENVELOPE__BODY_OFFER) {
        if (true_id) {
            blob_id(payload, size, envelope->offer->blob.data);
            envelope->offer->size = size;
        }
        uploads_offer(&uploads, &message,
                      who ? FARM__ROLE__ROLE_WORKER : FARM__ROLE__ROLE_SUBMIT, &error);
    } else if (envelope->body_case == FARM__ENVELOPE__BODY_CHUNK) {
        uploads_chunk(&uploads, &message, &error);
    } else if (envelope->body_case == FARM__ENVELOPE__BODY_WANT) {
        ranges_take(&ranges, &message, &error);
    }
    if (holdings_of(&uploads.holdings, message.key) > QUOTA)
        abort();
    message_clear(&message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ends;
    struct error error = {0};
    if (size < 2)
        return 0;
    if (!uploads.blobs) {
        begin();
        ends = ends || !atexit(end);
    }
    size_t packed = data[1] < size - 2 ? data[1] : size - 2;
    const uint8_t *payload = data + 2 + packed;
    size_t rest = size - 2 - packed;
    for (unsigned who = 0; who < 2; who++) {
        Farm__Envelope *envelope = wire_unpack(data + 2, packed, &error);
        if (!envelope)
            return 0;
        deliver(envelope, payload, rest, who, data[0] & 1);
    }
    uploads_try_again(&uploads);
    uploads_work(&uploads);
    uploads_landed(&uploads);
    take_stored();
    if (data[0] & 2)
        uploads_sweep(&uploads, clock_ms() + (data[0] & 4 ? 100000 : 0));
    if (++age % LIFE == 0)
        end();
    return 0;
}
