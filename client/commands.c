#include "client/command.h"

#include <stdio.h>
#include <string.h>

extern const struct command cmd_render, cmd_submit, cmd_jobs, cmd_show, cmd_watch,
    cmd_wait, cmd_fetch, cmd_cancel, cmd_pause, cmd_resume, cmd_priority, cmd_nodes,
    cmd_drain, cmd_undrain, cmd_block, cmd_unblock, cmd_rename, cmd_grid, cmd_info,
    cmd_models, cmd_model_add, cmd_token_new, cmd_join, cmd_keys, cmd_revoke, cmd_role,
    cmd_retry, cmd_rm, cmd_logs, cmd_df, cmd_top, cmd_audit_verify, cmd_audit,
    cmd_metrics, cmd_farms, cmd_help;

const struct command *const commands[] = {
    &cmd_render,  &cmd_submit,    &cmd_jobs,      &cmd_show,
    &cmd_watch,   &cmd_wait,      &cmd_fetch,     &cmd_cancel,
    &cmd_pause,   &cmd_resume,    &cmd_priority,  &cmd_retry,
    &cmd_rm,      &cmd_logs,      &cmd_df,        &cmd_grid,
    &cmd_info,    &cmd_nodes,     &cmd_top,       &cmd_drain,
    &cmd_undrain, &cmd_block,     &cmd_unblock,   &cmd_rename,
    &cmd_models,  &cmd_model_add, &cmd_token_new, &cmd_join,
    &cmd_keys,    &cmd_revoke,    &cmd_role,      &cmd_audit_verify,
    &cmd_audit,   &cmd_metrics,   &cmd_farms,     &cmd_help,
    NULL,
};

/* How many of argv's words the command's name is; 0 when it is another. */
static int words_of(const struct command *command, int argc, char **argv)
{
    char name[64];
    if (argc >= 1 && !strcmp(command->name, argv[0]))
        return 1;
    if (argc < 2 || snprintf(name, sizeof name, "%s %s", argv[0], argv[1]) >= 64)
        return 0;
    return strcmp(command->name, name) ? 0 : 2;
}

const struct command *command_find(int argc, char **argv, int *words)
{
    for (const struct command *const *command = commands; *command; command++)
        if ((*words = words_of(*command, argc, argv)))
            return *command;
    return NULL;
}

int command_failed(const struct error *error)
{
    static const int codes[] = {
        [ERROR_FAILED] = EXIT_FARM_FAILED,      [ERROR_INPUT] = EXIT_USAGE,
        [ERROR_UNREACHABLE] = EXIT_UNREACHABLE, [ERROR_DENIED] = EXIT_NOT_ALLOWED,
        [ERROR_NOT_FOUND] = EXIT_USAGE,         [ERROR_BUSY] = EXIT_FARM_FAILED,
        [ERROR_MEMORY] = EXIT_FARM_FAILED,      [ERROR_DEVICE] = EXIT_FARM_FAILED,
    };
    return interrupt_count() ? EXIT_INTERRUPTED : codes[error->kind];
}
