/* token new, keys and revoke: who may take part. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "client/ask.h"
#include "client/command.h"
#include "client/json.h"
#include "client/print.h"

static bool read_role(const char *text, Farm__Role *role, struct error *error)
{
    for (Farm__Role each = FARM__ROLE__ROLE_ADMIN; each <= FARM__ROLE__ROLE_OBSERVER;
         each++)
        if (!strcmp(text, role_name(each))) {
            *role = each;
            return true;
        }
    return error_set_kind(
        error, ERROR_INPUT,
        "role: there is no \"%.40s\"; there is admin, submit, worker, "
        "observer",
        text);
}

/* "1h", "30m", "7d", "90s" in seconds. */
static bool read_ttl(const char *text, uint32_t *seconds, struct error *error)
{
    static const char units[] = "smhd";
    static const uint32_t factor[] = {1, 60, 3600, 86400};
    char *end = NULL;
    unsigned long number = strtoul(text, &end, 10);
    const char *unit = end && *end ? strchr(units, *end) : NULL;
    if (text[0] < '0' || text[0] > '9' || !unit || end[1] || number < 1 ||
        number > 31536000 / factor[unit - units])
        return error_set_kind(
            error, ERROR_INPUT,
            "ttl: \"%.40s\" is no time like 90s, 30m, 1h or 7d (a year "
            "at most)",
            text);
    *seconds = (uint32_t)number * factor[unit - units];
    return true;
}

static int run_token(const struct arguments *arguments, struct error *error)
{
    Farm__TokenNew wanted = FARM__TOKEN_NEW__INIT;
    wanted.name = wire_text(arguments_value(arguments, "name", ""));
    Farm__Envelope ask = FARM__ENVELOPE__INIT;
    ask.body_case = FARM__ENVELOPE__BODY_TOKEN_NEW;
    ask.token_new = &wanted;
    struct asked asked = {0};
    const char *role = arguments_value(arguments, "role", NULL);
    bool ok =
        role ? read_role(role, &wanted.role, error)
             : error_set_kind(error, ERROR_INPUT,
                              "--role is missing: admin, submit, worker or observer");
    ok = ok &&
         read_ttl(arguments_value(arguments, "ttl", "1h"), &wanted.ttl_s, error) &&
         ask_once(&asked, arguments, &ask, FARM__ENVELOPE__BODY_TOKEN, error);
    if (ok) {
        char *text = wire_string(asked.answer.envelope->token->text);
        if (arguments->json)
            print_json(json_pack("{ss}", "token", text));
        else
            printf("%s\n", text);
        free(text);
    }
    asked_clear(&asked);
    return ok ? EXIT_DONE : command_failed(error);
}

static void print_keys(const Farm__Keys *keys)
{
    struct table *table =
        table_new((const char *[]){"NAME", "ROLE", "STATE", "AGE", "KEY", NULL});
    for (size_t i = 0; i < keys->n_keys; i++) {
        const Farm__Key *key = keys->keys[i];
        char text[KEY_TEXT] = "", *name = wire_string(key->name);
        char *age = format_age(clock_unix() - key->created);
        if (key->public_key.len == KEY_SIZE)
            key_format(key->public_key.data, text);
        table_row(table,
                  (const char *[]){name, role_name(key->role),
                                   key->revoked ? "revoked" : "valid", age, text});
        free(age);
        free(name);
    }
    table_print(&table);
}

static json_t *json_key(const Farm__Key *key)
{
    char text[KEY_TEXT] = "";
    if (key->public_key.len == KEY_SIZE)
        key_format(key->public_key.data, text);
    return json_pack("{ss so ss sI sI}", "key", text, "name", json_text(key->name),
                     "role", role_name(key->role), "created", (json_int_t)key->created,
                     "revoked", (json_int_t)key->revoked);
}

static int run_keys(const struct arguments *arguments, struct error *error)
{
    Farm__KeyList list = FARM__KEY_LIST__INIT;
    Farm__Envelope ask = FARM__ENVELOPE__INIT;
    ask.body_case = FARM__ENVELOPE__BODY_KEY_LIST;
    ask.key_list = &list;
    struct asked asked;
    bool ok = ask_once(&asked, arguments, &ask, FARM__ENVELOPE__BODY_KEYS, error);
    if (ok && arguments->json) {
        const Farm__Keys *keys = asked.answer.envelope->keys;
        json_t *all = json_array();
        for (size_t i = 0; i < keys->n_keys; i++)
            json_array_append_new(all, json_key(keys->keys[i]));
        print_json(all);
    } else if (ok) {
        print_keys(asked.answer.envelope->keys);
    }
    asked_clear(&asked);
    return ok ? EXIT_DONE : command_failed(error);
}

static int run_revoke(const struct arguments *arguments, struct error *error)
{
    Farm__KeyRevoke revoke = FARM__KEY_REVOKE__INIT;
    revoke.key = wire_text(arguments->rest[0]);
    Farm__Envelope ask = FARM__ENVELOPE__INIT;
    ask.body_case = FARM__ENVELOPE__BODY_KEY_REVOKE;
    ask.key_revoke = &revoke;
    struct asked asked;
    bool ok = ask_once(&asked, arguments, &ask, FARM__ENVELOPE__BODY_DONE, error);
    if (ok && arguments->json)
        print_json(json_pack("{ss}", "revoked", arguments->rest[0]));
    asked_clear(&asked);
    return ok ? EXIT_DONE : command_failed(error);
}

static int run_role(const struct arguments *arguments, struct error *error)
{
    Farm__KeyRole change = FARM__KEY_ROLE__INIT;
    change.key = wire_text(arguments->rest[0]);
    Farm__Envelope ask = FARM__ENVELOPE__INIT;
    ask.body_case = FARM__ENVELOPE__BODY_KEY_ROLE;
    ask.key_role = &change;
    struct asked asked = {0};
    bool ok = read_role(arguments->rest[1], &change.role, error) &&
              ask_once(&asked, arguments, &ask, FARM__ENVELOPE__BODY_DONE, error);
    if (ok && arguments->json)
        print_json(json_pack("{ss ss}", "key", arguments->rest[0], "role",
                             role_name(change.role)));
    asked_clear(&asked);
    return ok ? EXIT_DONE : command_failed(error);
}

static const struct flag token_flags[] = {
    {"role", 0, "ROLE", "what its holder becomes: admin, submit, worker, observer"},
    {"ttl", 0, "TIME", "how long it may be used, like 30m; default 1h"},
    {"name", 0, "NAME", "what to call the one who joins"},
    {NULL, 0, NULL, NULL},
};

extern const struct command cmd_token_new, cmd_keys, cmd_revoke, cmd_role;
const struct command cmd_token_new = {
    .name = "token new",
    .usage = "--role ROLE [--ttl 1h]",
    .help = "print a token with which one machine or person joins the farm",
    .flags = token_flags,
    .run = run_token,
};
const struct command cmd_keys = {
    .name = "keys",
    .usage = "",
    .help = "list the members' keys",
    .run = run_keys,
};
const struct command cmd_revoke = {
    .name = "revoke",
    .usage = "KEY",
    .help = "put a member out, at once: by name, key, or the key's beginning",
    .least = 1,
    .most = 1,
    .run = run_revoke,
};
const struct command cmd_role = {
    .name = "role",
    .usage = "KEY ROLE",
    .help = "give a member another role: admin, submit, worker or observer",
    .least = 2,
    .most = 2,
    .run = run_role,
};
