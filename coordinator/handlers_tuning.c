/* Which variants of their kernels devices are fastest with: told by one, for all of its kind.
 *
 * A device's word on this can make another of its kind and identity slower, and nothing else:
 * that one knows its variants by name, and they all give the same bytes. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "coordinator/handlers.h"
#include "coordinator/tell.h"

enum {
    TUNINGS_MOST = 1500, /* of the farm: the newest */
    TUNINGS_A_MESSAGE = 512,
    SHAPE_MOST = 95,
    VARIANT_MOST = 15,
    KIND_MOST = 191
};

/* Rows on their way into a message; their texts are the list's. */
struct told {
    Farm__Tuned *tuned, **list;
    size_t count, most;
    bool whole; /* kind, identity and node as well */
};

static void told_init(struct told *self, size_t most, bool whole)
{
    *self = (struct told){.most = most, .whole = whole};
    self->tuned = calloc(most, sizeof *self->tuned);
    self->list = calloc(most, sizeof *self->list);
    if (!self->tuned || !self->list)
        abort();
}

static void told_clear(struct told *self)
{
    for (size_t i = 0; i < self->count; i++) {
        free(self->tuned[i].shape.data);
        free(self->tuned[i].variant.data);
        free(self->tuned[i].node.data);
        free(self->tuned[i].kind.data);
        free(self->tuned[i].identity.data);
    }
    free(self->tuned);
    free(self->list);
}

static ProtobufCBinaryData copy_of(const void *data, size_t size)
{
    ProtobufCBinaryData copy = {size, malloc(size + 1)};
    if (!copy.data)
        abort();
    memcpy(copy.data, data, size);
    return copy;
}

static void take(void *context, const struct tuning_row *row)
{
    struct told *self = context;
    if (self->count == self->most)
        return;
    Farm__Tuned *tuned = &self->tuned[self->count];
    farm__tuned__init(tuned);
    tuned->shape = copy_of(row->shape, strlen(row->shape));
    tuned->variant = copy_of(row->variant, strlen(row->variant));
    tuned->gain = row->gain;
    tuned->at = row->at;
    if (self->whole) {
        tuned->node = copy_of(row->node, strlen(row->node));
        tuned->kind = copy_of(row->kind, strlen(row->kind));
        tuned->identity = copy_of(row->identity, sizeof row->identity);
    }
    self->list[self->count++] = tuned;
}

bool tuning_list(struct coordinator *self, const struct request *request,
                 struct error *error)
{
    struct told told;
    told_init(&told, TUNINGS_MOST, true);
    bool ok = store_tunings(self->store, NULL, NULL, take, &told, error);
    Farm__Nodes nodes = FARM__NODES__INIT;
    nodes.tuned = told.list;
    nodes.n_tuned = told.count;
    if (ok)
        tell_answer(self, request, ANSWER(nodes, NODES, &nodes));
    told_clear(&told);
    return ok;
}

static bool answer(struct coordinator *self, const struct request *request,
                   const char *kind, struct error *error)
{
    const Farm__Tuning *asked = request->message->envelope->tuning;
    struct told told;
    told_init(&told, TUNINGS_A_MESSAGE, false);
    bool ok =
        store_tunings(self->store, kind, asked->identity.data, take, &told, error);
    Farm__Tuning tuning = FARM__TUNING__INIT;
    tuning.identity = asked->identity;
    tuning.results = told.list;
    tuning.n_results = told.count;
    if (ok)
        tell_answer(self, request, ANSWER(tuning, TUNING, &tuning));
    told_clear(&told);
    return ok;
}

/* Lower case, digits and a little more: what shapes and variants are written with. */
static bool is_name(ProtobufCBinaryData text, size_t most)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789 _/.-";
    if (text.len == 0 || text.len > most)
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (!strchr(allowed, text.data[i]))
            return false;
    return true;
}

static bool check(const Farm__Tuning *tuning, const char *kind, struct error *error)
{
    if (strlen(kind) > KIND_MOST || tuning->n_results > TUNINGS_A_MESSAGE)
        return error_set_kind(error, ERROR_INPUT,
                              "%zu results for a kind of %zu bytes: at most %d and %d",
                              tuning->n_results, strlen(kind), TUNINGS_A_MESSAGE,
                              KIND_MOST);
    for (size_t i = 0; i < tuning->n_results; i++) {
        const Farm__Tuned *tuned = tuning->results[i];
        if (!is_name(tuned->shape, SHAPE_MOST) ||
            !is_name(tuned->variant, VARIANT_MOST) || !(tuned->gain >= 1) ||
            tuned->gain > 1000)
            return error_set_kind(error, ERROR_INPUT,
                                  "result %zu of a tuning: no shape, no variant or a "
                                  "gain that is not 1 to 1000",
                                  i);
    }
    return true;
}

static void keep(struct coordinator *self, const struct node *node,
                 const Farm__Tuning *tuning, const char *kind)
{
    int64_t now = clock_unix();
    for (size_t i = 0; i < tuning->n_results; i++) {
        const Farm__Tuned *tuned = tuning->results[i];
        char *shape = wire_string(tuned->shape), *variant = wire_string(tuned->variant);
        struct tuning_row row = {.kind = kind,
                                 .shape = shape,
                                 .variant = variant,
                                 .gain = tuned->gain,
                                 .at =
                                     tuned->at > 0 && tuned->at < now ? tuned->at : now,
                                 .node = node->name};
        memcpy(row.identity, tuning->identity.data, sizeof row.identity);
        change_tuning(self->change, &row);
        free(shape);
        free(variant);
    }
    if (tuning->n_results)
        change_tuning_old(self->change, TUNINGS_MOST);
}

bool handle_tuning(struct coordinator *self, struct request *request,
                   struct error *error)
{
    const Farm__Tuning *tuning = request->message->envelope->tuning;
    const struct node *node = request->session->node;
    if (!node || !node->device)
        return error_set_kind(error, ERROR_INPUT,
                              "the hello of this connection named no device");
    char *kind = wire_string(node->device->kind);
    bool ok = check(tuning, kind, error);
    if (ok)
        keep(self, node, tuning, kind);
    ok = ok && (!tuning->ask || answer(self, request, kind, error));
    free(kind);
    return ok;
}
