/* Restart (Xu et al. 2023): Heun's method, and when sigma has fallen to 0.1, noise lifts the
 * latents back to 2, from where they come down again, once or twice.
 */
#include <math.h>
#include <string.h>

#include "worker/sd/sampler_family.h"

enum { KEPT, DENOISED };

/* Of `levels` (falling, `count` of them) the nearest. */
static size_t nearest(const double *levels, size_t count, double sigma)
{
    size_t best = 0;
    for (size_t i = 1; i < count; i++)
        if (fabs(levels[i] - sigma) < fabs(levels[best] - sigma))
            best = i;
    return best;
}

/* Karras' curve over `steps` sigmas, as floats. */
static void follow_karras(double first, double last, size_t steps, double *levels)
{
    schedule_curve(CURVE_KARRAS, first, last, steps, levels);
    for (size_t i = 0; i < steps; i++)
        levels[i] = (float)levels[i];
}

static void add_heun(struct plan *self, double sigma, double next)
{
    struct sampler_level level = {1, sigma}, then = {1, next};
    struct step *step = sampler_add(self, sampler_timestep(self, sigma), level);
    sampler_denoised(step, self->config->prediction, sigma);
    sampler_integrate(step, sigma, next);
    if (next == 0)
        return;
    double half = (next - sigma) / 2;
    step->keep = KEPT;
    step->keep_x = (float)(1 + half / sigma);
    step->keep_d = (float)(-half / sigma);
    step = sampler_add(self, sampler_timestep(self, next), then);
    sampler_denoised(step, self->config->prediction, next);
    step->h[KEPT] = 1;
    step->x_x = (float)(half / next);
    step->x_d = (float)(-half / next);
}

/* Heun's steps along levels, of which there are `count`. */
static void add_all(struct plan *self, const double *levels, size_t count)
{
    for (size_t i = 0; i + 1 < count; i++)
        add_heun(self, levels[i], levels[i + 1]);
}

/* With fewer than 20 steps none is spent on coming down again. */
bool sampler_restart(struct plan *self, struct error *error)
{
    (void)error;
    double *levels = self->levels + self->first;
    size_t steps = self->steps - self->first, again = 9, times = steps >= 20;
    if (steps >= 36) {
        again = steps / 4;
        times = 2;
    }
    if (!times) {
        add_all(self, levels, steps + 1);
        return true;
    }
    steps -= again * times;
    follow_karras(levels[0], levels[self->steps - self->first - 1], steps, levels);
    levels[steps] = 0;
    self->steps = self->first + steps;
    size_t low = nearest(levels, steps + 1, 0.1), high = nearest(levels, steps + 1, 2);
    add_all(self, levels, low + 1);
    for (size_t k = 0; high < low && k < times; k++) {
        double *down = levels + steps + 1; /* room is twice the steps' */
        double from = levels[low], to = levels[high];
        follow_karras(to, from, again + 1, down);
        /* What came down last stays a step above. */
        if (k > 0)
            from = down[again];
        self->step[self->count - 1].noise = (float)sqrt(to * to - from * from);
        add_all(self, down, again + 1);
    }
    add_all(self, levels + low, steps + 1 - low);
    return true;
}
