/* What comes with farmctl: the other programs beside it, and a model. */
#ifndef FARM_BUNDLED_H
#define FARM_BUNDLED_H

#include "client/session.h"

#define BUNDLED_MODEL "emoji"

/* The folder farmctl lies in, where the other programs are too; heap. */
char *bundled_programs(void);

/* Gives the farm the bundled model unless it has one of that name, or none lies here. */
bool bundled_import(struct session *session, bool quiet, struct error *error);

#endif
