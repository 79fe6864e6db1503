"""Whole runs as stable-diffusion-webui and ComfyUI make them, on the model tiny: their prompts'
weights, first noise, schedules, steps from a picture and fresh noise, with k-diffusion's samplers
around diffusers' UNet and VAE.

A picture's latents are the mean of what the VAE says: both programs draw there from a generator
that no seed reaches.
"""

import json

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPTextModel, CLIPTokenizer

import k_cases
import k_webui
from picture_cases import picture

SEED, SIZE = 42, (1, 4, 8, 8)
# A prompt as parts of text with their weights, and how users write it
PARTS = (("a ", 1.0), ("red", 1.3), (" apple, noto style", 1.0))
USUAL = {
    "prompt": "a (red:1.3) apple, noto style",
    "negative": "blue",
    "seed": SEED,
    "steps": 8,
    "cfg": 7.0,
    "width": 64,
    "height": 64,
    "schedule": "Automatic",
}
REQUESTS = [
    {"sampler": "Euler"},
    {"sampler": "DPM++ 2M", "steps": 20},
    {"sampler": "DPM++ 2M", "schedule": "Align Your Steps", "cfg": 0.5},
    {"sampler": "Euler a"},
    {"sampler": "DPM++ SDE"},
    {"sampler": "DPM++ 2M SDE"},
    {"sampler": "DPM adaptive"},
    {"sampler": "Restart", "steps": 20},
    {"sampler": "LCM", "cfg": 1.5},
    {"sampler": "UniPC"},
    {"sampler": "DDIM"},
    {"sampler": "DDIM CFG++"},
    {"sampler": "DPM++ 2M", "strength": 0.6},
    {"sampler": "Euler a", "strength": 0.6},
    {"sampler": "DPM++ 2M SDE", "strength": 0.6},
    {"sampler": "UniPC", "strength": 0.6},
    {"sampler": "euler"},
    {"sampler": "dpmpp_2m", "schedule": "karras", "steps": 20},
    {"sampler": "dpmpp_2m", "schedule": "beta", "cfg": 0.5},
    {"sampler": "euler_ancestral"},
    {"sampler": "dpmpp_sde"},
    {"sampler": "dpmpp_2m_sde"},
    {"sampler": "uni_pc"},
    {"sampler": "euler_cfg_pp", "cfg": 1.5},
    {"sampler": "seeds_3"},
    {"sampler": "dpmpp_2m", "strength": 0.6},
    {"sampler": "euler_ancestral", "strength": 0.6},
    {"sampler": "dpmpp_2m_sde", "strength": 0.6},
    {"sampler": "uni_pc_bh2", "strength": 0.6},
]


class Texts:
    """The encoder with emphasis as both programs have it, for prompts of one chunk."""

    def __init__(self, folder):
        self.tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        self.model = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32)

    def read(self, parts):
        ids, weights = [self.tokenizer.bos_token_id], [1.0]
        for text, weight in parts:
            more = self.tokenizer(text, add_special_tokens=False)["input_ids"]
            ids, weights = ids + more, weights + [weight] * len(more)
        rest = 77 - len(ids)
        ids += [self.tokenizer.eos_token_id] * rest
        z = self.model(input_ids=torch.tensor([ids])).last_hidden_state
        return z, torch.tensor(weights + [1.0] * rest)[None, :, None]

    def webui(self, parts):
        z, weights = self.read(parts)
        weighted = z * weights
        return weighted * (z.mean() / weighted.mean())

    def comfy(self, parts):
        z, weights = self.read(parts)
        empty, _ = self.read(())
        return empty + weights * (z - empty)


class Inner(k_webui.Inner):
    """In the place of the formula: the UNet, guided."""

    def __init__(self, config, unet, contexts, cfg):
        super().__init__(config)
        self.unet, self.contexts, self.cfg = unet, contexts, cfg

    def apply_model(self, x, t, cond=None):
        t = torch.as_tensor(float(t))
        self.plain, text = (self.unet(x.float(), t, z).sample for z in self.contexts)
        return self.plain + self.cfg * (text - self.plain)


def make(into):
    tiny = into / "tiny"
    texts = Texts(tiny)
    unet = UNet2DConditionModel.from_pretrained(tiny / "unet", dtype=torch.float32)
    vae = AutoencoderKL.from_pretrained(tiny / "vae", dtype=torch.float32)
    config = json.loads((tiny / "scheduler/scheduler_config.json").read_text())
    pixels = torch.from_numpy(picture(64, 64)).permute(2, 0, 1)[None] / 127.5 - 1
    known = vae.encode(pixels).latent_dist.mode() * vae.config.scaling_factor
    cases, tensors = [], {"picture": torch.from_numpy(picture(64, 64)).half()}
    for i, request in enumerate(REQUESTS):
        request = {**USUAL, **request}
        name, strength = request["sampler"], request.get("strength")
        is_comfy = name.islower()
        weigh = texts.comfy if is_comfy else texts.webui
        contexts = weigh(((request["negative"], 1.0),)), weigh(PARTS)
        world = k_webui.World(
            SIZE, SEED, lambda: known, lambda config, cfg: Inner(config, unet, contexts, cfg))
        _, _, found = k_cases.run_any(
            config, name, request["schedule"], request["steps"], strength, False,
            request["cfg"], 0, world)
        tensors[f"{i}.latents"] = found.float().contiguous()
        outputs = {"latents": f"{i}.latents"}
        file = {"file": "convention_runs.safetensors"}
        cases.append({**file, **request, "outputs": outputs})
        if strength:
            cases[-1]["inputs"] = {"picture": "picture"}
    save_file(tensors, into / "convention_runs.safetensors")
    (into / "convention_runs.safetensors").chmod(0o644)
    (into / "convention_runs.json").write_text(json.dumps(cases, indent=1) + "\n")
