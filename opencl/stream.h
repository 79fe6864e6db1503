/* A pass over a model's graph: first planned, then run as often as wanted.
 *
 * The same forward function serves both passes. While planning, tensor_take() records size
 * and lifetime and ops only record what they need; stream_ready() lays all tensors out in
 * one arena; while running, the n-th tensor_take() returns the n-th place and ops enqueue
 * their kernels. No allocation and no host wait happens while running.
 *
 *     stream_plan(s);  unet_forward(s, ...);  stream_ready(s, &error);
 *     each step:  stream_run(s);  unet_forward(s, ...);  stream_end(s, &error);
 *
 * Ops return nothing: the first error stays in the stream, later ops do nothing, and
 * stream_ready/stream_end report it. So a forward function reads like the paper.
 */
#ifndef FARM_STREAM_H
#define FARM_STREAM_H

#include "opencl/tensor.h"

struct stream;

struct stream *stream_new(struct gpu *gpu, enum dtype dtype, struct error *error);
void stream_destroy(struct stream **self);

void stream_plan(struct stream *self);
bool stream_ready(struct stream *self, struct error *error);
void stream_run(struct stream *self);
bool stream_end(struct stream *self, struct error *error);

/* An activation in the stream's dtype; contents undefined. Each is given back once, in any
 * order; its memory may then be another's. */
struct tensor tensor_take(struct stream *self, size_t n, size_t h, size_t w, size_t c);
void tensor_give(struct stream *self, struct tensor *tensor);

/* The same in a dtype of its own: scratch memory of ops. */
struct tensor tensor_take_as(struct stream *self, enum dtype dtype, size_t n, size_t h,
                             size_t w, size_t c);

/* For ops. */
struct gpu *stream_gpu(struct stream *self);
enum dtype stream_dtype(const struct stream *self);
bool stream_is_running(const struct stream *self); /* and nothing failed yet */
void stream_fail(struct stream *self, const struct error *error); /* the first stays */

/* Bytes of the arena, and the most that live at one time (arena >= live). */
size_t stream_arena_bytes(const struct stream *self);
size_t stream_live_bytes(const struct stream *self);

#endif
