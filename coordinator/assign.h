/* Where credit and work meet. */
#ifndef FARM_ASSIGN_H
#define FARM_ASSIGN_H

#include "coordinator/work.h"

/* Gives ready tasks to nodes with credit until one of the two is used up. */
void assign_all(struct coordinator *self);

/* In how many milliseconds to look again though nothing happens: at once while known
 * results are being settled, soon while a task waits to be tried again; -1: no need. */
int assign_patience(const struct coordinator *self);

#endif
