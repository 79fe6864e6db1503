/* The chain of an audit's lines, for whoever writes it and whoever checks it:
 *
 *     2026-03-01T12:00:00Z joined key=... role=worker name=iris #0f3c...
 *
 * A line ends with the hash of the hash before and its own text (BLAKE2b-128), so that a
 * line that was changed or taken out breaks the chain there. What no chain can tell, lines
 * taken off its end, is told by a hash that somebody noted earlier.
 */
#ifndef FARM_AUDIT_CHAIN_H
#define FARM_AUDIT_CHAIN_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { AUDIT_HASH = 33 }; /* hexadecimal digits and a zero */

struct audit_chain {
    char last[AUDIT_HASH]; /* "" before the first line */
    uint64_t lines;        /* all lines seen */
    uint64_t cut; /* of these, without a hash: a crash cut them, or not we wrote */
    uint64_t first_cut;
};

/* Chains a text that ends with '#': what its hash is. */
void audit_chain_add(struct audit_chain *self, const char *text, size_t size,
                     char hash[AUDIT_HASH]);

/* The next line, without its newline. False when it does not follow; the chain then goes
 * on from what the line says. */
bool audit_chain_follow(struct audit_chain *self, const char *line, size_t size,
                        struct error *error);

#endif
