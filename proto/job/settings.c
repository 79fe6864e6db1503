/* A task as settings for the wire, and back. */
#include <stdlib.h>
#include <string.h>

#include "proto/job/job.h"

bool task_pack(const struct task *self, Farm__Setting ***settings, size_t *count)
{
    *count = 0;
    *settings = calloc(OPTION_COUNT_ALL, sizeof **settings);
    bool ok = *settings != NULL;
    for (const struct option *option = options; ok && option->name; option++) {
        Farm__Setting *setting = malloc(sizeof *setting);
        if (!setting) {
            ok = false;
            break;
        }
        farm__setting__init(setting);
        (*settings)[(*count)++] = setting;
        setting->name.data = (uint8_t *)strdup(option->name);
        setting->name.len = strlen(option->name);
        setting->value.data = (uint8_t *)task_get(self, option);
        setting->value.len = strlen((char *)setting->value.data);
        ok = setting->name.data != NULL;
    }
    if (!ok)
        settings_destroy(settings, *count);
    return ok;
}

void settings_destroy(Farm__Setting ***settings, size_t count)
{
    for (size_t i = 0; *settings && i < count; i++)
        farm__setting__free_unpacked((*settings)[i], NULL);
    free(*settings);
    *settings = NULL;
}

bool task_unpack(struct task *into, Farm__Setting *const *settings, size_t count,
                 struct error *error)
{
    task_init(into);
    if (count > OPTION_COUNT_ALL)
        return error_set_kind(error, ERROR_INPUT,
                              "%zu settings of a task, there are %d", count,
                              OPTION_COUNT_ALL);
    for (size_t i = 0; i < count; i++)
        if (!task_set_bytes(into, settings[i]->name, settings[i]->value, error))
            return false;
    return true;
}
