"""Whole runs of ComfyUI's masks on the models tiny and inpaint, by its own source: the sampler,
KSamplerX0Inpaint around it, the mask at the size of latents, and what InpaintModelConditioning
and BaseModel give a model of nine channels. Around diffusers' UNet and VAE, whose mean stands
for a picture's latents.

    checkout_runs.py COMFYUI

By hand, as checkout_cases.py; make.py leaves mask_runs.* alone.
"""

import json
import sys
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file

import k_comfy
import k_webui
from checkout_cases import FOUND, Comfy, Every, space
from convention_cases import PARTS, USUAL, Texts
from picture_cases import mask, picture
from prompt_cases import load

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
INPAINT = {**USUAL, "steps": 6, "strength": 1.0}
REQUESTS = [
    *({"sampler": sampler} for sampler in (
        "euler", "ddim", "heun", "lms", "euler_ancestral", "dpmpp_2m", "dpmpp_2m_sde",
        "uni_pc", "uni_pc_bh2", "seeds_3", "sa_solver", "sa_solver_pece", "euler_cfg_pp",
        "dpmpp_2s_ancestral_cfg_pp")),
    {"sampler": "euler", "strength": 0.5},
    {"sampler": "dpmpp_sde", "strength": 0.4},
    {"sampler": "uni_pc", "strength": 0.6},
    {"sampler": "dpmpp_2m", "cfg": 1.0, "schedule": "karras"},
    {"sampler": "euler_ancestral", "prediction": "v"},
    {"sampler": "uni_pc", "prediction": "v"},
    {"sampler": "res_multistep_cfg_pp", "prediction": "v", "cfg": 1.5},
    {"model": "inpaint", "sampler": "euler"},
    {"model": "inpaint", "sampler": "dpmpp_2m_sde", "strength": 0.5},
]


class Model:
    """What ComfyUI's CFGGuider is to a sampler: guided, and called as one."""

    def __init__(self, unet, levels, contexts, cfg, extra):
        self.unet, self.levels, self.contexts, self.cfg = unet, levels, contexts, cfg
        self.extra = extra
        self.model_patcher = space(get_model_object=lambda _: levels)

        def scaled(sigma, noise, latent_image, **_):
            return levels.noise_scaling(sigma.reshape(-1, 1, 1, 1), noise, latent_image)

        self.inner_model = space(model_sampling=levels, scale_latent_inpaint=scaled)

    def denoised(self, x, sigma, context):
        seen, t = self.levels.calculate_input(sigma, x), self.levels.timestep(sigma).float()
        if self.extra is not None:
            seen = torch.cat([seen, self.extra], dim=1)
        return self.levels.calculate_denoised(sigma, self.unet(seen, t, context).sample, x)

    def __call__(self, x, sigma, model_options={}, seed=None):
        plain, text = (self.denoised(x, sigma, context) for context in self.contexts)
        made = plain + self.cfg * (text - plain)
        for function in model_options.get("sampler_post_cfg_function", ()):
            made = function({"denoised": made, "uncond_denoised": plain})
        return made


class Vae:
    def __init__(self, vae):
        self.vae = vae

    def encode(self, pixels):
        """0..1, [1, h, w, 3]."""
        return self.vae.encode(pixels.permute(0, 3, 1, 2) * 2 - 1).latent_dist.mode()


