/* What a draft does with the farm. */
#include <inttypes.h>
#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/draft.h"
#include "client/json.h"
#include "client/print.h"

enum { TASKS_UNASKED = 1000 };

bool draft_confirm(const struct draft *self, const struct arguments *arguments,
                   struct error *error)
{
    if (self->tasks <= TASKS_UNASKED || arguments_has(arguments, "yes"))
        return true;
    if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
        return error_set_kind(error, ERROR_INPUT,
                              "the job has %" PRIu64
                              " images; say --yes to jobs of more "
                              "than %d",
                              self->tasks, TASKS_UNASKED);
    fprintf(stderr, "farmctl: this is %" PRIu64 " images. Render them? [y/N] ",
            self->tasks);
    char answer[16] = "";
    if (fgets(answer, sizeof answer, stdin) && (*answer == 'y' || *answer == 'Y'))
        return true;
    return error_set_kind(error, ERROR_INPUT, "nothing was submitted");
}

bool draft_submit(const struct draft *self, struct session *session, char job[33],
                  struct error *error)
{
    uint8_t id[16];
    randombytes_buf(id, sizeof id);
    sodium_bin2hex(job, 33, id, sizeof id);
    Farm__Submit submit = FARM__SUBMIT__INIT;
    submit.id = wire_bytes(id, sizeof id);
    submit.job = self->job;
    Farm__Envelope ask = FARM__ENVELOPE__INIT;
    ask.body_case = FARM__ENVELOPE__BODY_SUBMIT;
    ask.submit = &submit;
    struct message answer = {0};
    if (farm__envelope__get_packed_size(&ask) > WIRE_CONTROL_LIMIT - 1024)
        return error_set_kind(
            error, ERROR_INPUT,
            "the job is larger than 1 MiB; submit its prompts in parts");
    bool ok = session_ask(session, &ask, FARM__ENVELOPE__BODY_ACCEPTED, &answer, error);
    message_clear(&answer);
    return ok;
}

/* Images a minute of all nodes that are here; 0 when none was measured. */
static double farm_rate(struct session *session)
{
    Farm__NodeList list = FARM__NODE_LIST__INIT;
    Farm__Envelope ask = FARM__ENVELOPE__INIT;
    ask.body_case = FARM__ENVELOPE__BODY_NODE_LIST;
    ask.node_list = &list;
    struct message answer = {0};
    double rate = 0;
    if (!session_ask(session, &ask, FARM__ENVELOPE__BODY_NODES, &answer, NULL))
        return 0;
    const Farm__Nodes *nodes = answer.envelope->nodes;
    for (size_t i = 0; i < nodes->n_nodes; i++)
        if (wire_is(nodes->nodes[i]->state, "ok", 2))
            rate += nodes->nodes[i]->step_pixels_per_s;
    message_clear(&answer);
    return rate;
}

/* Pixels times steps of all tasks, as far as sizes are given; the first task stands for
 * all. 0 when its size is the model's. */
static double step_pixels(const struct draft *self)
{
    struct task task;
    double all = 0;
    if (job_expand(self->job, 0, &task, NULL))
        all = (double)task.steps * (double)task.width * (double)task.height *
              (double)self->tasks;
    task_clear(&task);
    return all;
}

void draft_explain(const struct draft *self, struct session *session, bool json)
{
    double rate = session ? farm_rate(session) : 0, work = step_pixels(self);
    bool known = rate > 0 && work > 0;
    if (json) {
        json_t *made = json_specification(self->job);
        json_object_set_new(made, "tasks", json_integer((json_int_t)self->tasks));
        if (known)
            json_object_set_new(made, "seconds", json_real(work / rate));
        print_json(made);
        return;
    }
    char *time = known ? format_seconds(work / rate) : NULL;
    printf("%" PRIu64 " images%s%s\n", self->tasks, known ? ", about " : "",
           known ? time : "");
    free(time);
    for (uint64_t i = 0; i < self->tasks && i < 5; i++) {
        struct task task;
        if (job_expand(self->job, i, &task, NULL))
            printf("  %05" PRIu64 "  seed %" PRIu64 "  %s\n", i, task.seed,
                   task.prompt);
        task_clear(&task);
    }
    if (self->tasks > 5)
        printf("  ...\n");
}
