"""The samplers that stable-diffusion-webui and ComfyUI have of their own, by their own source.

    checkout_cases.py WEBUI COMFYUI

Neither is a package of PyPI, so this is run by hand beside checkouts of them and make.py leaves
samplers_own.json alone. It also tells how far webui_samplers.py and comfy_samplers.py, which
stand in for them where whole runs are made, are from them: it fails above 1e-4.
"""

import functools
import inspect
import json
import math
import sys
import types
import typing
from pathlib import Path

import numpy as np
import torch
import torchsde

import k_cases
import k_comfy
import k_webui
import webui_samplers
from prompt_cases import load

INTO = Path(__file__).resolve().parents[1] / "golden"
FOUND = {"torch": torch, "math": math, "np": np, "partial": functools.partial,
         "Callable": typing.Callable, "Union": typing.Union, "torchsde": torchsde,
         "print": lambda *_: None}
FAR = 1e-4


class Every:
    """The names of all that a file defines itself."""

    def __contains__(self, name):
        return name is not None


def space(**names):
    return types.SimpleNamespace(**names)


def silent(*arguments, disable=None):
    return range(*arguments)


class Comfy:
    """ComfyUI's samplers by name."""

    def __init__(self, folder):
        def called_after(options, function, **_):
            return {**options, "sampler_post_cfg_function": [function]}

        patcher = space(set_model_options_post_cfg_function=called_after)
        program = space(model_patcher=patcher, model_sampling=space(CONST=type(None)))
        found = {**FOUND, "comfy": program, "trange": silent,
                 "integrate": k_webui.sampling.integrate, "utils": k_webui.sampling.utils}
        for name in ("deis", "sa_solver"):
            file = f"{folder}/comfy/k_diffusion/{name}.py"
            found[name] = space(**load(file, Every(), **FOUND))
        self.samplers = load(f"{folder}/comfy/k_diffusion/sampling.py", Every(), **found)
        unipc = load(f"{folder}/comfy/extra_samplers/uni_pc.py", Every(), **found)
        self.samplers["sample_uni_pc"] = unipc["sample_unipc"]
        self.samplers["sample_uni_pc_bh2"] = unipc["sample_unipc_bh2"]
        levels = load(f"{folder}/comfy/model_sampling.py", Every(), **FOUND)

        def make_levels(sigmas, is_v=False):
            kinds = levels["ModelSamplingDiscrete"], levels["V_PREDICTION" if is_v else "EPS"]
            made = type("Levels", kinds, {"__init__": torch.nn.Module.__init__})()
            made.set_sigmas(sigmas)
            made.sigma_data = 1.0
            return made

        self.levels = make_levels

    def run(self, denoiser, name, x, sigmas, noise):
        """In the place of k_comfy.run_comfy_own; float64, but for the schedule."""
        function = self.samplers[f"sample_{name}"]
        draws = "noise_sampler" in inspect.signature(function).parameters
        options = {"noise_sampler": noise} if draws else {}
        model = ComfyModel(denoiser, self.levels(denoiser.sigmas))
        torch.set_default_dtype(torch.float64)
        try:
            return function(
                model, x, sigmas.double(), extra_args={}, disable=True, **options)
        finally:
            torch.set_default_dtype(torch.float32)


class ComfyModel:
    """A k_comfy.ComfyDenoiser as ComfyUI's samplers see a model."""

    def __init__(self, denoiser, levels):
        self.denoiser = denoiser
        patcher = space(get_model_object=lambda _: levels)
        self.inner_model = space(model_patcher=patcher, inner_model=space(model_sampling=levels))

    def __call__(self, x, sigma, model_options=None):
        denoised = self.denoiser(x, sigma.flatten()[0])
        for function in (model_options or {}).get("sampler_post_cfg_function", ()):
            denoised = function({"denoised": denoised, "uncond_denoised": self.denoiser.uncond})
        return denoised


class Timed:
    """A model of timesteps as webui's samplers see it."""

    def __init__(self, predict, alphas, plain=None):
        self.predict, self.plain = predict, plain
        self.inner_model = space(inner_model=space(alphas_cumprod=alphas))

    def __call__(self, x, t, **_):
        made = self.predict(x, t.flatten()[0])
        self.last_noise_uncond = self.plain() if self.plain else None
        return made


