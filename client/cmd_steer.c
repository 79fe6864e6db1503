/* Commands that steer a job or a node: a message, and Done. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/ask.h"
#include "client/command.h"
#include "client/print.h"

static int steer(const struct arguments *arguments, Farm__Envelope *ask,
                 struct error *error)
{
    struct asked asked;
    bool ok = ask_once(&asked, arguments, ask, FARM__ENVELOPE__BODY_DONE, error);
    if (ok && arguments->json)
        print_json(json_pack("{ss}", arguments->command->name, arguments->rest[0]));
    asked_clear(&asked);
    return ok ? EXIT_DONE : command_failed(error);
}

static int steer_job(const struct arguments *arguments, Farm__JobSteer *change,
                     struct error *error)
{
    change->job = wire_text(arguments->rest[0]);
    Farm__Envelope ask = FARM__ENVELOPE__INIT;
    ask.body_case = FARM__ENVELOPE__BODY_JOB_STEER;
    ask.job_steer = change;
    return steer(arguments, &ask, error);
}

static int run_pause(const struct arguments *arguments, struct error *error)
{
    Farm__JobSteer change = FARM__JOB_STEER__INIT;
    change.change_case = FARM__JOB_STEER__CHANGE_PAUSED;
    change.paused = strcmp(arguments->command->name, "pause") == 0;
    return steer_job(arguments, &change, error);
}

static int run_priority(const struct arguments *arguments, struct error *error)
{
    Farm__JobSteer change = FARM__JOB_STEER__INIT;
    change.change_case = FARM__JOB_STEER__CHANGE_PRIORITY;
    if (!argument_priority(arguments->rest[1], &change.priority, error))
        return EXIT_USAGE;
    return steer_job(arguments, &change, error);
}

static int steer_node(const struct arguments *arguments, Farm__NodeOrder order,
                      struct error *error)
{
    Farm__NodeSteer change = FARM__NODE_STEER__INIT;
    change.node = wire_text(arguments->rest[0]);
    change.order = order;
    change.text = wire_text(arguments->rest_count > 1 ? arguments->rest[1] : "");
    Farm__Envelope ask = FARM__ENVELOPE__INIT;
    ask.body_case = FARM__ENVELOPE__BODY_NODE_STEER;
    ask.node_steer = &change;
    return steer(arguments, &ask, error);
}

static int run_drain(const struct arguments *arguments, struct error *error)
{
    return steer_node(arguments, FARM__NODE_ORDER__NODE_DRAIN, error);
}

static int run_block(const struct arguments *arguments, struct error *error)
{
    return steer_node(arguments, FARM__NODE_ORDER__NODE_BLOCK, error);
}

static int run_release(const struct arguments *arguments, struct error *error)
{
    return steer_node(arguments, FARM__NODE_ORDER__NODE_RELEASE, error);
}

static int run_rename(const struct arguments *arguments, struct error *error)
{
    return steer_node(arguments, FARM__NODE_ORDER__NODE_RENAME, error);
}

extern const struct command cmd_pause, cmd_resume, cmd_priority, cmd_drain, cmd_undrain,
    cmd_block, cmd_unblock, cmd_rename;

const struct command cmd_pause = {
    .name = "pause",
    .usage = "JOB",
    .help = "begin nothing new of a job; what is being rendered is finished",
    .least = 1,
    .most = 1,
    .run = run_pause,
};

const struct command cmd_resume = {
    .name = "resume",
    .usage = "JOB",
    .help = "go on with a paused job",
    .least = 1,
    .most = 1,
    .run = run_pause,
};

const struct command cmd_priority = {
    .name = "priority",
    .usage = "JOB N",
    .help = "put a job before (N above 0) or behind (below) your others",
    .least = 2,
    .most = 2,
    .run = run_priority,
};

const struct command cmd_drain = {
    .name = "drain",
    .usage = "NODE",
    .help = "give a node no more work; it finishes what it has",
    .least = 1,
    .most = 1,
    .run = run_drain,
};

const struct command cmd_undrain = {
    .name = "undrain",
    .usage = "NODE",
    .help = "let a drained node work again",
    .least = 1,
    .most = 1,
    .run = run_release,
};

const struct command cmd_block = {
    .name = "block",
    .usage = "NODE [REASON]",
    .help = "take a node's work away and discard what it still sends",
    .least = 1,
    .most = 2,
    .run = run_block,
};

const struct command cmd_unblock = {
    .name = "unblock",
    .usage = "NODE",
    .help = "let a blocked node work again",
    .least = 1,
    .most = 1,
    .run = run_release,
};

const struct command cmd_rename = {
    .name = "rename",
    .usage = "NODE NAME",
    .help = "give a worker another name",
    .least = 2,
    .most = 2,
    .run = run_rename,
};
