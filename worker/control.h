/* What a device says to the coordinator, a function a message. All return false when the
 * link takes nothing now; what then must not be lost its caller sends again. */
#ifndef FARM_CONTROL_H
#define FARM_CONTROL_H

#include "opencl/tuning.h"
#include "proto/link.h"
#include "worker/attempts.h"
#include "worker/io.h"
#include "worker/models.h"

bool control_ready(struct link *link, uint32_t credit, uint64_t received,
                   uint32_t batch, const struct models *models);
bool control_heartbeat(struct link *link, const struct attempts *attempts,
                       size_t memory);
bool control_failed(struct link *link, const struct attempt *attempt,
                    const struct error *why);
bool control_refuse(struct link *link, const Farm__AttemptId *id,
                    const struct error *why); /* as Failed, for one never held */
bool control_returned(struct link *link, struct attempt *const *attempts, size_t count);
bool control_checkpoint(struct link *link, const struct io_event *there);
bool control_preview(struct link *link, const struct attempt *attempt, uint32_t step,
                     const struct buffer *png);
bool control_no_checkpoint(struct link *link, const struct attempt *attempt,
                           uint32_t step);
/* Results of our own, none: asks for what others found. */
bool control_tuning(struct link *link, const struct tuning *tuning,
                    const struct tuned *results, size_t count);
bool control_commit(struct link *link, Farm__Commit *commit);
bool control_have(struct link *link,
                  const struct io_event *have); /* IO_HAVE, IO_MODEL */
bool control_granted(struct link *link, const struct io_event *granted);
bool control_model_get(struct link *link, uint64_t request, const uint8_t id[BLOB_ID]);

#endif
