/* A job made of the command line and of --from FILE, before it is sent. */
#ifndef FARM_DRAFT_H
#define FARM_DRAFT_H

#include "client/session.h"
#include "proto/job/job.h"

/* The flags of commands that make jobs, besides the options of proto/job/option_table.c. */
extern const struct flag flags_of_jobs[];

struct draft {
    Farm__Job *job;
    uint64_t tasks;
};

/* Reads prompts, options, seeds and axes and checks the whole. Random seeds are drawn
 * here. ERROR_INPUT says which option holds what. */
bool draft_make(struct draft *self, const struct arguments *arguments,
                struct error *error);
void draft_clear(struct draft *self);

/* Adds models that are given as folders, and files that options name, to the farm and puts
 * their ids in place of the paths. What is no path is left for the farm to know by name. */
bool draft_import(struct draft *self, struct session *session, bool quiet,
                  struct error *error);

/* Asks on a terminal before very large jobs; --yes answers. */
bool draft_confirm(const struct draft *self, const struct arguments *arguments,
                   struct error *error);

/* Submits under a fresh id; *job is its hexadecimal form. */
bool draft_submit(const struct draft *self, struct session *session, char job[33],
                  struct error *error);

/* Prints how many tasks it is, and how long it would take where the farm's speed is
 * known. `session` may be NULL. */
void draft_explain(const struct draft *self, struct session *session, bool json);

#endif
