#include "coordinator/parked.h"

#include <stdlib.h>

#include "coordinator/handlers.h"

enum { PARKED_MOST = 512 };

struct waiting {
    struct message message;
    uint64_t change;
};

struct parked {
    zlistx_t *waiting; /* in the order they came */
};

struct parked *parked_new(void)
{
    struct parked *self = calloc(1, sizeof *self);
    if (!self || !(self->waiting = zlistx_new()))
        abort();
    return self;
}

static void waiting_destroy(struct waiting *waiting)
{
    message_clear(&waiting->message);
    free(waiting);
}

void parked_destroy(struct parked **self)
{
    if (!*self)
        return;
    for (struct waiting *w = zlistx_detach((*self)->waiting, NULL); w;
         w = zlistx_detach((*self)->waiting, NULL))
        waiting_destroy(w);
    zlistx_destroy(&(*self)->waiting);
    free(*self);
    *self = NULL;
}

bool parked_add(struct coordinator *self, struct request *request, uint64_t change)
{
    uint64_t decided = self->handed + !change_is_empty(self->change);
    if (!request->again && decided > change)
        change = decided;
    if (change <= self->durable)
        return false;
    if (zlistx_size(self->parked->waiting) == PARKED_MOST) {
        struct error busy = {0};
        error_set_kind(&busy, ERROR_BUSY, "%d requests wait for the disk already",
                       PARKED_MOST);
        tell_refused(self, request->peer, request->message->envelope->request, &busy);
        return true;
    }
    struct waiting *waiting = malloc(sizeof *waiting);
    if (!waiting)
        abort();
    *waiting = (struct waiting){*request->message, change};
    *request->message = (struct message){0};
    zlistx_add_end(self->parked->waiting, waiting);
    return true;
}

static struct waiting *due(const struct coordinator *self)
{
    struct waiting *first = zlistx_first(self->parked->waiting);
    return first && first->change <= self->durable ? first : NULL;
}

bool parked_is_due(const struct coordinator *self)
{
    return due(self) != NULL;
}

bool parked_take(struct coordinator *self)
{
    struct waiting *waiting = due(self);
    if (!waiting)
        return false;
    zlistx_detach(self->parked->waiting, NULL);
    handlers_take_again(self, &waiting->message);
    waiting_destroy(waiting);
    return true;
}
