/* The way of an attempt through this loop
 *
 *   Assign      FETCHING    its model's files are not known to be here: the I/O actor is
 *                           asked, which has them, links them or fetches them
 *               ASSIGNED    waits for the device
 *               RENDERING   the render actor has it; steps come back
 *               UPLOADING   its result is the I/O actor's: spooled, offered, announced
 *   Committed   gone        the answer was final
 *
 * Credit asks for one full batch; once the present one is past three quarters of its steps
 * for a second, so that the next starts when it ends. More would be hoarded from others.
 */
#include "worker/device.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/path.h"
#include "worker/device_private.h"

enum { HAND_OVER_MS = 5000 }; /* for the last snapshots of what is stopped */

static void leave(struct device *self, int64_t within_ms)
{
    int64_t at = clock_ms() + within_ms;
    if (!self->leave || at < self->leave_at)
        self->leave_at = at;
    self->leave = self->drain = true;
    device_return_waiting(self);
}

static void read_host(struct device *self)
{
    char order;
    if (read(STDIN_FILENO, &order, 1) <= 0)
        _exit(0); /* it is gone; results are safe in the spool */
    leave(self, order == DEVICE_DRAIN ? self->settings->drain_s * 1000 : 0);
}

/* Ends when everything is done, and when time is up: what renders then goes back, and what
 * is not acknowledged stays in the spool. */
static void watch_leaving(struct device *self, int64_t now)
{
    if (!self->leave)
        return;
    int64_t at = self->leave_at + (device_hands_over(self) ? HAND_OVER_MS : 0);
    if (!self->rendering &&
        ((!self->attempts.count && !self->spooled) || !self->greeted || now >= at)) {
        device_return_waiting(self);
        self->over = true;
    } else if (self->rendering && now >= self->leave_at && !self->stopping) {
        self->stopping = true;
        render_stop(self->render, true);
    }
}

static void watch_device(struct device *self, int64_t now)
{
    if (watchdog_left(&self->dog, now) > 0)
        return;
    log_error("%s gave no sign of life for %lld s: ending this process",
              self->info.name[0] ? self->info.name : "the device",
              (long long)watchdog_limit(&self->dog) / 1000);
    _exit(DEVICE_BROKEN); /* its threads may hang in the driver for ever */
}

static int patience(const struct device *self, int64_t now)
{
    int64_t until = now + (device_hands_over(self) ? 100 : 60000);
    if (self->greeted && self->next_heartbeat < until)
        until = self->next_heartbeat;
    if (self->leave && self->leave_at > now && self->leave_at < until)
        until = self->leave_at;
    int64_t left = until - now, dog = watchdog_left(&self->dog, now);
    if (dog < left)
        left = dog;
    if (self->link && link_patience(self->link, now) < left)
        left = link_patience(self->link, now);
    return left > 0 ? (int)left : 0;
}

static void wait_for_something(struct device *self)
{
    zmq_pollitem_t items[5] = {
        {NULL, STDIN_FILENO, ZMQ_POLLIN, 0},
        {zsock_resolve(render_socket(self->render)), 0, ZMQ_POLLIN, 0},
        {zsock_resolve(io_socket(self->io)), 0, ZMQ_POLLIN, 0},
    };
    int count = 3;
    if (self->link) {
        items[count++].socket = zsock_resolve(link_socket(self->link));
        items[count++].socket = zsock_resolve(link_monitor(self->link));
        items[3].events = items[4].events = ZMQ_POLLIN;
    }
    zmq_poll(items, count, patience(self, clock_ms()));
    if (items[0].revents)
        read_host(self);
}

static void run(struct device *self)
{
    while (!self->over) {
        wait_for_something(self);
        struct render_event rendered;
        while (!self->over && render_next(self->render, &rendered)) {
            device_on_render(self, &rendered);
            render_event_clear(&rendered);
        }
        struct io_event done;
        while (io_next(self->io, &done)) {
            device_on_io(self, &done);
            io_event_clear(&done);
        }
        device_step_link(self);
        device_start_batch(self);
        int64_t now = clock_ms();
        if (self->greeted && now >= self->next_heartbeat) {
            control_heartbeat(self->link, &self->attempts, self->memory);
            self->next_heartbeat = now + self->heartbeat_ms;
        }
        device_tell_ready(self);
        watch_device(self, now);
        watch_leaving(self, now);
    }
}

static struct io *open_io(const struct device *self, struct error *error)
{
    char *spool = path_format("%s/spool/%zu", self->settings->state, self->index);
    struct io_options io_options = {
        .spool = spool,
        .cache = self->settings->cache,
        .depot = self->settings->depot,
        .cache_limit = (uint64_t)self->settings->cache_gib << 30,
        .own = &self->member->own,
        .server_key = self->member->farm.server_key,
        .peer_bind = member_peer_bind(self->member, self->settings->peer_bind),
        .peer_port = (int)self->settings->peer_port,
    };
    struct io *io = io_new(&io_options, error);
    free(spool);
    return io;
}

int device_run(size_t index, const uint8_t instance[DEVICE_INSTANCE],
               const struct worker_settings *settings, const struct member *member)
{
    struct device self = {
        .index = index,
        .settings = settings,
        .member = member,
        .instance = instance,
        .batch = 1,
        .credit = UINT32_MAX,
    };
    struct error error = {0};
    memcpy(self.signing_key, member->farm.signing_key, sizeof self.signing_key);
    self.dog.factor = (double)settings->watchdog_factor;
    self.dog.least_ms = settings->watchdog_least_s * 1000;
    self.dog.first_ms = settings->watchdog_first_s * 1000;
    self.io = open_io(&self, &error);
    if (!self.io) {
        log_error("%s", error.text);
        return 1;
    }
    self.spooled = io_spooled_at_start(self.io);
    self.render = render_new(index, settings);
    watchdog_start(&self.dog, 1, 1, 1, clock_ms());
    run(&self);
    link_close(&self.link);
    io_destroy(&self.io);
    render_destroy(&self.render);
    tuning_destroy(&self.tuning);
    attempts_clear(&self.attempts);
    models_clear(&self.models);
    return self.status;
}
