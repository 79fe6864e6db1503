"""One pass of many a configuration that models seldom have, by diffusers and transformers.

sweep.json: each case's configuration, its tensors and inputs (invent.py), or the key that clfarm
refuses although the reference knows it; sweep.safetensors: what came out.
"""

import json

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel, UNet2DModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel

import invent
from family_models import describe

TEXT = ("CrossAttnDownBlock2D", "DownBlock2D"), ("UpBlock2D", "CrossAttnUpBlock2D")
SELF = ("DownBlock2D", "AttnDownBlock2D"), ("AttnUpBlock2D", "UpBlock2D")
THREE = {
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D", "CrossAttnUpBlock2D"),
    "block_out_channels": (16, 24, 32),
}
MIXED = {
    "down_block_types": ("CrossAttnDownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "CrossAttnUpBlock2D", "AttnUpBlock2D"),
    "block_out_channels": (16, 24, 32),
}
RES = {
    "down_block_types": ("UNetResDownBlock2D", "UNetResAttnDownBlock2D"),
    "up_block_types": ("UNetResAttnUpBlock2D", "UNetResUpBlock2D"),
}
TIME = {
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 6,
    "projection_class_embeddings_input_dim": 10 + 6 * 6,
}

# name: configuration beside the plain one, and how it is run (size, class, timestep)
UNETS = {
    "plain": ({}, {}),
    "one level": (
        {
            "down_block_types": ("CrossAttnDownBlock2D",),
            "up_block_types": ("CrossAttnUpBlock2D",),
            "block_out_channels": (16,),
        },
        {"size": (3, 5)},
    ),
    "five levels": (
        {
            "down_block_types": ("CrossAttnDownBlock2D",) * 4 + ("DownBlock2D",),
            "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 4,
            "block_out_channels": (16, 16, 24, 24, 32),
        },
        {"size": (17, 23)},
    ),
    "layers by level": ({**THREE, "layers_per_block": (1, 3, 2)}, {"size": (9, 13)}),
    "small and odd": ({**THREE, "layers_per_block": (2, 1, 1)}, {"size": (5, 3)}),
    "heads by level": ({**THREE, "attention_head_dim": (4, 3, 2)}, {"timestep": 999}),
    "heads": ({"attention_head_dim": 4, "norm_num_groups": 4, "norm_eps": 1e-2}, {}),
    "groups of one": ({"norm_num_groups": 1}, {"timestep": 1}),
    "swish": ({"act_fn": "swish"}, {}),
    "mish": ({"act_fn": "mish"}, {}),
    "gelu": ({"act_fn": "gelu"}, {}),
    "relu": ({"act_fn": "relu"}, {}),
    "scale shift": ({"resnet_time_scale_shift": "scale_shift"}, {"size": (7, 9)}),
    "scale shift mish": ({"resnet_time_scale_shift": "scale_shift", "act_fn": "mish"}, {}),
    "padding": ({**THREE, "downsample_padding": 0}, {"size": (9, 13)}),
    "even padding": ({**THREE, "downsample_padding": 0}, {"size": (12, 20)}),
    "time": ({"freq_shift": 1, "flip_sin_to_cos": False}, {"timestep": 20.25}),
    "half time": ({"freq_shift": 1}, {"timestep": 0}),
    "text only": ({**THREE, "only_cross_attention": (True, False, True)}, {}),
    "all text only": ({"only_cross_attention": True}, {}),
    "no middle": ({"mid_block_type": None}, {"size": (9, 7)}),
    "plain middle": ({"mid_block_type": "UNetMidBlock2D"}, {}),
    "self attention": (
        {**MIXED, "attention_head_dim": (4, 8, 2)},
        {"size": (12, 8)},
    ),
    "depths": ({**THREE, "transformer_layers_per_block": (2, 1, 3)}, {}),
    "depths by layer": (
        {
            **THREE,
            "layers_per_block": 2,
            "transformer_layers_per_block": [[1, 2], 0, [2, 1]],
            "reverse_transformer_layers_per_block": [[1, 2, 1], 1, [2, 1, 1]],
        },
        {},
    ),
    "classes": ({"num_class_embeds": 5}, {"class": 3}),
    "class steps": ({"class_embed_type": "timestep", "act_fn": "gelu"}, {"class": 30}),
    "time width": ({"time_embedding_dim": 48}, {}),
    "behind time": ({"timestep_post_act": "silu", "time_embedding_act_fn": "gelu"}, {}),
    "behind added": ({**TIME, "time_embedding_act_fn": "mish"}, {}),
    "text time": ({**TIME, "act_fn": "relu", "freq_shift": 1}, {}),
    "pointwise ends": ({"conv_in_kernel": 1, "conv_out_kernel": 1}, {}),
    "centred": ({"center_input_sample": True}, {}),
    "linear": ({"use_linear_projection": True, "upcast_attention": True}, {}),
    "channels": ({"in_channels": 9, "out_channels": 8}, {"size": (6, 5)}),
    "context by level": ({"cross_attention_dim": (10, 10)}, {}),
    "long text": ({"cross_attention_dim": 33}, {"tokens": 154}),
    "old names": (
        {
            "down_block_types": ("UNetResDownBlock2D", "UNetResCrossAttnDownBlock2D"),
            "up_block_types": ("UNetResCrossAttnUpBlock2D", "UNetResUpBlock2D"),
        },
        {},
    ),
    "only attends on the way up": (
        {"down_block_types": ("DownBlock2D", "DownBlock2D"), "attention_head_dim": (2, 8)},
        {},
    ),
}
PIXELS = {
    "pixels": ({}, {}),
    "pixels mish": ({"act_fn": "mish"}, {}),
    "pixels relu": ({"act_fn": "relu", "resnet_time_scale_shift": "scale_shift"}, {}),
    "pixels one head": ({"attention_head_dim": None, "layers_per_block": 3}, {}),
    "pixels narrow heads": ({"attention_head_dim": 4, "norm_eps": 1e-3}, {}),
    "pixels padding": ({"downsample_padding": 0, "freq_shift": 1}, {"size": (12, 20)}),
    "pixels time": ({"flip_sin_to_cos": False, "time_embedding_dim": 40}, {"timestep": 0}),
    "pixels no middle": ({"mid_block_type": None}, {}),
    "pixels no attention": ({"add_attention": False}, {}),
    "pixels attention groups": ({"attn_norm_num_groups": 4}, {}),
    "pixels attention groups and shift": (
        {"attn_norm_num_groups": 2, "resnet_time_scale_shift": "scale_shift"},
        {},
    ),
    "pixels centred": ({"center_input_sample": True, "in_channels": 1, "out_channels": 2}, {}),
    "pixels classes": ({"num_class_embeds": 7, "act_fn": "gelu"}, {"class": 6}),
    "pixels class steps": ({"class_embed_type": "timestep", "act_fn": "gelu"}, {"class": 11}),
    "pixels old names": (RES, {}),
    "pixels one level": (
        {
            "down_block_types": ("AttnDownBlock2D",),
            "up_block_types": ("AttnUpBlock2D",),
            "block_out_channels": (16,),
        },
        {"size": (5, 7)},
    ),
}
VAES = {
    "vae": ({}, {}),
    "vae attention": (
        {
            "down_block_types": ("AttnDownEncoderBlock2D", "DownEncoderBlock2D"),
            "up_block_types": ("UpDecoderBlock2D", "AttnUpDecoderBlock2D"),
        },
        {},
    ),
    "vae attention coarse": (
        {
            "down_block_types": ("DownEncoderBlock2D", "AttnDownEncoderBlock2D"),
            "up_block_types": ("AttnUpDecoderBlock2D", "AttnUpDecoderBlock2D"),
            "layers_per_block": 2,
        },
        {},
    ),
    "vae mish": ({"act_fn": "mish", "norm_num_groups": 4}, {}),
    "vae gelu": ({"act_fn": "gelu", "mid_block_add_attention": False}, {}),
    "vae one level": (
        {
            "down_block_types": ("DownEncoderBlock2D",),
            "up_block_types": ("UpDecoderBlock2D",),
            "block_out_channels": (16,),
        },
        {},
    ),
    "vae many": (
        {
            "down_block_types": ("DownEncoderBlock2D",) * 3,
            "up_block_types": ("UpDecoderBlock2D",) * 3,
            "block_out_channels": (8, 24, 16),
            "latent_channels": 16,
            "use_quant_conv": False,
            "layers_per_block": 3,
        },
        {"size": (3, 5)},
    ),
}
TAESD = {
    "taesd": ({}, {}),
    "taesd gelu": ({"act_fn": "gelu", "latent_channels": 7}, {}),
    "taesd deep": (
        {
            "encoder_block_out_channels": (16,) * 4,
            "decoder_block_out_channels": (8,) * 4,
            "num_encoder_blocks": (1, 3, 3, 3),
            "num_decoder_blocks": (3, 3, 3, 1),
        },
        {"size": (3, 2)},
    ),
}
TEXTS = {
    "text": {},
    "text quick_gelu": {"hidden_act": "quick_gelu", "num_attention_heads": 3},
    "text gelu": {"hidden_act": "gelu", "layer_norm_eps": 1e-2},
    "text gelu_new": {"hidden_act": "gelu_new"},
    "text gelu_pytorch_tanh": {"hidden_act": "gelu_pytorch_tanh"},
    "text silu": {"hidden_act": "silu", "intermediate_size": 7},
    "text relu": {"hidden_act": "relu", "max_position_embeddings": 9},
    "text mish": {"hidden_act": "mish", "num_hidden_layers": 1},
}
REFUSED = {
    "UNet2DConditionModel": {
        "encoder_hid_dim_type": {"encoder_hid_dim_type": "text_proj", "encoder_hid_dim": 8},
        "class_embed_type": {
            "class_embed_type": "projection",
            "projection_class_embeddings_input_dim": 8,
        },
        "addition_embed_type": {"addition_embed_type": "text", "addition_embed_type_num_heads": 2},
        "time_embedding_type": {"time_embedding_type": "fourier"},
        "dual_cross_attention": {"dual_cross_attention": True},
        "attention_type": {"attention_type": "gated"},
        "class_embeddings_concat": {"class_embeddings_concat": True, "num_class_embeds": 3},
        "mid_block_scale_factor": {"mid_block_scale_factor": 2.0},
        "mid_block_type": {"mid_block_type": "UNetMidBlock2DSimpleCrossAttn"},
        "conv_in_kernel": {"conv_in_kernel": 5},
        "conv_out_kernel": {"conv_out_kernel": 7},
        "down_block_types": {"down_block_types": ("SimpleCrossAttnDownBlock2D", "DownBlock2D")},
        "up_block_types": {"up_block_types": ("ResnetUpsampleBlock2D", "CrossAttnUpBlock2D")},
        "attention_head_dim": {"attention_head_dim": 5},
        "resnet_skip_time_act": {"resnet_skip_time_act": True},
        "resnet_out_scale_factor": {"resnet_out_scale_factor": 2.0},
    },
    "UNet2DModel": {
        "time_embedding_type": {"time_embedding_type": "fourier"},
        "class_embed_type": {"class_embed_type": "identity"},
        "downsample_type": {"downsample_type": "resnet"},
        "upsample_type": {"upsample_type": "resnet"},
        "mid_block_scale_factor": {"mid_block_scale_factor": 2.0},
        "down_block_types": {"down_block_types": ("SkipDownBlock2D", "AttnSkipDownBlock2D")},
        "up_block_types": {
            "up_block_types": ("AttnSkipUpBlock2D", "SkipUpBlock2D"),
            "block_out_channels": (128, 256),
        },
        "attention_head_dim": {"attention_head_dim": 5},
    },
    "AutoencoderKL": {
        "in_channels": {"in_channels": 4},
        "out_channels": {"out_channels": 1},
    },
    "AutoencoderTiny": {
        "upsampling_scaling_factor": {"upsampling_scaling_factor": 4},
        "upsample_fn": {"upsample_fn": "bilinear"},
    },
}


def unet(more):
    down, up = TEXT
    return UNet2DConditionModel, {
        "down_block_types": down,
        "up_block_types": up,
        "block_out_channels": (16, 32),
        "layers_per_block": 1,
        "cross_attention_dim": 10,
        "attention_head_dim": 2,
        "norm_num_groups": 8,
        **more,
    }


def pixels(more):
    down, up = SELF
    return UNet2DModel, {
        "down_block_types": down,
        "up_block_types": up,
        "block_out_channels": (16, 32),
        "layers_per_block": 1,
        "norm_num_groups": 8,
        **more,
    }


def vae(more):
    return AutoencoderKL, {
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
        "block_out_channels": (8, 16),
        "norm_num_groups": 8,
        **more,
    }


def taesd(more):
    return AutoencoderTiny, {
        "encoder_block_out_channels": (8, 8),
        "decoder_block_out_channels": (12, 12),
        "num_encoder_blocks": (1, 2),
        "num_decoder_blocks": (2, 1),
        **more,
    }


def text(more):
    return CLIPTextConfig, {
        "vocab_size": 50,
        "hidden_size": 12,
        "intermediate_size": 20,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 11,
        **more,
    }


def build(kind, more):
    """The model, and its configuration: what is not plain alone."""
    cls, config = kind(more)
    if cls is CLIPTextConfig:
        return CLIPTextModel(cls(**config)), {"model_type": "clip_text_model", **config}
    return cls(**config), {"_class_name": cls.__name__, **config}


def fill(model):
    """Gives it invented weights; their descriptions."""
    shapes = {k: list(v.shape) for k, v in model.state_dict().items()}
    table = describe(shapes, "F32")
    model.load_state_dict(invent.tensors(table), strict=False)
    model.eval()
    return table


def nested(table):
    """The descriptions by the parts of their names: the shape, then exponent and offset."""
    found = {}
    for name, _, shape, exponent, offset in table:
        *parents, last = name.split(".")
        place = found
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = [*shape, exponent, offset]
    return found


def given(name, *shape):
    """An input and its description: values of deviation 0.6."""
    description = [name, "F32", list(shape), 0, 0]
    return description, invent.tensor(description)


def run_unet(name, model, how):
    config = model.config
    h, w = how.get("size", (8, 10))
    pixel = isinstance(model, UNet2DModel)
    inputs = {"sample": given(f"{name}.sample", 1, config.in_channels, h, w)}
    more = {}
    if "class" in how:
        more["class_labels"] = torch.tensor([how["class"]])
    if not pixel:
        width = config.cross_attention_dim
        width = width if isinstance(width, int) else width[0]
        inputs["context"] = given(f"{name}.context", 1, how.get("tokens", 7), width)
        more["encoder_hidden_states"] = inputs["context"][1]
        if config.addition_embed_type:
            inputs["pooled"] = given(f"{name}.pooled", 1, 10)
            ids = torch.tensor([[64.0, 80, 3, 5, 64, 80]])
            more["added_cond_kwargs"] = {"text_embeds": inputs["pooled"][1], "time_ids": ids}
    t = torch.tensor(how.get("timestep", 500.5))
    out = model(inputs["sample"][1], t, **more).sample
    return inputs, {"out": out}


def run_vae(name, model, how):
    h, w = how.get("size", (5, 7))
    config = model.config
    channels = config.block_out_channels
    factor = 2 ** (len(channels) - 1)
    inputs = {
        "latents": given(f"{name}.latents", 1, config.latent_channels, h, w),
        "picture": given(f"{name}.picture", 1, 3, h * factor, w * factor),
    }
    found = model.encode(inputs["picture"][1])
    if isinstance(model, AutoencoderTiny):
        moments = found.latents
    else:
        moments = found.latent_dist.parameters
    return inputs, {"decoded": model.decode(inputs["latents"][1]).sample, "moments": moments}


def run_text(name, model, how):
    ids = [48, 3, 7, 1, 49] + [49] * (model.config.max_position_embeddings - 5)
    out = model(torch.tensor([ids]))
    how["ids"] = ids
    return {}, {"out": out.last_hidden_state}


def make(into):
    cases, tensors = [], {}
    sweeps = (
        (unet, run_unet, UNETS, "unet"),
        (pixels, run_unet, PIXELS, "unet"),
        (vae, run_vae, VAES, "vae"),
        (taesd, run_vae, TAESD, "vae"),
        (text, run_text, {k: (v, {}) for k, v in TEXTS.items()}, "text"),
    )
    for kind, run, configurations, part in sweeps:
        for name, (more, how) in configurations.items():
            model, config = build(kind, more)
            table = fill(model)
            inputs, outputs = run(name, model, how)
            for role, value in outputs.items():
                print(f"{name} {role} {tuple(value.shape)} {value.std():.3f}")
                tensors[f"{name}.{role}"] = value.contiguous()
            case = {"name": name, "part": part, **how, "config": config}
            case["inputs"] = {role: described for role, (described, _) in inputs.items()}
            cases.append({**case, "tensors": nested(table)})
    for kind, (cls, keys) in zip((unet, pixels, vae, taesd), REFUSED.items(), strict=True):
        for key, more in keys.items():
            _, config = build(kind, more)
            part = "unet" if "UNet" in cls else "vae"
            cases.append({"name": f"{cls} {key}", "part": part, "refused": key, "config": config})
    lines = [json.dumps(case, separators=(",", ":")) for case in cases]
    (into / "sweep.json").write_text("[" + ",\n".join(lines) + "]\n")
    save_file(tensors, into / "sweep.safetensors")
    (into / "sweep.safetensors").chmod(0o644)


if __name__ == "__main__":
    from pathlib import Path

    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    make(Path(__file__).resolve().parents[1] / "golden")
