#include "proto/job/texts.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "proto/job/alternatives.h"
#include "proto/job/job.h"
#include "proto/wire.h"

static bool look_at(ProtobufCBinaryData value, const char *option, text_fn *look,
                    void *context, struct error *error)
{
    char *text = wire_string(value);
    bool ok = look(context, option, text, value.len, error);
    free(text);
    return ok;
}

static bool each_variant(ProtobufCBinaryData prompt, text_fn *look, void *context,
                         struct error *error)
{
    const char *text = (const char *)prompt.data;
    struct buffer variant = {0};
    uint64_t count;
    bool ok = alternatives_count(text, prompt.len, JOB_TASKS_MOST, &count, error);
    for (uint64_t v = 0; ok && v < count; v++) {
        variant.size = 0;
        ok = alternatives_pick(text, prompt.len, v, count, &variant, error) &&
             look(context, "prompt", buffer_text(&variant), prompt.len, error);
    }
    buffer_clear(&variant);
    return ok;
}

static const char *described_by(ProtobufCBinaryData name)
{
    return wire_is(name, "prompt", 6)     ? "prompt"
           : wire_is(name, "negative", 8) ? "negative"
                                          : NULL;
}

bool job_each_text(const Farm__Job *job, text_fn *look, void *context,
                   struct error *error)
{
    bool ok = true;
    for (size_t p = 0; ok && p < job->n_prompts; p++)
        ok = each_variant(job->prompts[p], look, context, error);
    for (size_t s = 0; ok && s < job->n_settings; s++) {
        const char *option = described_by(job->settings[s]->name);
        ok = !option || look_at(job->settings[s]->value, option, look, context, error);
    }
    for (size_t a = 0; ok && a < job->n_axes; a++) {
        const Farm__Axis *axis = job->axes[a];
        const char *option = described_by(axis->name);
        for (size_t v = 0; ok && option && v < axis->n_values; v++)
            ok = look_at(axis->values[v], option, look, context, error);
    }
    return ok;
}
