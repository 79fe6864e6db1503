"""LoRA files of random weights for the model tiny, and what diffusers renders with them.

The three spellings hold different layers. What diffusers 0.42.1 does not take is added to the
weights by torch before the run: LoCon's convolutions with cores, and the text encoder's layers
by the names they had before transformers 5.6; LoHa and LoKr as LyCORIS' own modules say.
"""

import hashlib
import json

import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline
from lycoris.modules.loha import LohaModule
from lycoris.modules.lokr import LokrModule
from safetensors.torch import load_file, save_file

from run_cases import lend_text_model
from tiny_model import write_json

PROMPT, NEGATIVE, SEED, STEPS, CFG = "a red apple", "blue", 42, 4, 5.0


def random(name, *shape):
    key = hashlib.sha256(f"lora {name}".encode()).digest()[:4]
    generator = torch.Generator().manual_seed(int.from_bytes(key, "little"))
    return torch.randn(shape, generator=generator) / shape[-1] ** 0.5


def layers(module, *parts):
    for name, layer in module.named_modules():
        kinds = (torch.nn.Linear, torch.nn.Conv2d)
        if any(part in name for part in parts) and isinstance(layer, kinds):
            yield name, layer.weight.shape


def factors(name, shape, rank):
    """down and up: matrices, or convolutions where the layer is one."""
    down, up = (rank, *shape[1:]), (shape[0], rank, *(1 for _ in shape[2:]))
    return random(f"{name} down", *down), random(f"{name} up", *up)


def kohya(pipe):
    tensors = {}
    for part, module, wanted in (
        ("unet", pipe.unet, ("attn1", "attn2", "ff.net", "proj_in")),
        ("te", pipe.text_encoder, ("self_attn", "mlp")),
    ):
        for name, shape in layers(module, *wanted):
            if part == "te" and not name.startswith("text_model."):
                name = f"text_model.{name}"
            key = f"lora_{part}_" + name.replace(".", "_")
            down, up = factors(key, shape, 4)
            tensors[f"{key}.lora_down.weight"], tensors[f"{key}.lora_up.weight"] = down, up
            tensors[f"{key}.alpha"] = torch.tensor(2.0)
    return tensors


def peft(pipe):
    tensors = {}
    for part, module, wanted in (
        ("unet", pipe.unet, ("to_q", "to_v", "to_out.0")),
        ("text_encoder", pipe.text_encoder, ("q_proj", "out_proj")),
    ):
        for name, shape in layers(module, *wanted):
            down, up = factors(f"peft {name}", shape, 3)
            tensors[f"{part}.{name}.lora_A.weight"] = down
            tensors[f"{part}.{name}.lora_B.weight"] = up
    return tensors


def old(pipe):
    tensors = {}
    for name, shape in layers(pipe.unet, "to_k", "to_out.0"):
        down, up = factors(f"old {name}", shape, 2)
        tensors[f"unet.{name}.lora.down.weight"] = down
        tensors[f"unet.{name}.lora.up.weight"] = up
    for name, shape in layers(pipe.text_encoder, "v_proj"):
        name = name if name.startswith("text_model.") else f"text_model.{name}"
        down, up = factors(f"old {name}", shape, 2)
        tensors[f"text_encoder.{name}.lora_linear_layer.down.weight"] = down
        tensors[f"text_encoder.{name}.lora_linear_layer.up.weight"] = up
    return tensors


def locon(pipe):
    """Every kind of convolution; conv2 with a core."""
    tensors = {}
    wanted = ("conv", "downsamplers", "upsamplers", "time_emb", "proj_out")
    for name, shape in layers(pipe.unet, *wanted):
        key = "lora_unet_" + name.replace(".", "_")
        if name.endswith("conv2"):
            tensors[f"{key}.lora_mid.weight"] = random(f"{key} mid", 2, 2, *shape[2:]) / 3
            down, up = factors(key, (*shape[:2], 1, 1), 2)
        else:
            down, up = factors(key, shape, 2)
        tensors[f"{key}.lora_down.weight"], tensors[f"{key}.lora_up.weight"] = down, up
        tensors[f"{key}.alpha"] = torch.tensor(1.5)
    return tensors