class Program:
    """ComfyUI, as far as masks go, and tiny's parts."""

    def __init__(self, folder):
        self.comfy = Comfy(folder)
        utils = load(f"{folder}/comfy/utils.py", Every(), **FOUND)
        self.reshape_mask = utils["reshape_mask"]
        found = {**FOUND, "utils": space(**utils)}
        self.concat_cond = load(
            f"{folder}/comfy/model_base.py", {"BaseModel"}, **found)["BaseModel"].concat_cond
        self.ksampler = load(
            f"{folder}/comfy/samplers.py", {"KSamplerX0Inpaint", "Sampler", "KSAMPLER"},
            **FOUND)["KSAMPLER"]
        helpers = space(conditioning_set_values=lambda _, values: values)
        self.conditioning = load(
            f"{folder}/nodes.py", {"InpaintModelConditioning"}, **FOUND, node_helpers=helpers,
        )["InpaintModelConditioning"]()
        self.texts = Texts(GOLDEN / "tiny")
        vae = AutoencoderKL.from_pretrained(GOLDEN / "tiny/vae", dtype=torch.float32)
        self.vae, self.scale = Vae(vae), vae.config.scaling_factor
        self.unets = {name: UNet2DConditionModel.from_pretrained(
            GOLDEN / name / "unet", dtype=torch.float32) for name in ("tiny", "inpaint")}
        config = json.loads((GOLDEN / "tiny/scheduler/scheduler_config.json").read_text())
        self.alphas = k_webui.Inner(config).alphas_cumprod

    def run(self, request):
        pixels = torch.from_numpy(picture(64, 64)).float()[None] / 255
        covered = torch.from_numpy(mask(64, 64)).float()[None, ..., 0] / 255
        cond, _, latent = self.conditioning.encode([], [], pixels, self.vae, covered)
        known = latent["samples"] * self.scale
        noise = torch.randn(
            known.shape, generator=torch.Generator().manual_seed(request["seed"]))
        extra = None
        if request["model"] == "inpaint":
            keys = space(concat_keys=("mask", "masked_image"),
                         process_latent_in=lambda latents: latents * self.scale)
            extra = self.concat_cond(keys, noise=noise, device="cpu", **cond)
        levels = self.comfy.levels(
            ((1 - self.alphas) / self.alphas) ** 0.5, request.get("prediction") == "v")
        contexts = [self.texts.comfy(parts) for parts in (((request["negative"], 1.0),), PARTS)]
        model = Model(self.unets[request["model"]], levels, contexts, request["cfg"], extra)
        sampler = self.ksampler(*self.sampler(request["sampler"]))
        return sampler.sample(
            model, self.sigmas(request, levels), {"seed": request["seed"]}, None, noise, known,
            self.reshape_mask(latent["noise_mask"], noise.shape), True)

    def sampler(self, name):
        if name == "ddim":
            return self.comfy.samplers["sample_euler"], {}, {"random": True}
        return self.comfy.samplers[f"sample_{name}"], {}, {}

    def sigmas(self, request, levels):
        """k_comfy's schedules and steps from a picture, which samplers_k.json holds."""
        steps, strength = request["steps"], request["strength"]
        whole = steps if strength > 0.9999 else int(steps / strength)
        discards = request["sampler"].startswith("uni_pc")
        schedule = "normal" if request["schedule"] == "Automatic" else request["schedule"]
        sigmas = k_comfy.comfy_sigmas(levels, schedule, whole + discards)
        if discards:
            sigmas = torch.cat([sigmas[:-2], sigmas[-1:]])
        return sigmas[-(steps + 1):]


def main():
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    program, cases = Program(sys.argv[1]), []
    tensors = {"picture": torch.from_numpy(picture(64, 64)).half(),
               "mask": torch.from_numpy(mask(64, 64)).half()}
    for i, request in enumerate(REQUESTS):
        request = {"model": "tiny", **INPAINT, **request}
        tensors[f"{i}.latents"] = program.run(request).float().contiguous()
        cases.append({"kind": "comfy run", "mode": "inpaint", "file": "mask_runs.safetensors",
                      **request, "inputs": {"picture": "picture", "mask": "mask"},
                      "outputs": {"latents": f"{i}.latents"}})
    save_file(tensors, GOLDEN / "mask_runs.safetensors")
    (GOLDEN / "mask_runs.safetensors").chmod(0o644)
    (GOLDEN / "mask_runs.json").write_text(json.dumps(cases, indent=1) + "\n")


if __name__ == "__main__":
    main()
