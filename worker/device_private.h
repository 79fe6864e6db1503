/* The inside of a child process, for the device_*.c files alone. */
#ifndef FARM_DEVICE_PRIVATE_H
#define FARM_DEVICE_PRIVATE_H

#include "worker/control.h"
#include "worker/device.h"
#include "worker/io.h"
#include "worker/render.h"
#include "worker/watchdog.h"

struct device {
    size_t index;
    const struct worker_settings *settings;
    const struct member *member;
    char node[64];                    /* what the farm calls us; "" until it greeted */
    uint8_t signing_key[SIGNING_KEY]; /* of the farm; zeros until it is told */
    const uint8_t *instance;
    int status; /* of the process at its end */
    bool over;

    struct render *render;
    struct io *io;
    struct link *link; /* NULL until the device has proved itself */
    struct gpu_info info;
    struct tuning *tuning; /* as the render actor has it; NULL: nothing is tuned */
    struct error unfit;    /* empty text: fit */
    struct watchdog dog;

    bool greeted;
    char trouble[500]; /* last logged */
    int64_t heartbeat_ms, next_heartbeat;
    uint32_t credit;   /* last told */
    uint64_t received; /* attempts that came since the greeting */
    uint64_t requests;

    struct attempts attempts;
    struct models models;
    size_t spooled;
    size_t batch;  /* images at once */
    size_t memory; /* bytes its models take by plan */
    bool rendering, nearly_done;
    bool drain, leave; /* no new work; and then end */
    bool stopping;     /* the last batch was told to stop */
    int64_t leave_at;
};

/* device_work.c: what the two actors report, and what follows from it. */
void device_on_render(struct device *self, struct render_event *event);
void device_on_io(struct device *self, struct io_event *event);

/* Asks for what of the attempt's model and files is not here: it is FETCHING then, ASSIGNED
 * otherwise. False when too much is being fetched; the attempt has ended. */
bool device_want(struct device *self, struct attempt *attempt);

/* What the log's lines are about from now on; NULL: the node alone. */
void device_about(const struct device *self, const struct attempt *attempt);

/* Ends an attempt that will have no result. */
void device_fail(struct device *self, struct attempt *attempt, const struct error *why);

/* device_batch.c: gives the device the next batch when it is idle and something waits; while it
 * is busy, that batch's texts. */
void device_start_batch(struct device *self);

/* device_control.c: the connection. */
bool device_connect(struct device *self, struct error *error);
void device_step_link(struct device *self);
void device_tell_ready(struct device *self); /* where credit or models changed */

/* device_tuning.c: asked for at each greeting; what came of that; a result of our own. */
void device_ask_tuning(struct device *self);
void device_on_tuning(struct device *self, const Farm__Tuning *message);
void device_tell_tuned(struct device *self, const struct tuned *tuned);

/* Whether what was stopped waits for its last snapshot to be there before it goes back. */
bool device_hands_over(const struct device *self);

/* All that waits goes back to the coordinator; what renders is finished. */
void device_return_waiting(struct device *self);

#endif
