"""Diffusers' names of weights as the original single files have them (Rombach et al.'s ldm)."""

import re

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
UNET = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}
OPENCLIP = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}


def resnet(rest):
    for new, old in RESNET.items():
        rest = re.sub(rf"^{new}\b", old, rest)
    return rest


def unet_name(name, config):
    """`config`: the UNet's, of a fixed number of layers."""
    step = config.layers_per_block + 1
    attends = ["CrossAttn" in kind for kind in config.up_block_types]
    found = re.match(r"(down|up)_blocks\.(\d+)\.([a-z]+)\.(\d+)\.(.*)", name)
    if found:
        way, block, kind, i, rest = found[1], int(found[2]), found[3], int(found[4]), found[5]
        if way == "down":
            at = 1 + block * step + i
            if kind == "downsamplers":
                return f"input_blocks.{(block + 1) * step}.0.op.{rest.removeprefix('conv.')}"
            head = f"input_blocks.{at}"
        else:
            head = f"output_blocks.{block * step + i}"
            if kind == "upsamplers":
                return f"output_blocks.{block * step + step - 1}.{1 + attends[block]}.{rest}"
        return f"{head}.0.{resnet(rest)}" if kind == "resnets" else f"{head}.1.{rest}"
    for new, old in UNET.items():
        if name.startswith(new + "."):
            rest = name[len(new) + 1 :]
            return f"{old}.{resnet(rest) if 'mid_block.resnets' in new else rest}"
    raise KeyError(name)


def vae_name(name, config):
    last = len(config.block_out_channels) - 1
    name = re.sub(r"mid_block\.attentions\.0\.", "mid.attn_1.", name)
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    name = re.sub(r"down_blocks\.(\d+)\.resnets\.(\d+)", r"down.\1.block.\2", name)
    name = re.sub(
        r"up_blocks\.(\d+)\.resnets\.(\d+)", lambda m: f"up.{last - int(m[1])}.block.{m[2]}", name
    )
    name = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(
        r"up_blocks\.(\d+)\.upsamplers\.0", lambda m: f"up.{last - int(m[1])}.upsample", name
    )
    for new, old in {
        "conv_shortcut": "nin_shortcut",
        "conv_norm_out": "norm_out",
        "group_norm": "norm",
        "to_q": "q",
        "to_k": "k",
        "to_v": "v",
        "to_out.0": "proj_out",
    }.items():
        name = re.sub(rf"\b{re.escape(new)}\b", old, name)
    return name


def unet_shapes(unet):
    return {unet_name(k, unet.config): list(v.shape) for k, v in unet.state_dict().items()}


def vae_shapes(vae):
    """Attention's matrices are 1x1 convolutions."""
    shapes = {vae_name(k, vae.config): list(v.shape) for k, v in vae.state_dict().items()}
    return {
        k: v + [1, 1] if "attn_1" in k and len(v) == 2 else v for k, v in shapes.items()
    }


def openclip_shapes(text, extra_layers=0):
    """q, k and v in one; the projection the other way round."""
    inner = getattr(text, "text_model", text)
    c, layers = text.config.hidden_size, text.config.num_hidden_layers
    shapes = {
        "positional_embedding": [77, c],
        "token_embedding.weight": [text.config.vocab_size, c],
        "ln_final.weight": [c],
        "ln_final.bias": [c],
        "text_projection": [c, text.config.projection_dim],
        "logit_scale": [],
    }
    layer = {k: list(v.shape) for k, v in inner.encoder.layers[0].state_dict().items()}
    for i in range(layers + extra_layers):
        head = f"transformer.resblocks.{i}"
        shapes[f"{head}.attn.in_proj_weight"] = [3 * c, c]
        shapes[f"{head}.attn.in_proj_bias"] = [3 * c]
        for new, old in OPENCLIP.items():
            for ending in ("weight", "bias"):
                shapes[f"{head}.{old}.{ending}"] = layer[f"{new}.{ending}"]
    return shapes


def clip_shapes(text):
    inner = getattr(text, "text_model", text)
    return {f"text_model.{k}": list(v.shape) for k, v in inner.state_dict().items()} | {
        "text_model.embeddings.position_ids": [1, 77]
    }
