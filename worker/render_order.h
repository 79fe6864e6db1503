/* What the loop asks of the render actor; orders go through the pipe between them, which owns
 * them on their way. */
#ifndef FARM_RENDER_ORDER_H
#define FARM_RENDER_ORDER_H

#include "opencl/tuning.h"
#include "worker/attempts.h"
#include "worker/inputs.h"

enum render_order_kind {
    RENDER_ORDER_BATCH,
    RENDER_ORDER_AHEAD,
    RENDER_ORDER_TUNED,
    RENDER_ORDER_PREVIEWS,
    RENDER_ORDER_STOP,
    RENDER_ORDER_END
};

struct render_order {
    enum render_order_kind kind;
    bool keep;     /* with a stop */
    int64_t until; /* of previews */
    uint8_t model[BLOB_ID];
    struct model_files files;
    char *model_name;
    char model_hash[11];
    struct inputs inputs;
    struct attempt batch[BATCH_MOST]; /* copies; tasks owned */
    size_t count;
    struct tuned *told; /* by other devices */
    size_t told_count;
};

struct render_order *render_order_new(enum render_order_kind kind);
void render_order_destroy(struct render_order *order);

/* Model, inputs and attempts are copied. */
struct render_order *render_order_of_batch(enum render_order_kind kind,
                                           const uint8_t model[BLOB_ID],
                                           const struct inputs *inputs,
                                           struct attempt *const *batch, size_t count);
struct render_order *render_order_of_told(const struct tuned *told, size_t count);

#endif