def lycoris(pipe, cls, kind, **more):
    """LyCORIS' modules for linear layers and convolutions of the UNet, with random factors."""
    wanted = ("attn1.to_q", "ff.net.2", "conv1", "downsamplers", "proj_in")
    modules = {}
    for name, layer in pipe.unet.named_modules():
        near = name.startswith(("down_blocks.1", "mid_block"))
        found = near and any(part in name for part in wanted)
        if (found or name == "conv_in") and hasattr(layer, "weight"):
            if isinstance(layer, (torch.nn.Linear, torch.nn.Conv2d)):
                key = "lora_unet_" + name.replace(".", "_")
                modules[name] = cls(key, layer, 1.0, 2, 1.5, **more)
    tensors = {}
    for name, module in modules.items():
        tensors[f"{module.lora_name}.alpha"] = torch.tensor(1.5)
        for tensor, value in module.named_parameters():
            key = f"{module.lora_name}.{tensor}"
            value.copy_(random(f"{kind} {key}", *value.shape).half().float())
            tensors[key] = value.clone()
    return tensors, modules


def loha(pipe):
    return lycoris(pipe, LohaModule, "loha", use_tucker=True)[0]


def lokr(pipe):
    return lycoris(pipe, LokrModule, "lokr", use_tucker=True, factor=3, decompose_both=True)[0]


def lokr_whole(pipe):
    return lycoris(pipe, LokrModule, "lokr whole", factor=2)[0]


def loha_flat(pipe):
    return lycoris(pipe, LohaModule, "loha flat")[0]


LYCORIS = {
    "loha": (LohaModule, {"use_tucker": True}),
    "loha_flat": (LohaModule, {}),
    "lokr": (LokrModule, {"use_tucker": True, "factor": 3, "decompose_both": True}),
    "lokr_whole": (LokrModule, {"factor": 2}),
}


def add_lycoris(pipe, name, weight):
    cls, more = LYCORIS[name]
    _, modules = lycoris(pipe, cls, name.replace("_", " "), **more)
    for layer, module in modules.items():
        diff = module.get_weight(module.shape)
        target = pipe.unet.get_submodule(layer).weight
        target.data += weight * diff.reshape(target.shape)


def dora(pipe):
    tensors = {}
    for name, shape in layers(pipe.unet, "to_q", "to_out.0", "conv2"):
        down, up = factors(f"dora {name}", shape, 2)
        norm = pipe.unet.get_submodule(name).weight.flatten(1).norm(dim=1)
        magnitude = norm * (1 + 0.2 * random(f"dora {name} m", shape[0]))
        tensors[f"unet.{name}.lora_A.weight"] = down
        tensors[f"unet.{name}.lora_B.weight"] = up
        if len(shape) == 4:
            magnitude = magnitude.view(1, -1, 1, 1)
        tensors[f"unet.{name}.lora_magnitude_vector"] = magnitude
    return tensors


def patterns(pipe):
    tensors = {}
    for name, shape in layers(pipe.unet, "to_k", "to_v"):
        rank = 4 if name.endswith("attn1.to_k") else 2
        down, up = factors(f"patterns {name}", shape, rank)
        tensors[f"unet.{name}.lora_A.weight"] = down
        tensors[f"unet.{name}.lora_B.weight"] = up
    return tensors


def biased(pipe):
    """PEFT's lora_bias, on layers with and without a bias of their own."""
    tensors = {}
    for name, shape in layers(pipe.unet, "attn1.to_q", "attn2.to_out.0", "conv1"):
        down, up = factors(f"biased {name}", shape, 2)
        tensors[f"unet.{name}.lora_A.weight"] = down
        tensors[f"unet.{name}.lora_B.weight"] = up
        tensors[f"unet.{name}.lora_B.bias"] = random(f"biased {name} b", 1, shape[0])[0] * 3
    return tensors


METADATA = {
    "biased": {
        "unet.r": 2,
        "unet.lora_alpha": 3,
        "unet.lora_bias": True,
        "unet.target_modules": ["attn1.to_q", "attn2.to_out.0", "conv1"],
    },
    "patterns": {
        "unet.r": 2,
        "unet.lora_alpha": 3,
        "unet.use_rslora": True,
        "unet.alpha_pattern": {
            "attn2.to_v": 5,
            "mid_block.attentions.0.transformer_blocks.0.attn1.to_k": 1,
            r"^up_blocks\.[0-2]\..*attn1\.to_(k|q)": 6,
            r"transformer_blocks\.\d+\.attn1\.to_k": 2,
            "to_k": 4,
        },
        "unet.rank_pattern": {"attn1.to_k": 4},
        "unet.target_modules": ["to_k", "to_v"],
    },
}


