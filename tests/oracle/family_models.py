"""Tiny models of the families beside SD 1.x, as lists of files whose weights are invented.

Each is a dictionary from file name to {"json": ...}, {"copy": a file of the bundled model} or
{"tensors": [descriptions]} (invent.py). Channels are multiples of 32 and heads 64 wide wherever
a single file leaves that to convention.
"""

import shutil

from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel, UNet2DModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

import family_ldm
import invent
from tiny_model import INDEX, SCHEDULER

EULER = {
    **SCHEDULER,
    "_class_name": "EulerDiscreteScheduler",
    "timestep_spacing": "leading",
    "interpolation_type": "linear",
    "prediction_type": "epsilon",
    "use_karras_sigmas": False,
}
GAINS = {"to_q": 2.0, "q_proj": 1.5, "token_embedding": 3.0, "position": 1.5, ".q.": 2.0}


def gain(name):
    return next((g for part, g in GAINS.items() if part in name), 1.0)


def describe(shapes, dtype, prefix=""):
    def is_norm(name):
        parts = name.lower()
        norm = any(k in parts for k in ("norm", ".ln_", "ln_final", "_layers.0.", "out.0."))
        return norm and name.endswith("weight")

    return [
        invent.describe(prefix + name, shape, dtype, gain(name), is_norm(name))
        for name, shape in sorted(shapes.items())
        if "position_ids" not in name
    ]


def weights(model, dtype):
    return {"tensors": describe({k: list(v.shape) for k, v in model.state_dict().items()}, dtype)}


def config_of(model):
    if hasattr(model, "save_config"):
        return {"_class_name": type(model).__name__, "_diffusers_version": "0.42.1"} | {
            k: v for k, v in model.config.items() if not k.startswith("_")
        }
    keep = {
        k: v
        for k, v in model.config.to_diff_dict().items()
        if k not in ("transformers_version", "dtype")
    }
    return {"architectures": [type(model).__name__], "model_type": "clip_text_model", **keep}


def text(cls, width, layers, heads, act, **more):
    return cls(
        CLIPTextConfig(
            vocab_size=49408,
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            hidden_act=act,
            **{"projection_dim": width, "eos_token_id": 49407, **more},
        )
    )


def unet(**more):
    return UNet2DConditionModel(
        **{
            "sample_size": 8,
            "block_out_channels": (32, 64),
            "layers_per_block": 1,
            "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
            "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
            **more,
        }
    )


def vae(scaling_factor, **more):
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(32, 64),
        layers_per_block=1,
        sample_size=16,
        scaling_factor=scaling_factor,
        **more,
    )


def tokenizer(pad):
    return {
        "vocab.json": {"copy": "tokenizer/vocab.json"},
        "merges.txt": {"copy": "tokenizer/merges.txt"},
        "tokenizer_config.json": {
            "json": {"model_max_length": 77, "tokenizer_class": "CLIPTokenizer"}
        },
        "special_tokens_map.json": {
            "json": {
                "bos_token": "<|startoftext|>",
                "eos_token": "<|endoftext|>",
                "unk_token": "<|endoftext|>",
                "pad_token": pad,
            }
        },
    }


def folder(class_name, scheduler, parts, tokenizers, dtype, **index):
    classes = {name: ["diffusers", type(part).__name__] for name, part in parts.items()}
    classes |= {k: ["transformers", v[1]] for k, v in classes.items() if "text" in k}
    classes |= {name: ["transformers", "CLIPTokenizer"] for name in tokenizers}
    files = {
        "model_index.json": {
            "json": {
                **{k: v for k, v in INDEX.items() if k.startswith("_")},
                "_class_name": class_name,
                "scheduler": ["diffusers", scheduler["_class_name"]],
                **classes,
                **index,
            }
        },
        "scheduler/scheduler_config.json": {"json": scheduler},
    }
    for name, part in parts.items():
        stem = "model" if "text" in name else "diffusion_pytorch_model"
        files[f"{name}/config.json"] = {"json": config_of(part)}
        files[f"{name}/{stem}.safetensors"] = weights(part, dtype)
    for name, pad in tokenizers.items():
        files |= {f"{name}/{k}": v for k, v in tokenizer(pad).items()}
    return files


def sdxl_parts():
    return {
        "text_encoder": text(CLIPTextModel, 8, 3, 1, "quick_gelu"),
        "text_encoder_2": text(
            CLIPTextModelWithProjection, 16, 3, 1, "gelu", projection_dim=16, eos_token_id=2,
        ),
        "unet": unet(
            block_out_channels=(32, 64, 128),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 1, 2),
            attention_head_dim=(1, 1, 2),
            cross_attention_dim=24,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=16 + 6 * 8,
        ),
        "vae": vae(0.13025, force_upcast=True),
    }


def refiner_parts():
    return {
        "text_encoder_2": text(
            CLIPTextModelWithProjection, 16, 3, 1, "gelu", projection_dim=16, eos_token_id=2,
        ),
        "unet": unet(
            block_out_channels=(32, 64, 64),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=2,
            attention_head_dim=(1, 1, 1),
            cross_attention_dim=16,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=16 + 5 * 8,
        ),
        "vae": vae(0.13025, force_upcast=True),
    }


def sd1_parts():
    return {
        "text_encoder": text(CLIPTextModel, 8, 2, 1, "quick_gelu"),
        "unet": unet(cross_attention_dim=8, attention_head_dim=8),
        "vae": vae(0.18215),
    }


