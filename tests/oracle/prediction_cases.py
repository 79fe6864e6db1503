"""Runs of the model tiny taken for another kind of model: what it predicts, and a training that
ends on noise alone (rescale_betas_zero_snr), both said by the request."""

import json

import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file

from run_cases import USUAL, lend_text_model, run
from sampler_cases import scheduler_of

KINDS = {"epsilon": "epsilon", "v": "v_prediction", "sample": "sample"}
TRAILING = "(timestep_spacing=trailing)"
REQUESTS = [
    {"sampler": "DDIMScheduler", "prediction": "v"},
    {"sampler": "DDIMScheduler" + TRAILING, "prediction": "v", "zsnr": "on"},
    {"sampler": "EulerDiscreteScheduler" + TRAILING, "prediction": "v", "zsnr": "on"},
    {"sampler": "EulerAncestralDiscreteScheduler" + TRAILING, "prediction": "v", "zsnr": "on"},
    {"sampler": "DPMSolverMultistepScheduler" + TRAILING, "prediction": "v", "zsnr": "on"},
    {"sampler": "DDIMScheduler" + TRAILING, "prediction": "sample"},
    {"sampler": "DDIMScheduler", "prediction": "epsilon", "zsnr": "off"},
]


def make(into):
    pipe = StableDiffusionPipeline.from_pretrained(into / "tiny", dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    if not hasattr(pipe.text_encoder, "text_model"):
        lend_text_model(pipe.text_encoder)
    # as the file has it: from_config() drops what a loaded one only has by default
    config = json.loads((into / "tiny/scheduler/scheduler_config.json").read_text())
    cases, tensors = [], {}
    for i, request in enumerate(REQUESTS):
        request = {**USUAL, "width": 64, "height": 64, "steps": 8, **request}
        said = {"prediction_type": KINDS[request["prediction"]]}
        if "zsnr" in request:
            said["rescale_betas_zero_snr"] = request["zsnr"] == "on"
        pipe.scheduler = scheduler_of({**config, **said}, request["sampler"], "Automatic")
        tensors[f"{i}.latents"] = run(pipe, request).clone()
        file = {"file": "prediction_runs.safetensors"}
        cases.append({**file, **request, "outputs": {"latents": f"{i}.latents"}})
    save_file(tensors, into / "prediction_runs.safetensors")
    (into / "prediction_runs.safetensors").chmod(0o644)
    (into / "prediction_runs.json").write_text(json.dumps(cases, indent=1) + "\n")
