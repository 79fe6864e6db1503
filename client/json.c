#include "client/json.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>

#include "base/path.h"

json_t *json_text(ProtobufCBinaryData text)
{
    return json_stringn(text.len ? (const char *)text.data : "", text.len);
}

json_t *json_hex(ProtobufCBinaryData bytes)
{
    char *hex = malloc(bytes.len * 2 + 1);
    if (!hex)
        abort();
    json_t *string =
        json_string(sodium_bin2hex(hex, bytes.len * 2 + 1, bytes.data, bytes.len));
    free(hex);
    return string;
}

const char *job_state_name(Farm__JobState state)
{
    static const char *const names[] = {"open", "done", "failed", "canceled"};
    return (unsigned)state < 4 ? names[state] : "unknown";
}

char *job_state_text(const Farm__JobSummary *summary)
{
    bool paused = summary->paused && summary->state == FARM__JOB_STATE__JOB_OPEN;
    return path_format("%s%s", paused ? "paused" : job_state_name(summary->state),
                       summary->late ? ", late" : "");
}

const char *task_state_name(Farm__TaskState state)
{
    static const char *const names[] = {"ready", "leased", "done", "failed",
                                        "canceled"};
    return (unsigned)state < 5 ? names[state] : "unknown";
}

const char *role_name(Farm__Role role)
{
    static const char *const names[] = {"none",   "admin",    "submit",
                                        "worker", "observer", "join"};
    return (unsigned)role < 6 ? names[role] : "unknown";
}

static json_t *json_whole(uint64_t value)
{
    if (value <= INT64_MAX)
        return json_integer((json_int_t)value);
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, value);
    return json_string(text);
}

json_t *json_job(const Farm__JobSummary *summary)
{
    return json_pack(
        "{so so ss so so so so so sI sI so so si sb so so sI sb}", "job",
        json_hex(summary->job), "label", json_text(summary->label), "state",
        job_state_name(summary->state), "tasks", json_whole(summary->tasks), "done",
        json_whole(summary->done), "failed", json_whole(summary->failed), "canceled",
        json_whole(summary->canceled), "leased", json_whole(summary->leased), "created",
        (json_int_t)summary->created, "ended", (json_int_t)summary->ended, "submitter",
        json_text(summary->submitter), "first_prompt", json_text(summary->first_prompt),
        "priority", (int)summary->priority, "paused", (int)summary->paused,
        "device_kind", json_text(summary->device_kind), "trouble",
        json_text(summary->trouble), "deadline", (json_int_t)summary->deadline, "late",
        (int)summary->late);
}

static json_t *json_result(const Farm__Result *result)
{
    return json_pack(
        "{so so so so so sf so so}", "png", json_hex(result->png), "png_size",
        json_whole(result->png_size), "latents", json_hex(result->latents),
        "latents_size", json_whole(result->latents_size), "pixels",
        json_hex(result->pixels), "seconds", result->seconds, "step_pixels",
        json_whole(result->step_pixels), "provenance", json_text(result->provenance));
}

json_t *json_task(const Farm__TaskRow *row)
{
    json_t *history = json_array();
    for (size_t i = 0; i < row->n_history; i++) {
        const Farm__AttemptRow *attempt = row->history[i];
        json_array_append_new(history,
                              json_pack("{so sI so}", "node", json_text(attempt->node),
                                        "started", (json_int_t)attempt->started,
                                        "ended", json_text(attempt->ended)));
    }
    json_t *task = json_pack("{so ss so so so so}", "index", json_whole(row->index),
                             "state", task_state_name(row->state), "node",
                             json_text(row->node), "reason", json_text(row->reason),
                             "attempts", json_whole(row->attempts), "history", history);
    if (row->result)
        json_object_set_new(task, "result", json_result(row->result));
    return task;
}

