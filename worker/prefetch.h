/* `farm-worker fetch MODEL`: brings a model into this machine's cache ahead of work. */
#ifndef FARM_PREFETCH_H
#define FARM_PREFETCH_H

#include "config/settings.h"
#include "proto/files/blob.h"
#include "worker/member.h"

/* Fetches from other workers and the coordinator; returns when all is here. With `stay` it
 * then goes on giving pieces to others until SIGTERM or SIGINT. Needs no device. */
bool prefetch_run(const struct worker_settings *settings, const struct member *member,
                  const uint8_t model[BLOB_ID], bool stay, struct error *error);

#endif
