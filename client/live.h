/* Following a job until it ends: what its tasks and nodes do, shown and fetched as they
 * land. Rides out a coordinator that goes away and comes back. */
#ifndef FARM_LIVE_H
#define FARM_LIVE_H

#include "client/session.h"

struct live_options {
    const char *folder;   /* where results go; NULL: they are not fetched */
    const char *template; /* names.h */
    const char
        *previews;      /* folder for DIR/previews/NAME.png as they come; NULL: none */
    bool only_pictures; /* leave latents where they are */
    bool bar;           /* redraw progress on a terminal */
    bool stream;        /* print a JSON line for each change */
    bool only_present;  /* end when all that is done now was fetched */
};

struct live;

/* `job`: an id, a unique prefix, a label or "last". */
struct live *live_new(struct session *session, const char *job,
                      const struct live_options *wanted, struct error *error);
void live_destroy(struct live **self);

/* What the job is: its label, or its short id; its tasks; its specification (borrowed). */
const char *live_name(const struct live *self);
uint64_t live_tasks(const struct live *self);
const Farm__Job *live_specification(const struct live *self);

/* Until the job ended and everything is fetched. false with an empty error: Ctrl-C; what
 * that did was said (detached; twice within two seconds: canceled). */
bool live_run(struct live *self, struct error *error);

/* For a command that does nothing else (NULL: could not be made, *error says why): runs it
 * and says how the job ended: on stderr counts, failed tasks with node and reason, images
 * per minute of each node; or all that as one JSON object. Destroys it. The exit code;
 * EXIT_FARM_FAILED when a task failed or the job was canceled. */
int live_follow(struct live **self, const struct arguments *arguments,
                struct error *error);

#endif
