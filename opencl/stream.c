#include "opencl/stream.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "opencl/arena.h"

enum state { IDLE, PLANNING, RUNNING };

struct stream {
    struct gpu *gpu;
    enum dtype dtype;
    enum state state;
    bool failed;
    struct error error;

    /* One block per tensor_take() of a pass, in order; its part of the arena beside it. */
    struct arena_block *blocks;
    cl_mem *parts;
    size_t count, capacity;
    size_t time; /* takes and gives so far */
    size_t next; /* running: the block of the next take */

    struct arena_layout layout;
    cl_mem *buffers;
};

struct stream *stream_new(struct gpu *gpu, enum dtype dtype, struct error *error)
{
    struct stream *self = calloc(1, sizeof *self);
    if (!self) {
        error_set_kind(error, ERROR_MEMORY, "no memory for a stream");
        return NULL;
    }
    self->gpu = gpu;
    self->dtype = dtype;
    return self;
}

static void release_arena(struct stream *self)
{
    for (size_t i = 0; self->parts && i < self->count; i++)
        gpu_release_part(self->gpu, &self->parts[i]);
    for (size_t i = 0; self->buffers && i < self->layout.buffer_count; i++)
        gpu_release(self->gpu, &self->buffers[i]);
    free(self->parts);
    free(self->buffers);
    self->parts = NULL;
    self->buffers = NULL;
    arena_layout_clear(&self->layout);
}

void stream_destroy(struct stream **self)
{
    if (!*self)
        return;
    gpu_finish((*self)->gpu, NULL);
    release_arena(*self);
    free((*self)->blocks);
    free(*self);
    *self = NULL;
}

void stream_plan(struct stream *self)
{
    gpu_finish(self->gpu, NULL);
    release_arena(self);
    self->count = self->time = 0;
    self->failed = false;
    self->state = PLANNING;
}

/* Ends a pass: hands the first error out and forgets it. */
static bool end_pass(struct stream *self, struct error *error)
{
    self->state = IDLE;
    if (self->failed && error)
        *error = self->error;
    return !self->failed;
}

bool stream_ready(struct stream *self, struct error *error)
{
    assert(self->state == PLANNING);
    if (!end_pass(self, error))
        return false;
    const struct gpu_info *info = gpu_info(self->gpu);
    if (!arena_lay_out(self->blocks, self->count, info->alignment,
                       info->largest_allocation, &self->layout, error))
        return false;
    self->buffers = calloc(self->layout.buffer_count + 1, sizeof *self->buffers);
    self->parts = calloc(self->count + 1, sizeof *self->parts);
    bool ok = self->buffers && self->parts;
    if (!ok)
        error_set_kind(error, ERROR_MEMORY, "no memory for %zu tensors", self->count);
    for (size_t i = 0; ok && i < self->layout.buffer_count; i++) {
        self->buffers[i] = gpu_allocate(self->gpu, self->layout.buffer_bytes[i], error);
        ok = self->buffers[i] != NULL;
    }
    for (size_t i = 0; ok && i < self->count; i++) {
        const struct arena_block *block = &self->blocks[i];
        self->parts[i] = gpu_part(self->gpu, self->buffers[block->buffer],
                                  block->offset, block->bytes, error);
        ok = self->parts[i] != NULL;
    }
    if (!ok)
        release_arena(self);
    return ok;
}

void stream_run(struct stream *self)
{
    assert(self->state == IDLE && self->parts);
    self->next = 0;
    self->failed = false;
    self->state = RUNNING;
}

bool stream_end(struct stream *self, struct error *error)
{
    assert(self->state == RUNNING);
    assert(self->failed || self->next == self->count);
    return end_pass(self, error) && gpu_flush(self->gpu, error);
}

/* ---- Tensors */

static void record(struct stream *self, size_t bytes)
{
    if (self->count == self->capacity) {
        self->capacity = self->capacity ? self->capacity * 2 : 256;
        self->blocks = realloc(self->blocks, self->capacity * sizeof *self->blocks);
        if (!self->blocks)
            abort();
    }
    self->blocks[self->count++] =
        (struct arena_block){.bytes = bytes, .from = self->time++, .until = SIZE_MAX};
}

struct tensor tensor_take_as(struct stream *self, enum dtype dtype, size_t n, size_t h,
                             size_t w, size_t c)
{
    assert(self->state != IDLE);
    struct tensor tensor = {.dtype = dtype, .n = n, .h = h, .w = w, .c = c};
    size_t bytes = tensor_count(&tensor) * dtype_size(dtype);
    assert(bytes > 0);
    if (self->state == PLANNING) {
        tensor.slot = self->count;
        record(self, bytes);
        return tensor;
    }
    /* A run that differs from its plan is a mistake in the graph. */
    assert(self->next < self->count && bytes <= self->blocks[self->next].bytes);
    tensor.slot = self->next++;
    tensor.memory = self->parts[tensor.slot];
    return tensor;
}

struct tensor tensor_take(struct stream *self, size_t n, size_t h, size_t w, size_t c)
{
    return tensor_take_as(self, self->dtype, n, h, w, c);
}

void tensor_give(struct stream *self, struct tensor *tensor)
{
    assert(tensor->slot < self->count);
    if (self->state == PLANNING) {
        assert(self->blocks[tensor->slot].until == SIZE_MAX);
        self->blocks[tensor->slot].until = self->time++;
    }
    *tensor = (struct tensor){.slot = SIZE_MAX};
}

/* ---- For ops */

struct gpu *stream_gpu(struct stream *self)
{
    return self->gpu;
}

enum dtype stream_dtype(const struct stream *self)
{
    return self->dtype;
}

bool stream_is_running(const struct stream *self)
{
    return self->state == RUNNING && !self->failed;
}

void stream_fail(struct stream *self, const struct error *error)
{
    if (self->failed)
        return;
    self->failed = true;
    self->error = *error;
}

size_t stream_arena_bytes(const struct stream *self)
{
    return self->layout.bytes;
}

size_t stream_live_bytes(const struct stream *self)
{
    return self->layout.live;
}
