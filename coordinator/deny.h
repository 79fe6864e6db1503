/* The deny list: what nobody of a role may have rendered, as regular expressions.
 *
 * A line of the file is a rule; what begins with # is a comment:
 *
 *     ROLES NAME PATTERN        submit,admin no-gore \b(gore|snuff)\b
 *
 * ROLES are those that may submit (submit, admin), by commas, or all. Patterns are Perl's
 * (PCRE2, UTF-8, without regard to case): POSIX' in libc have no bound on time or memory.
 * Every prompt and negative prompt of a job is looked at as it would reach a task, in
 * Unicode's compatibility form and without invisible characters. The work for one job is
 * counted, so that no pattern and no prompt can hold the loop up; what cannot be decided
 * within it is refused.
 *
 * A list is of words, not of what a picture shows: there is no model that looks at pictures.
 */
#ifndef FARM_DENY_H
#define FARM_DENY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "proto/farm.pb-c.h"

enum { DENY_NAME = 64, DENY_HASH = 32 };

struct deny;

/* Reads and compiles the list. ERROR_INPUT names line and rule that are none, and rules that
 * take long on a prompt made to be slow for them. */
struct deny *deny_open(const char *path, struct error *error);
void deny_close(struct deny **self);

size_t deny_count(const struct deny *self);

/* BLAKE2b-256 of the file: which list was on. */
const uint8_t *deny_hash(const struct deny *self);

/* Whether a checked job may be rendered for this role. ERROR_INPUT names the rule, which
 * goes into `rule`, too. *share is how much of the work that one job may cost was done. */
bool deny_permits(const struct deny *self, Farm__Role role, const Farm__Job *job,
                  char rule[DENY_NAME], double *share, struct error *error);

#endif
