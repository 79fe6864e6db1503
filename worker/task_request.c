#include "worker/task_request.h"

#include <string.h>

static struct draws_options noise_of(const struct task *task)
{
    bool is_batch = !strcmp(task->rng, "comfy-batch");
    return (struct draws_options){
        .is_philox = !strcmp(task->rng, "philox"),
        .variation_seed = task->variation_seed,
        .variation = task->variation,
        .delta = task->ensd,
        .batch = is_batch ? task->batch : 1,
        .index = is_batch ? task->batch_index : 0,
    };
}

void task_request(const struct task *task, const struct task_loras *loras,
                  struct image_request *into)
{
    *into = (struct image_request){
        .prompt = loras->prompt,
        .negative = *task->negative || !strcmp(task->empty_negative, "text")
                        ? task->negative
                        : NULL,
        .seed = task->seed,
        .steps = task->steps,
        .cfg = task->cfg,
        .width = task->width,
        .height = task->height,
        .sampler = task->sampler,
        .schedule = task->schedule,
        .syntax = task->syntax,
        .eta = task->eta,
        .clip_skip = (unsigned)task->clip_skip,
        .loras = loras->use,
        .lora_count = loras->count,
        .original_width = task->original_width,
        .original_height = task->original_height,
        .crop_x = task->crop_x,
        .crop_y = task->crop_y,
        .aesthetic = task->aesthetic,
        .class = task->class_number,
        .prediction = task->prediction,
        .zsnr = task->zsnr,
        .guidance_rescale = task->guidance_rescale,
        .noise = noise_of(task),
        .noise_width = task->noise_width,
        .noise_height = task->noise_height,
    };
}
