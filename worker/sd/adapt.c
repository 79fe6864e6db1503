/* A run whose steps are as long as their errors allow: attempt by attempt of three evaluations,
 * after each of which latents and history come to the host and what is to go on with returns.
 */
#include <stdlib.h>

#include "worker/sd/adaptive.h"
#include "worker/sd/rendering.h"

/* NHWC noise of the image, `due` times, added to its latents. */
static bool add_noise(struct rendering *self, float *latents, double due,
                      struct error *error)
{
    if (!rendering_draw(self, 0, error))
        return false;
    for (size_t i = 0; i < self->c * self->h * self->w; i++)
        latents[i] = (float)(latents[i] + due * self->nhwc[i]);
    return true;
}

static bool attempt(struct rendering *self, struct denoiser *denoiser, size_t call,
                    float *values, struct error *error)
{
    const struct sampler_run *run = &self->run;
    float guidance = run->step[0].guidance, rescale = run->step[0].rescale;
    double due;
    adaptive_attempt(run->adaptive, run->step);
    for (size_t i = 0; i < ADAPTIVE_EVALUATIONS; i++) {
        run->step[i].guidance = guidance;
        run->step[i].rescale = rescale;
        if (!rendering_attend(self, denoiser, call + i, call + i == 0, error) ||
            !denoiser_step(denoiser, &run->step[i], NULL, error))
            return false;
    }
    return denoiser_save(denoiser, values, error) &&
           adaptive_judge(run->adaptive, values, self->c * self->h * self->w, &due,
                          error) &&
           (due < 0 || add_noise(self, values, due, error)) &&
           denoiser_load(denoiser, values, error);
}

bool rendering_adapt(struct rendering *self, struct denoiser *denoiser,
                     pipeline_progress *progress, void *owner, struct error *error)
{
    const struct image_request *request = self->request;
    size_t steps = request->steps, values = self->c * self->h * self->w;
    float *latents = calloc((1 + DENOISER_HISTORY) * values, sizeof *latents);
    bool ok = true;
    if (!latents)
        return error_set_kind(error, ERROR_MEMORY, "no memory for latents");
    if (self->keeps || self->holds || request->resume)
        ok = error_set_kind(error, ERROR_INPUT,
                            "sampler %s: it neither repaints pictures nor goes on from "
                            "snapshots",
                            request->sampler);
    double done = 0;
    for (size_t call = 0; ok && done < 1; call += ADAPTIVE_EVALUATIONS) {
        if (progress &&
            !progress(owner, self->done + (size_t)(done * (double)steps), self->of))
            ok = error_set_kind(error, ERROR_BUSY, "stopped");
        ok = ok && attempt(self, denoiser, call, latents, error);
        done = adaptive_done(self->run.adaptive);
    }
    bool ends = self->done + self->length == self->of;
    if (ok && progress && ends && !progress(owner, self->of, self->of))
        ok = error_set_kind(error, ERROR_BUSY, "stopped");
    free(latents);
    return ok && denoiser_latents(denoiser, self->nhwc, error);
}

/* One image's part of a progress. */
struct share {
    pipeline_progress *progress;
    void *owner;
    size_t image, images;
};

static bool tell_share(void *owner, size_t done, size_t of)
{
    const struct share *self = owner;
    return self->progress(self->owner, self->image * of + done, self->images * of);
}

/* Images whose steps are found on the way share no step, so no batch. */
bool pipeline_render(struct pipeline *self, const struct image_request *requests,
                     size_t count, pipeline_progress *progress, void *owner,
                     struct image *images, struct error *error)
{
    const char *second = requests->hires.sampler;
    if (count < 2 ||
        !(sampler_adapts(requests->sampler) || (second && sampler_adapts(second))))
        return rendering_together(self, requests, count, progress, owner, images,
                                  error);
    for (size_t i = 0; i < count; i++) {
        struct share share = {progress, owner, i, count};
        if (rendering_together(self, &requests[i], 1, progress ? tell_share : NULL,
                               &share, &images[i], error))
            continue;
        while (i-- > 0)
            image_clear(&images[i]);
        return false;
    }
    return true;
}
