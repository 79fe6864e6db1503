/* `--deadline TIME`: until when a job should be done. */
#ifndef FARM_DEADLINE_H
#define FARM_DEADLINE_H

#include <stdint.h>

#include "base/error.h"

/* Unix seconds of "90s", "30m", "2h" or "7d" from `now` on; "18:30", the next time it is so
 * here; "2027-03-01", the end of that day here, or "2027-03-01 18:30" (or with a T, or with a
 * Z for UTC); and of unix seconds themselves, 0 for none. ERROR_INPUT when the text is no
 * time or the time has passed. */
bool deadline_read(const char *text, int64_t now, int64_t *deadline,
                   struct error *error);

#endif
