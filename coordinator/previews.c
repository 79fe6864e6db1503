#include "coordinator/previews.h"

#include <stdbool.h>
#include <string.h>

#include "proto/wire.h"

static void drop(struct previews *self, size_t i)
{
    farm__event__free_unpacked(self->item[i].event, NULL);
    memmove(&self->item[i], &self->item[i + 1],
            (--self->count - i) * sizeof *self->item);
}

void previews_clear(struct previews *self)
{
    while (self->count)
        drop(self, self->count - 1);
}

static bool is_old(const struct preview *preview, const Farm__Event *newest,
                   int64_t now)
{
    return now - preview->at > PREVIEWS_MS ||
           (preview->index == newest->preview->index &&
            wire_is(newest->job, preview->job, sizeof preview->job));
}

void previews_put(struct previews *self, const Farm__Event *event,
                  const uint8_t owner[32], int64_t now)
{
    for (size_t i = self->count; i-- > 0;)
        if (is_old(&self->item[i], event, now))
            drop(self, i);
    if (self->count == PREVIEWS_MOST)
        drop(self, 0);
    struct preview *preview = &self->item[self->count++];
    memcpy(preview->job, event->job.data, sizeof preview->job);
    memcpy(preview->owner, owner, sizeof preview->owner);
    preview->index = event->preview->index;
    preview->number = ++self->last;
    preview->at = now;
    preview->event = wire_copy(&event->base);
}

const struct preview *previews_after(const struct previews *self, uint64_t number)
{
    for (size_t i = 0; i < self->count; i++)
        if (self->item[i].number > number)
            return &self->item[i];
    return NULL;
}