class Webui:
    """webui's samplers, called as webui_samplers'."""

    NAMES = ("ddim", "plms", "unipc", "lcm", "lcm_sigmas", "restart")

    def __init__(self, folder):
        self.folder = f"{folder}/modules"
        sys.modules["k_diffusion.sampling"] = k_webui.sampling

    def load(self, noise=None):
        """`noise` is what webui puts in the place of k-diffusion's torch.randn_like."""
        hijacked = space(torch=space(randn_like=lambda _: noise()))
        options = space(uni_pc_variant="bh1", uni_pc_skip_type="time_uniform",
                        uni_pc_order=3, uni_pc_lower_order_final=True)
        found = {**FOUND, "tqdm": space(trange=silent, tqdm=lambda steps, **_: steps)}
        unipc = load(f"{self.folder}/models/diffusion/uni_pc/uni_pc.py", Every(), **found)
        found |= {"uni_pc": space(**unipc), "k_diffusion": space(sampling=hijacked),
                  "shared": space(opts=options, sd_model=space(device="cpu"))}
        made = load(f"{self.folder}/sd_samplers_timesteps_impl.py", Every(), **found)
        made |= load(f"{self.folder}/sd_samplers_extra.py", Every(), **found)
        found |= {"sampling": k_webui.sampling, "utils": k_webui.sampling.utils,
                  "trange": silent, "default_noise_sampler": None,
                  "DiscreteEpsDDPMDenoiser": k_webui.external.DiscreteEpsDDPMDenoiser}
        names = {"LCMCompVisDenoiser", "sample_lcm"}
        return space(**made | load(f"{self.folder}/sd_samplers_lcm.py", names, **found))

    def ddim(self, model, x, times, alphas, noise, eta, plain=None):
        webui = self.load(noise)
        function = webui.ddim_cfgpp if plain else webui.ddim
        return function(
            Timed(model, alphas, plain), x, torch.tensor(times), eta=eta, disable=True)

    def plms(self, model, x, times, alphas):
        return self.load().plms(Timed(model, alphas), x, torch.tensor(times), disable=True)

    def unipc(self, model, x, times, alphas, from_picture):
        """In float32: a last bit of a time decides which whole one its noise is of."""
        return self.load().unipc(
            Timed(model, alphas), x.float(), torch.tensor(times), extra_args={},
            callback=lambda _: None, is_img2img=from_picture).double()

    def denoiser(self, apply, alphas):
        inner = space(device="cpu", alphas_cumprod=alphas,
                      apply_model=lambda x, t: apply(x, t.flatten()[0]))
        return self.load().LCMCompVisDenoiser(inner)

    def lcm_sigmas(self, alphas, steps):
        return self.denoiser(None, alphas).get_sigmas(steps)

    def lcm(self, apply, x, sigmas, alphas, noise, hold):
        """In float32: of two timesteps as near a last bit decides which it is."""
        denoiser = self.denoiser(apply, alphas)
        return self.load().sample_lcm(
            lambda y, sigma: hold(denoiser(y, sigma)), x.float(), sigmas,
            noise_sampler=lambda *_: noise().float(), disable=True).double()

    def restart(self, model, x, sigmas, noise):
        return self.load(noise).restart_sampler(
            lambda y, s: model(y, s.flatten()[0]), x, sigmas, disable=True)


def numbers(case):
    return np.array(case["latents"])


def main():
    mine = {(tuple(case.items())[:8]): case for case in k_cases.cases(k_cases.own_requests())}
    k_comfy.run_comfy_own = Comfy(sys.argv[2]).run
    webui = Webui(sys.argv[1])
    for name in webui.NAMES:
        setattr(webui_samplers, name, getattr(webui, name))
    made, farthest = k_cases.cases([*k_cases.own_requests(), *k_cases.checkout_requests()]), {}
    for case in made:
        own = mine.get(tuple(case.items())[:8])
        if own:
            far = np.linalg.norm(numbers(own) - numbers(case)) / np.linalg.norm(numbers(case))
            name = case["sampler"]
            farthest[name] = max(far, farthest.get(name, 0))
    for name, far in farthest.items():
        print(f"{name:32} {far:.1e}")
    k_cases.write(INTO / "samplers_own.json", made)
    if max(farthest.values()) > FAR:
        raise SystemExit("a stand-in is not what it stands for")


if __name__ == "__main__":
    main()
