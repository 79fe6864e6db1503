/* Single files number their blocks through: each layer and each change of size is one. */
#include "worker/sd/lora_alias.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct name {
    const char *ours, *theirs;
};

static const struct name resnet_parts[] = {
    {"conv1", "in_layers.2"},
    {"time_emb_proj", "emb_layers.1"},
    {"conv2", "out_layers.3"},
    {"conv_shortcut", "skip_connection"},
};

static const struct name outer_parts[] = {
    {"time_embedding.linear_1", "time_embed.0"},
    {"time_embedding.linear_2", "time_embed.2"},
    {"add_embedding.linear_1", "label_emb.0.0"},
    {"add_embedding.linear_2", "label_emb.0.2"},
    {"conv_in", "input_blocks.0.0"},
    {"conv_out", "out.2"},
};

static bool write_name(char into[LORA_LAYER_MOST], const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static bool write_name(char into[LORA_LAYER_MOST], const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(into, LORA_LAYER_MOST, format, arguments);
    va_end(arguments);
    return length > 0 && length < LORA_LAYER_MOST;
}

static const char *look_up(const struct name *table, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(table[i].ours, name) == 0)
            return table[i].theirs;
    return NULL;
}

#define LOOK_UP(table, name) look_up(table, sizeof(table) / sizeof *(table), name)

/* `rest` of a resnet or a transformer, in the single file's block of that name. */
static bool write_part(char into[LORA_LAYER_MOST], const char *block, const char *kind,
                       const char *rest)
{
    if (strcmp(kind, "attentions") == 0)
        return write_name(into, "%s.1.%s", block, rest);
    const char *part =
        strcmp(kind, "resnets") == 0 ? LOOK_UP(resnet_parts, rest) : NULL;
    return part && write_name(into, "%s.0.%s", block, part);
}

static bool write_down(char into[LORA_LAYER_MOST], const struct unet_config *config,
                       size_t level, const char *kind, size_t i, const char *rest)
{
    char block[40];
    size_t first = 1;
    for (size_t l = 0; l < level; l++)
        first += config->level[l].layers + 1;
    if (strcmp(kind, "downsamplers") == 0)
        return write_name(into, "input_blocks.%zu.0.op",
                          first + config->level[level].layers);
    snprintf(block, sizeof block, "input_blocks.%zu", first + i);
    return write_part(into, block, kind, rest);
}

static bool write_up(char into[LORA_LAYER_MOST], const struct unet_config *config,
                     size_t level, const char *kind, size_t i, const char *rest)
{
    char block[40];
    size_t first = 0;
    for (size_t l = level + 1; l < config->levels; l++)
        first += config->level[l].layers + 1;
    if (strcmp(kind, "upsamplers") == 0)
        return write_name(into, "output_blocks.%zu.%d.conv",
                          first + config->level[level].layers,
                          config->level[level].up.attends ? 2 : 1);
    snprintf(block, sizeof block, "output_blocks.%zu", first + i);
    return write_part(into, block, kind, rest);
}

bool lora_alias(char into[LORA_LAYER_MOST], const struct unet_config *config,
                const char *layer)
{
    char way[8], kind[20], block[20];
    size_t level, i;
    int used = 0;
    if (sscanf(layer, "%7[a-z]_blocks.%zu.%19[a-z].%zu.%n", way, &level, kind, &i,
               &used) == 4 &&
        used && level < config->levels)
        return strcmp(way, "down") == 0
                   ? write_down(into, config, level, kind, i, layer + used)
                   : write_up(into, config, config->levels - 1 - level, kind, i,
                              layer + used);
    if (sscanf(layer, "mid_block.%19[a-z].%zu.%n", kind, &i, &used) == 2 && used) {
        if (strcmp(kind, "attentions") == 0)
            return write_name(into, "middle_block.1.%s", layer + used);
        const char *part = LOOK_UP(resnet_parts, layer + used);
        snprintf(block, sizeof block, "middle_block.%d", i ? 2 : 0);
        return part && write_name(into, "%s.%s", block, part);
    }
    const char *part = LOOK_UP(outer_parts, layer);
    return part && write_name(into, "%s", part);
}
