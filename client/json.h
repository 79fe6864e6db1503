/* The JSON forms of what the farm says; fields are only ever added. */
#ifndef FARM_JSON_H
#define FARM_JSON_H

#include <jansson.h>

#include "proto/farm.pb-c.h"
#include "proto/job/job.h"

/* Every function gives a new reference. Bytes stand as hexadecimal digits, times as unix
 * seconds, seeds above 2^63 - 1 as strings. */
json_t *json_text(ProtobufCBinaryData text);
json_t *json_hex(ProtobufCBinaryData bytes);
json_t *json_job(const Farm__JobSummary *summary);
json_t *json_task(const Farm__TaskRow *row);
json_t *json_node(const Farm__Node *node);
json_t *json_tuned(const Farm__Tuned *tuned);
json_t *json_specification(const Farm__Job *job);
json_t *json_model(const Farm__ModelInfo *model);

/* "open", "done", ...; "ready", ... */
const char *job_state_name(Farm__JobState state);

/* The same for tables: "paused" where it is, and "open, late" past its deadline; heap. */
char *job_state_text(const Farm__JobSummary *summary);
const char *task_state_name(Farm__TaskState state);
const char *role_name(Farm__Role role);

#endif
