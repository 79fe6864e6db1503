#include "worker/result.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "proto/files/picture.h"
#include "proto/job/params.h"
#include "worker/rendered.h"
#include "worker/sd/safetensors.h"

static bool write_png(struct result *self, const struct rendered *from,
                      struct error *error)
{
    const struct image *image = &from->image;
    struct buffer text = {0};
    struct task task = {0};
    task_copy(&task, &from->attempt.task);
    task.width = image->asked_width;
    task.height = image->asked_height;
    bool ok =
        params_write(
            &task,
            &(struct params_models){from->model_name, from->model_hash, from->refiner},
            &text, error) &&
        (!image->truncated || buffer_printf(&text, error, ", " PARAMS_TRUNCATED)) &&
        (!image->flagged || buffer_printf(&text, error, ", " PARAMS_FLAGGED));
    struct picture picture = {image->width, image->height, image->rgb};
    struct picture_text parameters = {"parameters", buffer_text(&text)};
    ok = ok && picture_write_png(&picture, &parameters, 1, &self->png, error);
    task_clear(&task);
    buffer_clear(&text);
    return ok;
}

struct result *result_make(const struct rendered *from, struct error *error)
{
    const struct attempt *attempt = &from->attempt;
    const struct image *image = &from->image;
    struct result *result = calloc(1, sizeof *result);
    if (!result)
        abort();
    result->epoch = attempt->epoch;
    result->counter = attempt->counter;
    result->index = attempt->index;
    memcpy(result->job, attempt->job, sizeof result->job);
    memcpy(result->key, attempt->key, sizeof result->key);
    result->seconds = from->seconds;
    result->at_once = from->at_once;
    result->step_pixels = image->step_pixels;
    blob_id(image->rgb, image->width * image->height * 3, result->pixels);
    if (image->truncated)
        log_warn("task %" PRIu64
                 ": a prompt has more than 75 tokens, the rest is dropped; "
                 "--syntax a1111 or comfy takes it all",
                 attempt->index);
    if (image->flagged)
        log_warn("task %" PRIu64
                 ": flagged by the safety checker, the picture is black",
                 attempt->index);
    size_t shape[4] = {1, image->c, image->h, image->w};
    if (write_png(result, from, error) &&
        (!attempt->latents || safetensors_write(&result->latents, "latents",
                                                image->latents, shape, 4, error)))
        return result;
    result_clear(result);
    free(result);
    return NULL;
}

void result_clear(struct result *self)
{
    buffer_clear(&self->png);
    buffer_clear(&self->latents);
}
