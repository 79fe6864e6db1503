#include "worker/control.h"

#include "base/log.h"

static bool send_it(struct link *link, const Farm__Envelope *envelope)
{
    struct error error = {0};
    if (link_send(link, envelope, NULL, 0, &error))
        return true;
    log_debug("%s not sent: %s", wire_name(envelope->body_case), error.text);
    return false;
}

static Farm__AttemptId id_of(const struct attempt *attempt)
{
    Farm__AttemptId id = FARM__ATTEMPT_ID__INIT;
    id.epoch = attempt->epoch;
    id.counter = attempt->counter;
    return id;
}

bool control_ready(struct link *link, uint32_t credit, uint64_t received,
                   uint32_t batch, const struct models *models)
{
    ProtobufCBinaryData ids[MODELS_MOST]; /* no more than were ever listed */
    Farm__Ready ready = FARM__READY__INIT;
    ready.credit = credit;
    ready.received = received;
    ready.batch = batch;
    ready.models = ids;
    for (size_t i = 0; i < models->count; i++)
        if (models->item[i]->listed)
            ids[ready.n_models++] = wire_bytes(models->item[i]->id, BLOB_ID);
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.body_case = FARM__ENVELOPE__BODY_READY;
    envelope.ready = &ready;
    return send_it(link, &envelope);
}

bool control_heartbeat(struct link *link, const struct attempts *attempts,
                       size_t memory)
{
    Farm__AttemptId ids[ATTEMPTS_MOST];
    Farm__Progress progress[ATTEMPTS_MOST], *list[ATTEMPTS_MOST];
    for (size_t i = 0; i < attempts->count; i++) {
        const struct attempt *attempt = attempts->item[i];
        ids[i] = id_of(attempt);
        farm__progress__init(&progress[i]);
        progress[i].attempt = &ids[i];
        progress[i].state = attempt->state;
        progress[i].step = attempt->step;
        progress[i].steps = attempt->steps;
        list[i] = &progress[i];
    }
    Farm__Heartbeat heartbeat = FARM__HEARTBEAT__INIT;
    heartbeat.progress = list;
    heartbeat.n_progress = attempts->count;
    heartbeat.memory = memory;
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.body_case = FARM__ENVELOPE__BODY_HEARTBEAT;
    envelope.heartbeat = &heartbeat;
    return send_it(link, &envelope);
}

bool control_refuse(struct link *link, const Farm__AttemptId *id,
                    const struct error *why)
{
    Farm__AttemptId copy = *id;
    Farm__Failed failed = FARM__FAILED__INIT;
    failed.attempt = &copy;
    failed.kind = why->kind;
    failed.text = wire_text(why->text);
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.body_case = FARM__ENVELOPE__BODY_FAILED;
    envelope.failed = &failed;
    return send_it(link, &envelope);
}

bool control_failed(struct link *link, const struct attempt *attempt,
                    const struct error *why)
{
    Farm__AttemptId id = id_of(attempt);
    return control_refuse(link, &id, why);
}

bool control_returned(struct link *link, struct attempt *const *attempts, size_t count)
{
    Farm__AttemptId ids[ATTEMPTS_MOST], *list[ATTEMPTS_MOST];
    for (size_t i = 0; i < count; i++) {
        ids[i] = id_of(attempts[i]);
        list[i] = &ids[i];
    }
    Farm__Returned returned = FARM__RETURNED__INIT;
    returned.attempts = list;
    returned.n_attempts = count;
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.body_case = FARM__ENVELOPE__BODY_RETURNED;
    envelope.returned = &returned;
    return count == 0 || send_it(link, &envelope);
}

static bool send_checkpoint(struct link *link, Farm__Checkpoint *checkpoint)
{
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.body_case = FARM__ENVELOPE__BODY_CHECKPOINT;
    envelope.checkpoint = checkpoint;
    return send_it(link, &envelope);
}

