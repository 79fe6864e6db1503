#include "worker/render_order.h"

#include <stdlib.h>
#include <string.h>

struct render_order *render_order_new(enum render_order_kind kind)
{
    struct render_order *order = calloc(1, sizeof *order);
    if (!order)
        abort();
    order->kind = kind;
    return order;
}

void render_order_destroy(struct render_order *order)
{
    for (size_t i = 0; i < order->count; i++)
        attempt_copy_clear(&order->batch[i]);
    model_files_clear(&order->files);
    inputs_clear(&order->inputs);
    free(order->told);
    free(order->model_name);
    free(order);
}

struct render_order *render_order_of_batch(enum render_order_kind kind,
                                           const uint8_t model[BLOB_ID],
                                           const struct inputs *inputs,
                                           struct attempt *const *batch, size_t count)
{
    struct render_order *order = render_order_new(kind);
    memcpy(order->model, model, BLOB_ID);
    inputs_copy(&order->inputs, inputs);
    for (; order->count < count; order->count++)
        attempt_copy(&order->batch[order->count], batch[order->count]);
    return order;
}

struct render_order *render_order_of_told(const struct tuned *told, size_t count)
{
    struct render_order *order = render_order_new(RENDER_ORDER_TUNED);
    order->told = malloc(count * sizeof *told);
    if (!order->told)
        abort();
    memcpy(order->told, told, count * sizeof *told);
    order->told_count = count;
    return order;
}