def sd2_parts():
    return {
        "text_encoder": text(CLIPTextModel, 8, 2, 1, "gelu"),
        "unet": unet(
            block_out_channels=(64, 128),
            cross_attention_dim=8,
            attention_head_dim=(1, 2),
            use_linear_projection=True,
        ),
        "vae": vae(0.18215),
    }


def changed(parts, change):
    """The parts, of another configuration where `change` says so."""
    found = dict(parts)
    for name in ("unet", "vae"):
        if name in change:
            plain = {k: v for k, v in parts[name].config.items() if not k.startswith("_")}
            found[name] = type(parts[name])(**{**plain, **change[name]})
    if "taesd" in change:
        found["vae"] = AutoencoderTiny(**change["taesd"])
    return found


TOKENIZERS = {
    "sd1": {"tokenizer": "<|endoftext|>"},
    "sd2": {"tokenizer": "!"},
    "sdxl": {"tokenizer": "<|endoftext|>", "tokenizer_2": "!"},
    "refiner": {"tokenizer_2": "!"},
}
V = {**SCHEDULER, "prediction_type": "v_prediction"}


def folder_of(family, parts, dtype, change, **more):
    xl = family in ("sdxl", "refiner")
    scheduler = {"sd1": SCHEDULER, "sd2": V}.get(family, EULER) | change.get("scheduler", {})
    class_name = change.get("class") or {
        "sdxl": "StableDiffusionXLPipeline",
        "refiner": "StableDiffusionXLImg2ImgPipeline",
    }.get(family, "StableDiffusionPipeline")
    if family == "refiner":
        more |= {"text_encoder": [None, None], "tokenizer": [None, None]}
        more |= {"requires_aesthetics_score": True}
    if xl:
        more |= {"force_zeros_for_empty_prompt": family == "sdxl"}
    else:
        more |= {k: v for k, v in INDEX.items() if k in ("safety_checker", "feature_extractor")}
    return folder(class_name, scheduler, parts, TOKENIZERS[family], dtype, **more)


def single_of(family, parts, dtype, **extra):
    """One file as the model was published; the names after `extra` are added, as I64."""
    heads = {
        "sd1": {"text_encoder": "cond_stage_model.transformer."},
        "sd2": {"text_encoder": "cond_stage_model.model."},
        "sdxl": {
            "text_encoder": "conditioner.embedders.0.transformer.",
            "text_encoder_2": "conditioner.embedders.1.model.",
        },
        "refiner": {"text_encoder_2": "conditioner.embedders.0.model."},
    }[family]
    found = describe(family_ldm.unet_shapes(parts["unet"]), dtype, "model.diffusion_model.")
    found += describe(family_ldm.vae_shapes(parts["vae"]), dtype, "first_stage_model.")
    for part, head in heads.items():
        if head.endswith(".model."):
            shapes = family_ldm.openclip_shapes(parts[part], extra_layers=family == "sd2")
        else:
            shapes = family_ldm.clip_shapes(parts[part])
        found += describe(shapes, dtype, head)
    found += [["model_ema.decay", "F32", [], 0, 0], ["betas", "F32", [1000], -3, 0]]
    found += [[name, "I64", [], 0, value] for name, value in extra.items()]
    return {"model.safetensors": {"tensors": sorted(found)}}


DDPM = {
    "_class_name": "DDPMScheduler",
    "_diffusers_version": "0.42.1",
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "beta_start": 0.0001,
    "clip_sample": True,
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "variance_type": "fixed_small",
}
OLD = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def pixel_unet(**more):
    return UNet2DModel(
        **{
            "sample_size": 16,
            "block_out_channels": (32, 64),
            "layers_per_block": 1,
            "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
            "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
            **more,
        }
    )


def pixels_parts(name):
    more = {
        "pixels_root": {
            "attention_head_dim": None,
            "downsample_padding": 0,
            "flip_sin_to_cos": False,
            "freq_shift": 1,
            "norm_eps": 1e-6,
        },
        "pixels_class": {
            "num_class_embeds": 5,
            "attention_head_dim": 16,
            "resnet_time_scale_shift": "scale_shift",
        },
        "pixels_channels": {"in_channels": 5, "out_channels": 1, "sample_size": 28},
    }[name]
    if name == "pixels_channels":
        more |= {"block_out_channels": (32, 32, 64), "add_attention": False}
        more |= {"down_block_types": ("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D")}
        more |= {"up_block_types": ("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D")}
    return {"unet": pixel_unet(**more)}


def pixels_of(name, parts):
    """Folders of DDPMPipeline; in one all files lie in the root, with names of old versions."""
    files = folder("DDPMPipeline", DDPM, parts, {}, "F32")
    weights = files["unet/diffusion_pytorch_model.safetensors"]
    if name == "pixels_root":
        for tensor in weights["tensors"]:
            for new, old in OLD.items():
                tensor[0] = tensor[0].replace(f".{new}.", f".{old}.")
        files = {key.split("/")[-1]: value for key, value in files.items()}
    if name == "pixels_channels":
        table = [["class_emb.weight", "F32", [10, 4], 0, 0]]
        files["class_emb.safetensors"] = {"tensors": table}
        files["class_emb.json"] = {"json": {"num_classes": 10, "class_emb_size": 4}}
    return files


def lay_out(files, bundled, into):
    """The files themselves, for the reference to read."""
    shutil.rmtree(into, ignore_errors=True)
    for name, what in files.items():
        path = into / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if "json" in what:
            invent.write_json(path, what["json"])
        elif "copy" in what:
            shutil.copyfile(bundled / what["copy"], path)
        else:
            save_file(invent.tensors(what["tensors"]), path, metadata={"format": "pt"})
