/* A job: options, prompts, seeds and axes, from which its tasks are expanded.
 *
 * The wire form Farm__Job is the form: it is what is stored, sent and expanded. A checked
 * job (job_check) expands without error at any index.
 */
#ifndef FARM_JOB_H
#define FARM_JOB_H

#include "proto/job/options.h"

enum {
    JOB_EXPANSION = 1,         /* version of the order below */
    JOB_TASKS_MOST = 10000000, /* tasks of one job */
};

/* Seeds: "7", "0..15" (inclusive), "1,5,9", "random:8", "-1" (one random); combined by
 * commas. Random ones are drawn here. Appends to *ranges (heap), grown as needed. */
bool seeds_parse(const char *text, Farm__SeedRange ***ranges, size_t *count,
                 struct error *error);

/* Checks a job from outside (known options, values in range, axes over known options with
 * at least one value, at least one prompt and seed, no option set twice, number of tasks)
 * and gives its number of tasks. */
bool job_check(const Farm__Job *self, uint64_t *tasks, struct error *error);

/* The task at `index` of a checked job. Order, slowest first: axes in the order given,
 * prompts, the alternatives {a|b} of a prompt (left group slowest), seeds. `into` is
 * initialised here; the caller clears it. */
bool job_expand(const Farm__Job *self, uint64_t index, struct task *into,
                struct error *error);

/* A task as settings for the wire (all options, sorted; heap), and back. */
bool task_pack(const struct task *self, Farm__Setting ***settings, size_t *count);
void settings_destroy(Farm__Setting ***settings, size_t count);
bool task_unpack(struct task *into, Farm__Setting *const *settings, size_t count,
                 struct error *error);

/* BLAKE2b-256 over the canonical text of all that decides the pixels: "name=value\n" of
 * the deciding options sorted by name (model as manifest id, floats as %a, width and
 * height resolved), then "engine=N\n". `salt` (a job id) makes it unique; NULL otherwise. */
enum { ENGINE_NUMERICS = 7 };
void task_key(const struct task *self, const uint8_t salt[16], uint8_t key[32]);

#endif
