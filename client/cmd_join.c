/* join and farms: where this user is a member. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/path.h"
#include "client/command.h"
#include "client/json.h"
#include "client/member.h"
#include "client/print.h"
#include "proto/places.h"

static bool is_joined(const char *folder)
{
    char *path = path_format("%s/%s", folder, PLACE_FARM);
    bool joined = access(path, F_OK) == 0;
    free(path);
    return joined;
}

static int run_join(const struct arguments *arguments, struct error *error)
{
    struct token token = {0};
    struct joined joined;
    char *folder = NULL;
    bool ok = token_read(arguments->rest[0], &token, error);
    const char *name = arguments_value(arguments, "as", token.farm);
    folder = ok ? member_folder(*name ? name : "farm", error) : NULL;
    ok = folder != NULL;
    if (ok && is_joined(folder))
        ok = error_set_kind(error, ERROR_INPUT,
                            "a farm \"%s\" was joined already, see %s; --as NAME joins "
                            "under another name",
                            *name ? name : "farm", folder);
    ok = ok && member_join(folder, &token, NULL, &joined, error);
    if (ok && arguments->json)
        print_json(json_pack("{ss ss ss}", "farm", joined.farm.name, "role",
                             role_name(joined.role), "name", joined.name));
    else if (ok)
        printf("joined %s as %s, known there as %s\n", joined.farm.name,
               role_name(joined.role), joined.name);
    free(folder);
    return ok ? EXIT_DONE : command_failed(error);
}

static int run_farms(const struct arguments *arguments, struct error *error)
{
    size_t count;
    char **names = member_farms(&count);
    json_t *all = arguments->json ? json_array() : NULL;
    struct table *table =
        all ? NULL : table_new((const char *[]){"FARM", "ADDRESS", NULL});
    for (size_t i = 0; i < count; i++) {
        struct farm farm;
        char *folder = member_folder(names[i], error);
        if (!farm_load(&farm, folder, PLACE_FARM, error))
            snprintf(farm.address, sizeof farm.address, "%.120s", error->text);
        if (table)
            table_row(table, (const char *[]){names[i], farm.address});
        else
            json_array_append_new(
                all, json_pack("{ss ss}", "farm", names[i], "address", farm.address));
        free(folder);
        free(names[i]);
    }
    free(names);
    if (all)
        print_json(all);
    else
        table_print(&table);
    return EXIT_DONE;
}

static const struct flag join_flags[] = {
    {"as", 0, "NAME", "what to call the farm here; default its own name"},
    {NULL, 0, NULL, NULL},
};

extern const struct command cmd_join, cmd_farms;
const struct command cmd_join = {
    .name = "join",
    .usage = "TOKEN|FILE|- [--as NAME]",
    .help = "join a farm with a token, given as text, in a file, or on stdin (-)",
    .flags = join_flags,
    .least = 1,
    .most = 1,
    .run = run_join,
};
const struct command cmd_farms = {
    .name = "farms",
    .usage = "",
    .help = "list the farms joined",
    .run = run_farms,
};
