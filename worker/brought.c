#include "worker/brought.h"

#include <stdio.h>
#include <string.h>

#include "base/path.h"
#include "proto/files/picture.h"

enum { FILE_MOST = 256 << 20 };

static bool read_one(struct pixels *into, const struct inputs *inputs, const char *name,
                     const char *value, struct error *error)
{
    struct input_use use[FILES_MOST];
    struct buffer file = {0};
    struct picture picture = {0};
    size_t count;
    bool ok = inputs_of(inputs, option_find(name), value, use, &count, error);
    if (ok && count) {
        ok = path_read(use[0].path, FILE_MOST, &file, error) &&
             (picture_read(file.data, file.size, &picture, error) ||
              error_prefix(error, "%s", name));
        *into = (struct pixels){picture.width, picture.height, picture.rgb};
    }
    buffer_clear(&file);
    return ok;
}

static bool read_refiner(struct brought *self, const struct inputs *inputs,
                         const struct task *task, struct error *error)
{
    struct input_use use[FILES_MOST];
    size_t count;
    if (!inputs_of(inputs, option_find("refiner"), task->refiner, use, &count, error))
        return false;
    if (count) {
        self->refiner =
            (struct refiner_request){use[0].model, use[0].name, use[0].weight};
        snprintf(self->refiner_title, sizeof self->refiner_title, "%s [%s]",
                 use[0].name, use[0].hash);
    }
    return true;
}

static bool read_files(struct brought *self, const struct inputs *inputs,
                       const struct task *task, struct error *error)
{
    struct input_use use[FILES_MOST];
    size_t vaes, checkers;
    if (!inputs_of(inputs, option_find("vae"), task->vae, use, &vaes, error))
        return false;
    self->vae_path = vaes ? use[0].path : NULL;
    self->vae_name = vaes ? use[0].name : NULL;
    if (!inputs_of(inputs, option_find("safety-checker"), task->safety_checker, use,
                   &checkers, error))
        return false;
    self->safety_path = checkers ? use[0].path : NULL;
    self->safety_name = checkers ? use[0].name : NULL;
    if (!inputs_of(inputs, option_find("embedding"), task->embedding, use,
                   &self->embeddings, error))
        return false;
    for (size_t i = 0; i < self->embeddings; i++)
        self->embedding[i] = (struct embedding_file){use[i].path, use[i].name};
    return true;
}

bool brought_read(struct brought *self, const struct inputs *inputs,
                  const struct task *task, struct error *error)
{
    *self = (struct brought){0};
    bool ok = read_files(self, inputs, task, error) &&
              read_refiner(self, inputs, task, error) &&
              read_one(&self->init, inputs, "init", task->init, error) &&
              read_one(&self->mask, inputs, "mask", task->mask, error) &&
              read_one(&self->image, inputs, "image", task->image, error);
    if (!ok)
        brought_clear(self);
    return ok;
}

void brought_clear(struct brought *self)
{
    pixels_clear(&self->init);
    pixels_clear(&self->mask);
    pixels_clear(&self->image);
}

static const struct pixels *given(const struct pixels *pixels)
{
    return pixels->rgb ? pixels : NULL;
}

/* "same" is NULL. */
static const char *unless_same(const char *name)
{
    return strcmp(name, "same") == 0 ? NULL : name;
}

static struct hires_request hires_of(const struct task *task)
{
    return (struct hires_request){
        .scale = task->hires_scale,
        .width = task->hires_width,
        .height = task->hires_height,
        .upscaler = task->hires_upscaler,
        .steps = task->hires_steps,
        .cfg = task->hires_cfg,
        .sampler = unless_same(task->hires_sampler),
        .schedule = unless_same(task->hires_schedule),
    };
}

static enum inpaint_fill fill_of(const char *name)
{
    static const char *const names[] = {[INPAINT_ORIGINAL] = "original",
                                        [INPAINT_FILL] = "fill",
                                        [INPAINT_NOISE] = "latent-noise",
                                        [INPAINT_NOTHING] = "latent-nothing"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], name) == 0)
            return (enum inpaint_fill)i;
    return INPAINT_ORIGINAL;
}

void brought_request(const struct brought *self, const struct task *task,
                     struct image_request *into)
{
    into->embeddings = self->embedding;
    into->embedding_count = self->embeddings;
    into->vae_path = self->vae_path;
    into->vae_name = self->vae_name;
    into->safety_path = self->safety_path;
    into->safety_name = self->safety_name;
    into->refiner = self->refiner;
    into->init = given(&self->init);
    into->mask = given(&self->mask);
    into->image = given(&self->image);
    into->strength = task->strength;
    into->hires = hires_of(task);
    into->mask_blur = task->mask_blur;
    into->mask_invert = strcmp(task->mask_invert, "on") == 0;
    into->full_res = strcmp(task->inpaint_full_res, "on") == 0;
    into->full_res_padding = task->inpaint_padding;
    into->image_cfg = task->image_cfg;
    into->tile = strcmp(task->tile, "on") == 0;
    into->inpaint_fill = fill_of(task->inpaint_fill);
}
