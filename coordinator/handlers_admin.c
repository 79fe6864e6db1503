/* What only administrators ask: other roles for keys, the audit. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "coordinator/handlers.h"

enum { PART_MOST = WIRE_CONTROL_LIMIT / 2 };

static bool may_change(struct coordinator *self, const struct member *member,
                       Farm__Role role, struct error *error)
{
    if (role == FARM__ROLE__ROLE_NONE || role == FARM__ROLE__ROLE_JOIN)
        return error_set_kind(error, ERROR_INPUT,
                              "role: a key is for admin, submit, worker or observer");
    if (member->role == FARM__ROLE__ROLE_JOIN || member->revoked)
        return error_set_kind(error, ERROR_INPUT,
                              "%s is %s; only a member's role can be changed",
                              member->name, member->revoked ? "revoked" : "a token");
    if (member->role == FARM__ROLE__ROLE_ADMIN &&
        members_count(&self->members, FARM__ROLE__ROLE_ADMIN, false, clock_unix()) == 1)
        return error_set_kind(error, ERROR_INPUT,
                              "%s is the only administrator; let another join first",
                              member->name);
    return true;
}

/* The key's connections end, so that it greets as what it is now. */
bool handle_key_role(struct coordinator *self, struct request *request,
                     struct error *error)
{
    const Farm__KeyRole *wanted = request->message->envelope->key_role;
    char *text = wire_string(wanted->key);
    struct member *member = members_resolve(&self->members, text, error);
    free(text);
    if (!member || (member->role != wanted->role &&
                    !may_change(self, member, wanted->role, error)))
        return false;
    if (member->role != wanted->role) {
        member->role = wanted->role;
        store_key(self, member);
        audit_key(self, "role-changed", member, request->member->name);
        log_info("%s has role %d now", member->name, (int)member->role);
        member_leaves(self, member->key, "the node's key got another role");
        gate_admit(self->gate, member->key);
        depot_role(self->depot, member->key, member->role);
    }
    Farm__Done done = FARM__DONE__INIT;
    tell_answer(self, request, ANSWER(done, DONE, &done));
    return true;
}

bool handle_audit_get(struct coordinator *self, struct request *request,
                      struct error *error)
{
    struct buffer text = {0};
    Farm__AuditPart part = FARM__AUDIT_PART__INIT;
    if (!audit_read(self->audit, request->message->envelope->audit_get->offset,
                    PART_MOST, &text, &part.size, error))
        return false;
    /* A name may hold any character; a part must not begin or end within one. */
    while (text.size && (text.data[text.size - 1] & 0x80))
        text.size--;
    part.text = wire_bytes(text.data, text.size);
    tell_answer(self, request, ANSWER(audit_part, AUDIT_PART, &part));
    buffer_clear(&text);
    return true;
}
