/* The render actor: the only thread that touches the device.
 *
 * Opens and proves it, keeps the models used last loaded as far as its memory holds them,
 * renders one batch at a time. Its owner sends orders and reads events and never waits for
 * either.
 */
#ifndef FARM_RENDER_H
#define FARM_RENDER_H

#include <czmq.h>

#include "config/settings.h"
#include "opencl/gpu.h"
#include "opencl/tuning.h"
#include "proto/farm.pb-c.h"
#include "worker/attempts.h"
#include "worker/inputs.h"
#include "worker/rendered.h"
#include "worker/sd/pipeline.h"

struct render;

/* Starts the thread, which opens device `index`: RENDER_OPENED or RENDER_NO_DEVICE comes.
 * Destroying stops what renders and waits for it. Settings are borrowed. */
struct render *render_new(size_t index, const struct worker_settings *settings);
void render_destroy(struct render **self);

/* Readable when render_next has something. */
zsock_t *render_socket(struct render *self);

/* Renders the batch: RENDER_LOADING where the model must be loaded first, RENDER_STARTED,
 * RENDER_STEP..., an RENDER_IMAGE each, at the end RENDER_ENDED. Only one at a time. Files,
 * manifest, inputs and batch are copied. */
void render_batch(struct render *self, const uint8_t model[BLOB_ID],
                  const struct model_files *files, const Farm__Manifest *manifest,
                  const struct inputs *inputs, struct attempt *const *batch,
                  size_t count);

/* The batch that will be next while another of its model renders, so far as it is known: its
 * texts are encoded between steps, and its first step does not wait for that. Copied. */
void render_ahead(struct render *self, const uint8_t model[BLOB_ID],
                  const struct inputs *inputs, struct attempt *const *batch,
                  size_t count);

/* The present batch is not wanted any more; RENDER_ENDED comes with ERROR_BUSY, or it had
 * ended already. With `keep`, snapshots of where it stands come first. */
void render_stop(struct render *self, bool keep);

/* Until that time (clock_ms) previews of what renders are told, one a second and image. Of
 * models of pixels there are none. */
void render_previews(struct render *self, int64_t until);

/* What other devices measured (tune_told). */
void render_tuned(struct render *self, const struct tuned *told, size_t count);

enum render_event_kind {
    RENDER_OPENED, /* info, and in error.text why it must not work (or ""); tuning, the
                         owner's to destroy */
    RENDER_NO_DEVICE, /* error */
    RENDER_LOADING,
    RENDER_STARTED, /* width, height, count, memory */
    RENDER_STEP,    /* done, of */
    RENDER_KEPT, /* epoch, counter, step, bytes: of an attempt whose job wants those */
    RENDER_PREVIEW, /* epoch, counter, step, bytes: a small PNG file */
    RENDER_ANEW,    /* error: what it was to go on from does not fit, it begins anew */
    RENDER_IMAGE,   /* rendered, the owner's to free */
    RENDER_ENDED,   /* ok, error, memory */
    RENDER_TUNED,   /* tuned: what was measured while there was no work */
    RENDER_STOPPED, /* the last one; seen by render_destroy only */
};

struct render_event {
    enum render_event_kind kind;
    struct gpu_info info;
    struct tuning *tuning; /* a copy; NULL: nothing is tuned */
    struct tuned tuned;
    size_t width, height, count;
    size_t memory; /* bytes that models take by plan (residents.h) */
    size_t done, of;
    struct rendered *rendered;
    uint64_t epoch, counter;
    uint32_t step;
    struct buffer bytes; /* a whole snapshot or PNG file; the owner's to clear */
    bool ok;
    struct error error;
};

bool render_next(struct render *self, struct render_event *into);
void render_event_clear(struct render_event *self);

#endif
