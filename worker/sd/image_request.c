#include <string.h>

#include "worker/sd/pipeline.h"
#include "worker/sd/start.h"

static const char *or_auto(const char *text)
{
    return text ? text : "auto";
}

static bool alike_text(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "") == 0;
}

bool image_request_same_files(const struct image_request *a,
                              const struct image_request *b)
{
    bool same =
        a->lora_count == b->lora_count && a->embedding_count == b->embedding_count;
    for (size_t i = 0; same && i < a->lora_count; i++)
        same = a->loras[i].weight == b->loras[i].weight &&
               strcmp(a->loras[i].path, b->loras[i].path) == 0;
    for (size_t i = 0; same && i < a->embedding_count; i++)
        same = strcmp(a->embeddings[i].path, b->embeddings[i].path) == 0;
    return same && alike_text(a->vae_path, b->vae_path) &&
           alike_text(a->safety_path, b->safety_path);
}

static bool alike_hires(const struct hires_request *a, const struct hires_request *b)
{
    return a->scale == b->scale && a->width == b->width && a->height == b->height &&
           a->steps == b->steps && a->cfg == b->cfg &&
           alike_text(a->upscaler, b->upscaler) && alike_text(a->sampler, b->sampler) &&
           alike_text(a->schedule, b->schedule);
}

bool image_request_alike(const struct image_request *a, const struct image_request *b)
{
    return a->steps == b->steps && a->cfg == b->cfg && a->width == b->width &&
           a->height == b->height && a->original_width == b->original_width &&
           a->original_height == b->original_height && a->crop_x == b->crop_x &&
           a->crop_y == b->crop_y && a->class == b->class &&
           a->aesthetic == b->aesthetic && a->eta == b->eta &&
           a->clip_skip == b->clip_skip && a->init == b->init &&
           a->strength == b->strength && alike_hires(&a->hires, &b->hires) &&
           a->refiner.model == b->refiner.model && a->refiner.at == b->refiner.at &&
           a->mask == b->mask && a->mask_blur == b->mask_blur &&
           a->mask_invert == b->mask_invert && a->full_res == b->full_res &&
           a->full_res_padding == b->full_res_padding &&
           a->inpaint_fill == b->inpaint_fill && a->image == b->image &&
           a->image_cfg == b->image_cfg && a->tile == b->tile &&
           strcmp(a->sampler, b->sampler) == 0 &&
           strcmp(a->schedule, b->schedule) == 0 &&
           strcmp(or_auto(a->syntax), or_auto(b->syntax)) == 0 &&
           a->guidance_rescale == b->guidance_rescale &&
           strcmp(or_auto(a->prediction), or_auto(b->prediction)) == 0 &&
           strcmp(or_auto(a->zsnr), or_auto(b->zsnr)) == 0 &&
           image_request_same_files(a, b);
}

bool image_request_draws(const struct image_request *requests,
                         const struct start_shape *shape, const struct sampler_run *run,
                         size_t factor, struct draws **draws, struct error *error)
{
    for (size_t i = 0; i < shape->images; i++) {
        const struct image_request *request = &requests[i];
        struct draws_options options = request->noise;
        options.seed = request->seed;
        options.resize_h = request->noise_height / factor;
        options.resize_w = request->noise_width / factor;
        draws[i] = draws_new(&options, run, shape->c, shape->h, shape->w, error);
        if (!draws[i])
            return false;
    }
    return true;
}
