/* audit and audit verify: what was done by whom. The chain is checked here, not by the farm
 * whose word is in question. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "client/ask.h"
#include "client/command.h"
#include "client/print.h"
#include "proto/audit_chain.h"

struct walk {
    struct audit_chain chain;
    const char *head; /* a hash that must be among the lines; NULL: none */
    bool head_seen, print, json;
    struct buffer rest; /* a line not whole yet */
    struct error broken;
};

static void take_line(struct walk *self, const char *line, size_t size)
{
    struct error error = {0};
    bool follows = audit_chain_follow(&self->chain, line, size, &error);
    if (!follows && !self->broken.text[0])
        self->broken = error;
    if (self->head && !strcmp(self->chain.last, self->head))
        self->head_seen = true;
    if (self->print && self->json)
        print_json_line(
            json_pack("{ss# sb}", "line", line, (int)size, "follows", follows));
    else if (self->print)
        printf("%.*s\n", (int)size, line);
}

static bool take_part(struct walk *self, ProtobufCBinaryData text, struct error *error)
{
    if (!buffer_append(&self->rest, text.data, text.len, error))
        return false;
    char *at = (char *)self->rest.data, *end = at + self->rest.size, *newline;
    while (at < end && (newline = memchr(at, '\n', (size_t)(end - at)))) {
        take_line(self, at, (size_t)(newline - at));
        at = newline + 1;
    }
    self->rest.size = (size_t)(end - at);
    if (self->rest.size)
        memmove(self->rest.data, at, self->rest.size);
    return true;
}

static bool read_all(struct walk *self, const struct arguments *arguments,
                     struct error *error)
{
    struct session *session = session_open(arguments, error);
    Farm__AuditGet get = FARM__AUDIT_GET__INIT;
    Farm__Envelope ask = FARM__ENVELOPE__INIT;
    ask.body_case = FARM__ENVELOPE__BODY_AUDIT_GET;
    ask.audit_get = &get;
    bool ok = session != NULL, more = true;
    while (ok && more) {
        struct message answer = {0};
        ok =
            session_ask(session, &ask, FARM__ENVELOPE__BODY_AUDIT_PART, &answer, error);
        if (ok) {
            const Farm__AuditPart *part = answer.envelope->audit_part;
            ok = take_part(self, part->text, error);
            get.offset += part->text.len;
            more = part->text.len && get.offset < part->size;
        }
        message_clear(&answer);
    }
    session_close(&session);
    return ok;
}

static int run_audit(const struct arguments *arguments, struct error *error)
{
    struct walk walk = {.print = true, .json = arguments->json};
    bool ok = read_all(&walk, arguments, error);
    buffer_clear(&walk.rest);
    return ok ? EXIT_DONE : command_failed(error);
}

static int run_verify(const struct arguments *arguments, struct error *error)
{
    struct walk walk = {.head = arguments_value(arguments, "head", NULL)};
    bool ok = read_all(&walk, arguments, error);
    if (ok && walk.broken.text[0])
        ok = error_set(error, "the audit: %s", walk.broken.text);
    if (ok && walk.head && !walk.head_seen)
        ok = error_set(
            error,
            "the audit: no line has the hash %.40s: lines were removed, or it "
            "was written anew",
            walk.head);
    if (ok && arguments->json)
        print_json(json_pack("{sI sI ss}", "lines", (json_int_t)walk.chain.lines, "cut",
                             (json_int_t)walk.chain.cut, "head", walk.chain.last));
    else if (ok)
        printf("%" PRIu64 " lines follow from each other; the last is %s\n",
               walk.chain.lines, walk.chain.last);
    if (ok && walk.chain.cut)
        say("%" PRIu64 " lines, the first is line %" PRIu64
            ", are not of the chain: a crash cut them, or somebody put them there",
            walk.chain.cut, walk.chain.first_cut);
    buffer_clear(&walk.rest);
    return ok ? EXIT_DONE : command_failed(error);
}

static const struct flag verify_flags[] = {
    {"head", 0, "HASH", "a hash noted earlier, which must still be there"},
    {NULL, 0, NULL, NULL},
};

extern const struct command cmd_audit, cmd_audit_verify;
const struct command cmd_audit = {
    .name = "audit",
    .usage = "",
    .help = "print who did what: joins, revocations, roles, jobs, refused attempts",
    .run = run_audit,
};
const struct command cmd_audit_verify = {
    .name = "audit verify",
    .usage = "[--head HASH]",
    .help = "check that no line of the audit was changed or removed",
    .flags = verify_flags,
    .run = run_verify,
};
