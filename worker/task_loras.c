#include "worker/task_loras.h"

#include <stdlib.h>
#include <string.h>

#include "proto/job/prompt_tags.h"

static size_t stem_length(const char *name)
{
    const char *point = strrchr(name, '.');
    return point ? (size_t)(point - name) : strlen(name);
}

static bool add_tag(struct task_loras *self, const struct prompt_tag *tag,
                    struct error *error)
{
    for (size_t i = 0; i < self->count; i++) {
        const char *name = self->use[i].name;
        if (stem_length(name) == tag->name_size &&
            memcmp(name, tag->name, tag->name_size) == 0) {
            self->use[i].weight += tag->weight;
            return true;
        }
    }
    return error_set_kind(
        error, ERROR_INPUT,
        "prompt: <lora:%.*s>: no such file came with the job; give it "
        "with --lora, or put it into the folder of LoRAs",
        (int)(tag->name_size < 80 ? tag->name_size : 80), tag->name);
}

bool task_loras_read(struct task_loras *self, const struct task *task,
                     const struct inputs *inputs, struct error *error)
{
    struct input_use files[FILES_MOST];
    bool plain = strcmp(task->syntax, "plain") == 0;
    *self = (struct task_loras){0};
    if (!inputs_of(inputs, option_find("lora"), task->lora, files, &self->count, error))
        return false;
    for (size_t i = 0; i < self->count; i++)
        self->use[i] =
            (struct adapter_use){files[i].path, files[i].name, files[i].weight};
    struct prompt_tag tag = {.end = task->prompt};
    while (!plain) {
        const char *from = tag.end;
        if (!prompt_tag_next(from, strlen(from), &tag, error))
            return false;
        if (!tag.start)
            break;
        if (!add_tag(self, &tag, error))
            return false;
    }
    size_t kept = 0;
    for (size_t i = 0; i < self->count; i++)
        if (self->use[i].weight != 0)
            self->use[kept++] = self->use[i];
    self->count = kept;
    self->prompt = plain ? strdup(task->prompt) : prompt_tags_cut(task->prompt);
    if (!self->prompt)
        abort();
    return true;
}

void task_loras_clear(struct task_loras *self)
{
    free(self->prompt);
    *self = (struct task_loras){0};
}
