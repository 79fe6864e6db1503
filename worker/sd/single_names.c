/* A name is cut at its block and the rest is looked up in a table:
 *
 *     down_blocks.1.resnets.0.norm1.weight
 *     input_blocks.4.0.        in_layers.0.weight
 *
 * Blocks are numbered through in single files: each layer and each change of size is one.
 */
#include "worker/sd/single_names.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define UNET "model.diffusion_model."

struct name {
    const char *asked, *stored;
};

/* Writes the whole name; false when it is too long. */
static bool set(struct stored *into, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static bool set(struct stored *into, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(into->name, sizeof into->name, format, arguments);
    va_end(arguments);
    return length > 0 && (size_t)length < sizeof into->name;
}

/* The row whose asked name `rest` begins with, up to a point or the end; *rest moves behind
 * it. */
static const char *look_up(const struct name *table, size_t count, const char **rest)
{
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(table[i].asked);
        const char *after = *rest + length;
        if (strncmp(*rest, table[i].asked, length) == 0 && (!*after || *after == '.')) {
            *rest = after;
            return table[i].stored;
        }
    }
    return NULL;
}

#define LOOK_UP(table, rest) look_up(table, sizeof(table) / sizeof *(table), rest)

/* ---- UNet */

static bool unet_resnet(struct stored *into, const char *block, const char *rest)
{
    static const struct name parts[] = {
        {"norm1", "in_layers.0"},          {"conv1", "in_layers.2"},
        {"time_emb_proj", "emb_layers.1"}, {"norm2", "out_layers.0"},
        {"conv2", "out_layers.3"},         {"conv_shortcut", "skip_connection"},
    };
    const char *part = LOOK_UP(parts, &rest);
    return part && set(into, UNET "%s.%s%s", block, part, rest);
}

static bool unet_down(const struct single_level *level, const char *kind, size_t i,
                      const char *rest, struct stored *into)
{
    char block[60];
    snprintf(block, sizeof block, "input_blocks.%zu.0", level->first_down + i);
    if (strcmp(kind, "resnets") == 0)
        return unet_resnet(into, block, rest);
    if (strcmp(kind, "attentions") == 0)
        return set(into, UNET "input_blocks.%zu.1.%s", level->first_down + i, rest);
    if (strcmp(kind, "downsamplers") == 0 && strncmp(rest, "conv.", 5) == 0)
        return set(into, UNET "input_blocks.%zu.0.op.%s",
                   level->first_down + level->layers, rest + 5);
    return false;
}

static bool unet_up(const struct single_level *level, const char *kind, size_t i,
                    const char *rest, struct stored *into)
{
    char block[60];
    snprintf(block, sizeof block, "output_blocks.%zu.0", level->first_up + i);
    if (strcmp(kind, "resnets") == 0)
        return unet_resnet(into, block, rest);
    if (strcmp(kind, "attentions") == 0)
        return set(into, UNET "output_blocks.%zu.1.%s", level->first_up + i, rest);
    if (strcmp(kind, "upsamplers") == 0)
        return set(into, UNET "output_blocks.%zu.%d.%s",
                   level->first_up + level->layers, level->attends ? 2 : 1, rest);
    return false;
}

bool single_unet_name(const void *owner, const char *tensor, struct stored *into)
{
    static const struct name parts[] = {
        {"time_embedding.linear_1", "time_embed.0"},
        {"time_embedding.linear_2", "time_embed.2"},
        {"add_embedding.linear_1", "label_emb.0.0"},
        {"add_embedding.linear_2", "label_emb.0.2"},
        {"conv_in", "input_blocks.0.0"},
        {"conv_norm_out", "out.0"},
        {"conv_out", "out.2"},
        {"mid_block.attentions.0", "middle_block.1"},
    };
    const struct single_unet *unet = owner;
    char way[8], kind[20];
    size_t block, i;
    int used = 0;
    if (sscanf(tensor, "%7[a-z]_blocks.%zu.%19[a-z].%zu.%n", way, &block, kind, &i,
               &used) == 4 &&
        used && block < unet->levels) {
        const struct single_level *level = unet->level;
        return strcmp(way, "down") == 0
                   ? unet_down(&level[block], kind, i, tensor + used, into)
                   : unet_up(&level[unet->levels - 1 - block], kind, i, tensor + used,
                             into);
    }
    if (sscanf(tensor, "mid_block.resnets.%zu.%n", &i, &used) == 1 && used)
        return unet_resnet(into, i ? "middle_block.2" : "middle_block.0",
                           tensor + used);
    const char *rest = tensor, *part = LOOK_UP(parts, &rest);
    return part && set(into, UNET "%s%s", part, rest);
}

/* ---- Text encoders */