def difference(up, down, alpha, mid):
    scale = 1 if alpha is None else (alpha / down.shape[0]).item()
    if mid is not None:
        return scale * torch.einsum("oa,abxy,bi->oixy", up[:, :, 0, 0], mid, down[:, :, 0, 0])
    columns = down.reshape(down.shape[0], -1)
    return scale * (up.reshape(up.shape[0], -1) @ columns).reshape(up.shape[0], *down.shape[1:])


def add(pipe, tensors, weight):
    """Adds the layers whose names torch knows, and returns the tensors of the others."""
    names = {"lora_unet_" + n.replace(".", "_"): m for n, m in pipe.unet.named_modules()}
    for name, module in pipe.text_encoder.named_modules():
        name = name.removeprefix("text_model.")
        names["lora_te_text_model_" + name.replace(".", "_")] = module
        names["text_encoder.text_model." + name] = module
    rest = dict(tensors)
    for end in (".lora_down.weight", ".lora_linear_layer.down.weight"):
        for key in [key for key in tensors if key.endswith(end)]:
            layer = key.removesuffix(end)
            others = (end.replace("down", "up"), end, ".alpha", ".lora_mid.weight")
            up, down, alpha, mid = (rest.pop(layer + other, None) for other in others)
            names[layer].weight.data += weight * difference(up, down, alpha, mid)
    return rest


def is_ours(key, name):
    """What is added by torch."""
    return name == "locon" or key.startswith(("lora_te_", "text_encoder.text_model."))


def run(pipe):
    return pipe(
        PROMPT,
        negative_prompt=NEGATIVE,
        num_inference_steps=STEPS,
        guidance_scale=CFG,
        width=64,
        height=64,
        generator=torch.Generator().manual_seed(SEED),
        output_type="latent",
    ).images


def load(into):
    pipe = StableDiffusionPipeline.from_pretrained(into / "tiny", dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    if not hasattr(pipe.text_encoder, "text_model"):
        lend_text_model(pipe.text_encoder)
    return pipe


CASES = [
    [("kohya", 1.0)],
    [("peft", 0.8)],
    [("old", -0.5)],
    [("locon", 0.7)],
    [("kohya", 0.6), ("peft", 0.5), ("locon", 0.3)],
    [("loha", 0.7)],
    [("loha_flat", -0.4)],
    [("lokr", 0.8)],
    [("lokr_whole", 0.5), ("loha", 0.3)],
    [("dora", 1.0)],
    [("dora", 0.6), ("peft", 0.5)],
    [("patterns", 0.9)],
    [("biased", 0.8)],
]


def make(into):
    folder = into / "lora"
    folder.mkdir(exist_ok=True)
    pipe = load(into)
    makers = (kohya, peft, old, locon, loha, loha_flat, lokr, lokr_whole, dora, patterns, biased)
    for maker in makers:
        name = maker.__name__
        half = {key: value.half().contiguous() for key, value in maker(pipe).items()}
        said = {"lora_adapter_metadata": json.dumps(METADATA[name])} if name in METADATA else None
        save_file(half, folder / f"{name}.safetensors", metadata=said)
        (folder / f"{name}.safetensors").chmod(0o644)
    runs = {}
    for i, uses in enumerate(CASES):
        pipe = load(into)
        named = []
        for name, weight in uses:
            if name in LYCORIS:
                add_lycoris(pipe, name, weight)
                continue
            if name in METADATA:
                pipe.load_lora_weights(folder / f"{name}.safetensors", adapter_name=name)
                named.append((name, weight))
                continue
            whole = {k: v.float() for k, v in load_file(folder / f"{name}.safetensors").items()}
            added = {k: v for k, v in whole.items() if is_ours(k, name)}
            assert not add(pipe, added, weight)
            rest = {k: v for k, v in whole.items() if k not in added}
            if rest:
                pipe.load_lora_weights(rest, adapter_name=name)
                named.append((name, weight))
        if named:
            pipe.set_adapters([name for name, _ in named], [weight for _, weight in named])
        runs[f"{i}.latents"] = run(pipe)
    runs["none.latents"] = run(load(into))
    save_file(runs, folder / "runs.safetensors")
    (folder / "runs.safetensors").chmod(0o644)
    write_json(folder / "runs.json", CASES)
    for name, value in runs.items():
        print(name, value.std().item(), (value - runs["none.latents"]).norm().item())


if __name__ == "__main__":
    from pathlib import Path

    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    make(Path(__file__).resolve().parents[1] / "golden")
