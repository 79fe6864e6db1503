"""LoRAs on every part of SDXL and a textual inversion of its two encoders, on the model sdxl."""

import tempfile
from pathlib import Path

import diffusers
import torch
from diffusers import StableDiffusionXLPipeline
from safetensors.torch import load_file, save_file

import family_models
from invent import write_json
from family_cases import USUAL
from lora_cases import difference, factors, layers, random



SINGLE = "lora_unet_input_blocks_3_1_transformer_blocks_0_attn1_to_q"
DIFFUSERS = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"


def peft(pipe):
    tensors = {}
    for part, wanted in (
        ("unet", ("conv_in", "time_embedding", "add_embedding.linear_2", "to_k", "conv_out")),
        ("text_encoder", ("q_proj", "mlp.fc1")),
        ("text_encoder_2", ("v_proj", "mlp.fc2")),
    ):
        for name, shape in layers(getattr(pipe, part), *wanted):
            down, up = factors(f"xl {part} {name}", shape, 2)
            tensors[f"{part}.{name}.lora_A.weight"] = down
            tensors[f"{part}.{name}.lora_B.weight"] = up
    return tensors


def kohya(pipe):
    """Both encoders, and a layer of the UNet by the name single files have for it."""
    named = {}
    for te, part in (("te1", "text_encoder"), ("te2", "text_encoder_2")):
        for name, shape in layers(getattr(pipe, part), "self_attn", "mlp"):
            name = name.removeprefix("text_model.").replace(".", "_")
            named[f"lora_{te}_text_model_{name}"] = shape
    named[SINGLE] = pipe.unet.get_submodule(DIFFUSERS).weight.shape
    tensors = {}
    for key, shape in named.items():
        down, up = factors(f"xl {key}", shape, 2)
        tensors[f"{key}.lora_down.weight"], tensors[f"{key}.lora_up.weight"] = down, up
        tensors[f"{key}.alpha"] = torch.tensor(1.0)
    return tensors


def add_kohya(pipe, tensors, weight):
    layer = {}
    for te, part in (("te1", "text_encoder"), ("te2", "text_encoder_2")):
        for name, module in getattr(pipe, part).named_modules():
            name = name.removeprefix("text_model.").replace(".", "_")
            layer[f"lora_{te}_text_model_{name}"] = module
    layer[SINGLE] = pipe.unet.get_submodule(DIFFUSERS)
    for key in [key for key in tensors if key.endswith(".lora_down.weight")]:
        name = key.removesuffix(".lora_down.weight")
        up, alpha = tensors[f"{name}.lora_up.weight"], tensors[f"{name}.alpha"]
        layer[name].weight.data += weight * difference(up, tensors[key], alpha, None)


RUNS = [
    {"prompt": "a mycat on a red apple", "loras": []},
    {"prompt": "a red apple", "loras": [["sdxl_peft", 0.7]]},
    {"prompt": "a red apple", "loras": [["sdxl_kohya", 0.6]]},
    {
        "prompt": "mycat, mycat style",
        "negative": "mycat",
        "loras": [["sdxl_kohya", 0.5], ["sdxl_peft", -0.3]],
    },
]


def make(into, bundled):
    folder = into / "families"
    parts = family_models.sdxl_parts()
    files = family_models.folder_of("sdxl", parts, "F16", {})
    cases, tensors = [], {}
    with tempfile.TemporaryDirectory() as place:
        family_models.lay_out(files, bundled, Path(place) / "model")

        def load():
            pipe = StableDiffusionXLPipeline.from_pretrained(
                Path(place) / "model", torch_dtype=torch.float32
            )
            pipe.set_progress_bar_config(disable=True)
            return pipe

        pipe = load()
        made = {"sdxl_peft": peft(pipe), "sdxl_kohya": kohya(pipe)}
        made["mycat"] = {
            "clip_l": random("mycat l", 3, 8) * 3,
            "clip_g": random("mycat g", 3, 16) * 4,
        }
        for name, found in made.items():
            half = {key: value.half().contiguous() for key, value in found.items()}
            save_file(half, folder / f"{name}.safetensors")
            (folder / f"{name}.safetensors").chmod(0o644)
        for i, more in enumerate(RUNS):
            request = {**USUAL, **more}
            pipe = load()
            words = {k: v.float() for k, v in load_file(folder / "mycat.safetensors").items()}
            for key, encoder, tokenizer in (
                ("clip_l", pipe.text_encoder, pipe.tokenizer),
                ("clip_g", pipe.text_encoder_2, pipe.tokenizer_2),
            ):
                pipe.load_textual_inversion(
                    words[key], token="mycat", text_encoder=encoder, tokenizer=tokenizer
                )
            named = []
            for name, weight in request["loras"]:
                whole = {k: v.float() for k, v in load_file(folder / f"{name}.safetensors").items()}
                if name == "sdxl_kohya":
                    add_kohya(pipe, whole, weight)
                else:
                    pipe.load_lora_weights(whole, adapter_name=name)
                    named.append((name, weight))
            if named:
                pipe.set_adapters([n for n, _ in named], [w for _, w in named])
            scheduler = getattr(diffusers, request["sampler"])
            pipe.scheduler = scheduler.from_config(pipe.scheduler.config)
            latents = pipe(
                request["prompt"],
                negative_prompt=request["negative"],
                num_inference_steps=request["steps"],
                guidance_scale=request["cfg"],
                width=request["width"],
                height=request["height"],
                generator=torch.Generator().manual_seed(request["seed"]),
                output_type="latent",
            ).images
            tensors[f"{i}.latents"] = latents.contiguous().clone()
            print(f"sdxl_adapters {i} {latents.std():.3f}")
            cases.append(request)
    save_file(tensors, folder / "sdxl_adapters.safetensors")
    (folder / "sdxl_adapters.safetensors").chmod(0o644)
    write_json(folder / "sdxl_adapters.json", {"runs": cases})
