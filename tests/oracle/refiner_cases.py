"""A model and its refiner, which goes on with the latents.

diffusers' classes: two pipelines, denoising_end of the one and denoising_start of the other, with
one generator. A1111's samplers: the model is exchanged in the midst of a run, at the first call of
whose sigma apply_refiner (sd_samplers_common.py) says so; the prompts are encoded anew.
"""

import diffusers
import torch
from safetensors.torch import save_file

import family_cases
import invent
import webui_samplers
from k_webui import NOISY, SAMPLERS, external, sampling, sigmas_of
from webui_cases import Guided, ImageRng, Inner

USUAL = {**family_cases.USUAL, "base": "sdxl", "refiner": "refiner", "at": 0.8, "steps": 5}
WEBUI = {**USUAL, "base": "sd1_single", "refiner": "sd2_single", "steps": 6, "negative": "blue"}


def requests():
    yield {**USUAL}
    yield {**USUAL, "steps": 20, "sampler": "DPMSolverMultistepScheduler", "aesthetic": 4.5}
    yield {**USUAL, "at": 0.55, "sampler": "EulerAncestralDiscreteScheduler", "negative": "blue"}
    for sampler in ("Heun", "KDPM2", "LMS", "EulerAncestral", "KDPM2Ancestral"):
        yield {**USUAL, "at": 0.5, "steps": 6, "sampler": f"{sampler}DiscreteScheduler"}
    for sampler in ("DDIM", "PNDM", "UniPCMultistep", "DPMSolverSDE", "DPMSolverSinglestep"):
        yield {**USUAL, "at": 0.6, "steps": 7, "sampler": f"{sampler}Scheduler"}
    yield {**USUAL, "at": 0.7, "steps": 8, "strength": 0.75, "sampler": "DDIMScheduler"}
    for sampler in ("Euler", "Euler a", "Heun", "LMS", "DPM2", "DPM++ 2M", "DPM++ SDE", "DDIM"):
        yield {**WEBUI, "at": 0.5, "sampler": sampler}
    yield {**WEBUI, "steps": 12, "sampler": "DPM++ 3M SDE"}


def by_diffusers(pipes, request):
    base, refiner = pipes[request["base"]], pipes[request["refiner"]]
    cls = getattr(diffusers, request["sampler"])
    more = {"noise_sampler_seed": request["seed"]} if "SDE" in request["sampler"] else {}
    configs = [pipe.scheduler.config for pipe in (base, refiner)]
    base.scheduler, refiner.scheduler = (cls.from_config(c, **more) for c in configs)
    shared = {
        "negative_prompt": request["negative"],
        "num_inference_steps": request["steps"],
        "guidance_scale": request["cfg"],
        "generator": torch.Generator().manual_seed(request["seed"]),
        "output_type": "latent",
    }
    size = {"width": request["width"], "height": request["height"]}
    first = base
    if "strength" in request:
        first = diffusers.StableDiffusionXLImg2ImgPipeline(**base.components)
        first.set_progress_bar_config(disable=True)
        size = {"image": family_cases.picture(*size.values()), "strength": request["strength"]}
    latents = first(request["prompt"], denoising_end=request["at"], **size, **shared).images
    found = refiner(
        request["prompt"],
        image=latents,
        denoising_start=request["at"],
        aesthetic_score=request.get("aesthetic", 6.0),
        **shared,
    ).images
    base.scheduler, refiner.scheduler = (
        diffusers.EulerDiscreteScheduler.from_config(c) for c in configs)
    return found


class Exchanged:
    """Two guided models; the second from the first late enough call on."""

    def __init__(self, pipes, request):
        pair = [pipes[request[name]] for name in ("base", "refiner")]
        self.at, self.late = request["at"], False
        self.guided, self.inner, self.conds = [], [], []
        for pipe in pair:
            alphas = pipe.scheduler.alphas_cumprod
            is_v = pipe.scheduler.config.prediction_type == "v_prediction"
            cls = external.CompVisVDenoiser if is_v else external.CompVisDenoiser
            inner = Inner(pipe.unet, alphas)
            prompted, plain = pipe.encode_prompt(
                request["prompt"], "cpu", 1, True, negative_prompt=request["negative"])
            conds = torch.cat([plain, prompted])
            self.inner.append((inner, is_v))
            self.conds.append(conds)
            self.guided.append(Guided(cls(inner, False, "cpu"), conds, request["cfg"], None))
        self.cfg = request["cfg"]

    @property
    def denoiser(self):
        return self.guided[0].denoiser

    def late_at(self, timestep):
        self.late = self.late or bool((999 - timestep) / 1000 >= self.at)
        return self.late

    def __call__(self, x, sigma, **_):
        timestep = torch.argmin(torch.abs(self.denoiser.sigmas - torch.max(sigma)))
        return self.guided[self.late_at(timestep)](x, sigma)

    def noise(self, x, t):
        """What the timestep samplers take for the model's output."""
        late = self.late_at(torch.max(torch.as_tensor(t)).to(dtype=int))
        inner, is_v = self.inner[late]
        steps = torch.full((2,), int(t))
        plain, prompted = inner.apply_model(torch.cat([x, x]), steps, self.conds[late]).chunk(2)
        out = plain + (prompted - plain) * self.cfg
        alpha = float(inner.alphas_cumprod[int(t)])
        return alpha**0.5 * out + (1 - alpha) ** 0.5 * x if is_v else out


def by_webui(pipes, request):
    model, name = Exchanged(pipes, request), request["sampler"]
    rng = ImageRng(request["seed"], (1, 4, request["height"] // 2, request["width"] // 2))
    steps = request["steps"]
    if name == "DDIM":
        alphas = model.inner[0][0].alphas_cumprod
        times, x, _ = webui_samplers.begin(alphas, steps, None, rng.next(), None)
        return webui_samplers.ddim(model.noise, x, times, alphas, rng.next, 0.0, None)
    function, schedule, discards = SAMPLERS[name]
    sigmas = sigmas_of(model.denoiser, schedule, steps + discards, False)
    sigmas = torch.cat([sigmas[:-2], sigmas[-1:]]) if discards else sigmas
    x = rng.next() * sigmas[0]
    options = {"noise_sampler": rng.next} if name in NOISY else {}
    if "SDE" in name:
        ends = sigmas[sigmas > 0].min(), sigmas.max()
        options["noise_sampler"] = sampling.BrownianTreeNoiseSampler(
            x, *ends, seed=[request["seed"]])
    return function(model, x, sigmas, disable=True, **options)


def make(into, bundled):
    names = ("sdxl", "refiner", "sd1_single", "sd2_single")
    pipes = {name: family_cases.load_named(name, bundled) for name in names}
    tensors, cases = {}, []
    for i, request in enumerate(requests()):
        run = by_diffusers if request["sampler"].endswith("Scheduler") else by_webui
        found = run(pipes, request).contiguous().clone()
        print(f"refined {i} {request['sampler']} {found.std():.3f}")
        assert torch.isfinite(found).all()
        tensors[f"{i}.latents"] = found
        cases.append(request)
    path = into / "families/refined.safetensors"
    save_file(tensors, path)
    path.chmod(0o644)
    invent.write_json(into / "families/refined.json", {"runs": cases})


if __name__ == "__main__":
    import sys
    from pathlib import Path

    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    root = Path(__file__).resolve().parents[2]
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else root / "tests/golden", root / "models/emoji")