bool control_checkpoint(struct link *link, const struct io_event *there)
{
    Farm__AttemptId id = FARM__ATTEMPT_ID__INIT;
    id.epoch = there->epoch;
    id.counter = there->counter;
    Farm__Checkpoint checkpoint = FARM__CHECKPOINT__INIT;
    checkpoint.attempt = &id;
    checkpoint.step = there->step;
    checkpoint.blob = wire_bytes(there->blob, BLOB_ID);
    checkpoint.size = there->size;
    return send_checkpoint(link, &checkpoint);
}

bool control_preview(struct link *link, const struct attempt *attempt, uint32_t step,
                     const struct buffer *png)
{
    Farm__AttemptId id = id_of(attempt);
    Farm__Preview preview = FARM__PREVIEW__INIT;
    preview.attempt = &id;
    preview.step = step;
    preview.steps = attempt->steps;
    preview.png = wire_bytes(png->data, png->size);
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.body_case = FARM__ENVELOPE__BODY_PREVIEW;
    envelope.preview = &preview;
    return send_it(link, &envelope);
}

bool control_no_checkpoint(struct link *link, const struct attempt *attempt,
                           uint32_t step)
{
    Farm__AttemptId id = id_of(attempt);
    Farm__Checkpoint checkpoint = FARM__CHECKPOINT__INIT;
    checkpoint.attempt = &id;
    checkpoint.step = step;
    return send_checkpoint(link, &checkpoint);
}

bool control_tuning(struct link *link, const struct tuning *tuning,
                    const struct tuned *results, size_t count)
{
    static char shapes[TUNED_MOST][TUNING_SHAPE];
    static Farm__Tuned tuned[TUNED_MOST], *list[TUNED_MOST];
    Farm__Tuning message = FARM__TUNING__INIT;
    message.identity = wire_bytes(tuning->identity, TUNING_IDENTITY);
    message.ask = count == 0;
    message.results = list;
    for (size_t i = 0; i < count && i < TUNED_MOST; i++) {
        farm__tuned__init(&tuned[i]);
        tuning_shape_write(&results[i].shape, shapes[i]);
        tuned[i].shape = wire_text(shapes[i]);
        tuned[i].variant = wire_text(tuned_variant_name(&results[i]));
        tuned[i].gain = results[i].gain > 1 ? results[i].gain : 1;
        tuned[i].at = results[i].at;
        list[message.n_results++] = &tuned[i];
    }
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.body_case = FARM__ENVELOPE__BODY_TUNING;
    envelope.tuning = &message;
    return send_it(link, &envelope);
}

bool control_commit(struct link *link, Farm__Commit *commit)
{
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.body_case = FARM__ENVELOPE__BODY_COMMIT;
    envelope.commit = commit;
    return send_it(link, &envelope);
}

bool control_have(struct link *link, const struct io_event *event)
{
    ProtobufCBinaryData bad[PEERS_MOST];
    Farm__Have have = FARM__HAVE__INIT;
    have.model = wire_bytes(event->model, BLOB_ID);
    have.pieces = wire_bytes(event->bits.data, event->bits.size);
    have.fetching = event->fetching;
    have.starved = event->starved;
    have.bad = bad;
    for (size_t i = 0; i < event->bads; i++)
        bad[have.n_bad++] = wire_bytes(event->bad[i], KEY_SIZE);
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.body_case = FARM__ENVELOPE__BODY_HAVE;
    envelope.have = &have;
    return send_it(link, &envelope);
}

bool control_granted(struct link *link, const struct io_event *event)
{
    Farm__Granted granted = FARM__GRANTED__INIT;
    granted.id = event->grant;
    granted.refused = event->error.text[0] != 0;
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.body_case = FARM__ENVELOPE__BODY_GRANTED;
    envelope.granted = &granted;
    return send_it(link, &envelope);
}

bool control_model_get(struct link *link, uint64_t request, const uint8_t id[BLOB_ID])
{
    Farm__ModelGet get = FARM__MODEL_GET__INIT;
    get.id = wire_bytes(id, BLOB_ID);
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.request = request;
    envelope.body_case = FARM__ENVELOPE__BODY_MODEL_GET;
    envelope.model_get = &get;
    return send_it(link, &envelope);
}