/* q, k and v lie in one matrix and one vector, in that order. */
static bool openclip_layer(struct stored *into, const char *prefix, size_t layer,
                           const char *rest)
{
    static const struct name parts[] = {
        {"layer_norm1", "ln_1"},
        {"layer_norm2", "ln_2"},
        {"mlp.fc1", "mlp.c_fc"},
        {"mlp.fc2", "mlp.c_proj"},
        {"self_attn.out_proj", "attn.out_proj"},
    };
    static const char *const thirds[] = {"self_attn.q_proj.", "self_attn.k_proj.",
                                         "self_attn.v_proj."};
    for (size_t i = 0; i < 3; i++)
        if (strncmp(rest, thirds[i], strlen(thirds[i])) == 0) {
            into->slice = i;
            into->slices = 3;
            return set(into, "%stransformer.resblocks.%zu.attn.in_proj_%s", prefix,
                       layer, rest + strlen(thirds[i]));
        }
    const char *part = LOOK_UP(parts, &rest);
    return part &&
           set(into, "%stransformer.resblocks.%zu.%s%s", prefix, layer, part, rest);
}

static bool openclip_name(const struct single_text *text, const char *tensor,
                          struct stored *into)
{
    static const struct name parts[] = {
        {"embeddings.token_embedding", "token_embedding"},
        {"embeddings.position_embedding.weight", "positional_embedding"},
        {"final_layer_norm", "ln_final"},
    };
    size_t layer;
    int used = 0;
    if (strcmp(tensor, "text_projection.weight") == 0) {
        into->transposed = true;
        return text->projection && set(into, "%stext_projection", text->prefix);
    }
    if (sscanf(tensor, "encoder.layers.%zu.%n", &layer, &used) == 1 && used)
        return openclip_layer(into, text->prefix, layer, tensor + used);
    const char *rest = tensor, *part = LOOK_UP(parts, &rest);
    return part && set(into, "%s%s%s", text->prefix, part, rest);
}

bool single_text_name(const void *owner, const char *tensor, struct stored *into)
{
    const struct single_text *text = owner;
    if (text->openclip)
        return openclip_name(text, tensor, into);
    if (strcmp(tensor, "text_projection.weight") == 0)
        return false;
    return set(into, "%s%s%s", text->prefix, text->inner_name ? "text_model." : "",
               tensor);
}

/* ---- VAE */

static bool vae_resnet(struct stored *into, const char *prefix, const char *block,
                       const char *rest)
{
    bool shortcut = strncmp(rest, "conv_shortcut.", 14) == 0;
    return set(into, "%s%s.%s%s", prefix, block, shortcut ? "nin_shortcut." : "",
               shortcut ? rest + 14 : rest);
}

static bool vae_mid(struct stored *into, const char *prefix, const char *side,
                    const char *tensor)
{
    static const struct name parts[] = {
        {"group_norm", "norm"},   {"to_q", "q"}, {"to_k", "k"}, {"to_v", "v"},
        {"to_out.0", "proj_out"},
    };
    char block[40];
    size_t i;
    int used = 0;
    if (sscanf(tensor, "resnets.%zu.%n", &i, &used) == 1 && used) {
        snprintf(block, sizeof block, "%s.mid.block_%zu", side, i + 1);
        return vae_resnet(into, prefix, block, tensor + used);
    }
    if (strncmp(tensor, "attentions.0.", 13) != 0)
        return false;
    const char *rest = tensor + 13, *part = LOOK_UP(parts, &rest);
    return part && set(into, "%s%s.mid.attn_1.%s%s", prefix, side, part, rest);
}

bool single_vae_name(const void *owner, const char *tensor, struct stored *into)
{
    const struct single_vae_names *vae = owner;
    char side[8], way[8], block[60];
    size_t level, i;
    int used = 0;
    if (sscanf(tensor, "%7[a-z].mid_block.%n", side, &used) == 1 && used)
        return vae_mid(into, vae->prefix, side, tensor + used);
    if (sscanf(tensor, "%7[a-z].%7[a-z]_blocks.%zu.%n", side, way, &level, &used) ==
            3 &&
        used && level < vae->levels) {
        const char *rest = tensor + used;
        size_t place = way[0] == 'u' ? vae->levels - 1 - level : level;
        used = 0;
        if (sscanf(rest, "resnets.%zu.%n", &i, &used) == 1 && used) {
            snprintf(block, sizeof block, "%s.%s.%zu.block.%zu", side, way, place, i);
            return vae_resnet(into, vae->prefix, block, rest + used);
        }
        if (strncmp(rest + strlen(way), "samplers.0.", 11) == 0)
            return set(into, "%s%s.%s.%zu.%ssample.%s", vae->prefix, side, way, place,
                       way, rest + strlen(way) + 11);
        return false;
    }
    const char *norm = strstr(tensor, ".conv_norm_out.");
    if (norm)
        return set(into, "%s%.*s.norm_out.%s", vae->prefix, (int)(norm - tensor),
                   tensor, norm + strlen(".conv_norm_out."));
    return set(into, "%s%s", vae->prefix, tensor);
}
