/* Which variants of their kernels devices are fastest with: told by one, for all of its kind.
 *
 * A device's word on this can make another of its kind and identity slower, and nothing else:
 * that one knows its variants by name, and they all give the same bytes. */
#ifndef FARM_TUNINGS_H
#define FARM_TUNINGS_H

#include "coordinator/tell.h"

enum {
    TUNINGS_MOST = 1500, /* of the farm: the newest */
    TUNINGS_A_MESSAGE = 512,
};

/* Every result as the answer to NodeList.tuning. */
bool tunings_list(struct coordinator *self, const struct request *request,
                  struct error *error);

#endif