json_t *json_node(const Farm__Node *node)
{
    json_t *progress = json_array();
    for (size_t i = 0; i < node->n_progress; i++)
        json_array_append_new(
            progress, json_pack("{so so}", "step", json_whole(node->progress[i]->step),
                                "steps", json_whole(node->progress[i]->steps)));
    json_t *made = json_pack(
        "{so so so so so so sf sf so sI so so}", "name", json_text(node->name), "host",
        json_text(node->host), "state", json_text(node->state), "credit",
        json_whole(node->credit), "leased", json_whole(node->leased), "memory",
        json_whole(node->memory), "step_pixels_per_s", node->step_pixels_per_s,
        "images_per_minute", node->images_per_minute, "images",
        json_whole(node->images), "last_seen_ms", (json_int_t)node->last_seen_ms,
        "progress", progress, "trouble", json_text(node->trouble));
    const Farm__Device *device = node->device;
    if (device)
        json_object_set_new(
            made, "device",
            json_pack(
                "{so so so so so sb so so so}", "index", json_whole(device->index),
                "name", json_text(device->name), "vendor", json_text(device->vendor),
                "driver", json_text(device->driver), "kind", json_text(device->kind),
                "is_cpu", device->is_cpu, "memory", json_whole(device->memory), "units",
                json_whole(device->units), "unfit", json_text(device->unfit)));
    return made;
}

json_t *json_tuned(const Farm__Tuned *tuned)
{
    return json_pack("{so so so sf sI so so}", "kind", json_text(tuned->kind), "shape",
                     json_text(tuned->shape), "variant", json_text(tuned->variant),
                     "gain", tuned->gain, "at", (json_int_t)tuned->at, "node",
                     json_text(tuned->node), "identity", json_hex(tuned->identity));
}

json_t *json_specification(const Farm__Job *job)
{
    json_t *prompts = json_array(), *seeds = json_array(), *axes = json_object();
    json_t *made = json_object();
    for (size_t i = 0; i < job->n_prompts; i++)
        json_array_append_new(prompts, json_text(job->prompts[i]));
    for (size_t i = 0; i < job->n_seeds; i++) {
        uint64_t first = job->seeds[i]->first, count = job->seeds[i]->count;
        char *range =
            count == 1 ? path_format("%" PRIu64, first)
                       : path_format("%" PRIu64 "..%" PRIu64, first, first + count - 1);
        json_array_append_new(seeds, json_string(range));
        free(range);
    }
    for (size_t i = 0; i < job->n_settings; i++) {
        const Farm__Setting *setting = job->settings[i];
        json_object_setn_new(made, (const char *)setting->name.data, setting->name.len,
                             json_text(setting->value));
    }
    for (size_t i = 0; i < job->n_axes; i++) {
        const Farm__Axis *axis = job->axes[i];
        json_t *values = json_array();
        for (size_t j = 0; j < axis->n_values; j++)
            json_array_append_new(values, json_text(axis->values[j]));
        json_object_setn_new(axes, (const char *)axis->name.data, axis->name.len,
                             values);
    }
    json_object_set_new(made, "prompt", prompts);
    json_object_set_new(made, "seed", seeds);
    json_object_set_new(made, "axis", axes);
    json_object_set_new(made, "label", json_text(job->label));
    json_object_set_new(made, "latents", json_boolean(job->latents));
    json_object_set_new(made, "force", json_boolean(job->force));
    json_object_set_new(made, "same-device-kind", json_boolean(job->same_device_kind));
    json_object_set_new(made, "priority", json_integer(job->priority));
    json_object_set_new(made, "deadline", json_integer(job->deadline));
    json_object_set_new(made, "checkpoint-every", json_integer(job->checkpoint_every));
    return made;
}

json_t *json_model(const Farm__ModelInfo *model)
{
    const Farm__Manifest *manifest = model->manifest;
    uint64_t size = 0;
    for (size_t i = 0; i < manifest->n_files; i++)
        size += manifest->files[i]->size;
    return json_pack(
        "{so so so so so so so so so sb}", "id", json_hex(model->id), "name",
        json_text(manifest->name), "kind", json_text(manifest->kind), "family",
        json_text(manifest->family), "reason", json_text(manifest->reason), "width",
        json_whole(manifest->width), "height", json_whole(manifest->height), "files",
        json_whole(manifest->n_files), "size", json_whole(size), "complete",
        model->complete);
}
