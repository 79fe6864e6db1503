#include "worker/sd/footprint.h"

#include "worker/sd/rendering.h"
#include "worker/sd/tiles.h"

const char *const footprint_phase_name[FOOTPRINT_PHASES] = {"text", "UNet", "VAE",
                                                            "safety"};

static void add_arena(struct footprint_part *part, const struct stream *stream)
{
    part->arena += stream_arena_bytes(stream);
    part->live += stream_live_bytes(stream);
}

static bool plan_text(struct footprint *self, struct pipeline *pipeline,
                      struct error *error)
{
    struct footprint_part *part = &self->part[FOOTPRINT_TEXT];
    struct text_stack *text = &pipeline->model.text;
    size_t before = gpu_allocated(pipeline->gpu);
    if (!text_stack_plan(text, error))
        return false;
    for (size_t i = 0; i < text->count; i++)
        add_arena(part, text_stack_stream(text, i));
    part->own = gpu_allocated(pipeline->gpu) - before - part->arena;
    return true;
}

/* What a plan held is what is gone with it; weights it had transformed stay. */
static void drop(struct pipeline *pipeline, struct footprint_part *part)
{
    size_t before = gpu_allocated(pipeline->gpu);
    plans_drop(&pipeline->plans);
    part->own = before - gpu_allocated(pipeline->gpu) - part->arena;
}

static bool plan_unet(struct footprint *self, struct pipeline *pipeline, size_t images,
                      struct error *error)
{
    const struct model *model = &pipeline->model;
    const struct unet_config *unet = &model->unet.config;
    size_t c = model->pixels ? unet->out_channels : model->vae.config.latent_channels;
    bool edits = !model->pixels && unet->in_channels == 2 * c;
    bool guided = !model->pixels && !unet->guidance;
    struct denoiser_shape shape = {
        .images = images,
        .h = self->height / pipeline->factor,
        .w = self->width / pipeline->factor,
        .guided = guided,
        .edits = edits,
        .extra = unet->in_channels - c,
        .rows = images * (edits ? 3 : 1 + (size_t)guided),
        .tokens = model->text.tokens,
    };
    struct denoiser *denoiser = plans_denoiser(&pipeline->plans, &shape, error);
    if (!denoiser)
        return false;
    add_arena(&self->part[FOOTPRINT_UNET], denoiser_stream(denoiser));
    drop(pipeline, &self->part[FOOTPRINT_UNET]);
    return true;
}

/* In tiles of so many latents a side; 0: whole. */
static bool plan_decoder(struct footprint *self, struct pipeline *pipeline, size_t side,
                         struct error *error)
{
    struct footprint_part *part = &self->part[FOOTPRINT_VAE];
    size_t h = self->height / pipeline->factor, w = self->width / pipeline->factor;
    struct vae_pass *pass =
        plans_vae(&pipeline->plans, VAE_DECODES, side && side < h ? side : h,
                  side && side < w ? side : w, error);
    *part = (struct footprint_part){0};
    if (!pass)
        return false;
    add_arena(part, vae_pass_stream(pass));
    drop(pipeline, part);
    return true;
}

/* Whole where that fits beside what stays, as the decoder goes about it. */
static bool plan_vae(struct footprint *self, struct pipeline *pipeline,
                     struct error *error)
{
    struct error first = {0};
    const struct footprint_part *part = &self->part[FOOTPRINT_VAE];
    if (pipeline->model.pixels)
        return true;
    bool ok = plan_decoder(self, pipeline, 0, &first);
    size_t stays = gpu_allocated(pipeline->gpu);
    if (ok && stays + part->arena + part->own <= gpu_info(pipeline->gpu)->memory)
        return true;
    if (!ok && first.kind != ERROR_MEMORY) {
        *error = first;
        return false;
    }
    self->tiled = true;
    return plan_decoder(self, pipeline, tiles_side(&pipeline->model.vae), error);
}

static bool plan_safety(struct footprint *self, struct pipeline *pipeline,
                        const struct footprint_request *request, struct error *error)
{
    struct footprint_part *part = &self->part[FOOTPRINT_SAFETY];
    size_t before = gpu_allocated(pipeline->gpu);
    if (!request->safety_path)
        return true;
    pipeline->safety =
        safety_load(pipeline->gpu, request->safety_path, request->safety_name, error);
    if (!pipeline->safety)
        return false;
    add_arena(part, safety_stream(pipeline->safety));
    part->own = safety_beside(pipeline->safety);
    part->weights = gpu_allocated(pipeline->gpu) - before - part->arena - part->own;
    return true;
}

/* Each part's weights are what is gone without it. */
static void weigh(struct footprint *self, struct pipeline *pipeline)
{
    struct gpu *gpu = pipeline->gpu;
    struct footprint_part *text = &self->part[FOOTPRINT_TEXT];
    safety_destroy(&pipeline->safety);
    size_t all = gpu_allocated(gpu);
    unet_clear(&pipeline->model.unet, gpu);
    size_t rest = gpu_allocated(gpu);
    self->part[FOOTPRINT_UNET].weights = all - rest;
    vae_clear(&pipeline->model.vae, gpu);
    self->part[FOOTPRINT_VAE].weights = rest - gpu_allocated(gpu);
    text->weights = gpu_allocated(gpu) - text->arena - text->own;
}

static void sum_up(struct footprint *self)
{
    size_t plan[FOOTPRINT_PHASES];
    for (size_t i = 0; i < FOOTPRINT_PHASES; i++) {
        plan[i] = self->part[i].arena + self->part[i].own;
        self->weights += self->part[i].weights;
    }
    size_t unet = plan[FOOTPRINT_UNET], vae = plan[FOOTPRINT_VAE];
    size_t stays = self->weights + plan[FOOTPRINT_TEXT] + plan[FOOTPRINT_SAFETY];
    self->whole = stays + unet + vae;
    self->least = stays + (unet > vae ? unet : vae);
}

static bool take_size(struct footprint *self, const struct pipeline *pipeline,
                      const struct footprint_request *request, struct error *error)
{
    size_t factor = pipeline->factor;
    self->width = request->width ? request->width : pipeline->width;
    self->height = request->width ? request->height : pipeline->height;
    return (self->width >= factor && self->height >= factor &&
            self->width % factor == 0 && self->height % factor == 0) ||
           error_set_kind(error, ERROR_INPUT,
                          "size %zux%zu: this model's sizes are multiples of %zu",
                          self->width, self->height, factor);
}

bool footprint_plan(struct footprint *into, size_t device,
                    const struct footprint_request *request, struct error *error)
{
    *into = (struct footprint){0};
    struct gpu *gpu = gpu_open_plan(device, error);
    struct pipeline *pipeline =
        gpu ? pipeline_load(gpu, request->files, request->dtype, error) : NULL;
    bool ok = pipeline && take_size(into, pipeline, request, error) &&
              plan_text(into, pipeline, error) &&
              plan_unet(into, pipeline, request->images, error) &&
              plan_safety(into, pipeline, request, error) &&
              plan_vae(into, pipeline, error);
    if (ok) {
        weigh(into, pipeline);
        sum_up(into);
    }
    pipeline_destroy(&pipeline);
    gpu_close(&gpu);
    return ok;
}
