"""A small StableDiffusionSafetyChecker, in both layouts it is saved in, and what it says of
four pictures: nothing of the first and last; the second is near a concept; the third is near
enough only because it is near a special one."""

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPImageProcessorPil

import tiny_model

SIZE = 32
SIZES = [(45, 61), (61, 45), (32, 32), (40, 97)]
VISION = {
    "hidden_size": 128,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": SIZE,
    "patch_size": 8,
}


def pictures():
    """Coarse random colours, enlarged smoothly."""
    for i, (width, height) in enumerate(SIZES):
        coarse = np.random.default_rng(i).integers(0, 256, (5, 4, 3), dtype=np.uint8)
        yield Image.fromarray(coarse).resize((width, height), Image.BICUBIC)


def embed(checker, clip_input):
    seen = checker.visual_projection(checker.vision_model(clip_input)[1])
    return torch.nn.functional.normalize(seen)


def set_concepts(checker, clip_input):
    seen = embed(checker, clip_input)
    apart = torch.nn.functional.normalize(seen - seen.mean(0))
    generator = torch.Generator().manual_seed(1)
    for name, count in (("concept_embeds", 17), ("special_care_embeds", 3)):
        embeds = getattr(checker, name)
        embeds.copy_(torch.randn(embeds.shape, generator=generator))
        getattr(checker, f"{name}_weights").copy_(torch.ones(count))
    checker.concept_embeds[4] = 3 * apart[1]
    checker.concept_embeds[9] = 0.5 * apart[2]
    checker.special_care_embeds[1] = apart[2]
    near = seen @ apart.T
    checker.concept_embeds_weights[4] = (near[1, 1] + near[[0, 2, 3], 1].max()) / 2
    checker.concept_embeds_weights[9] = near[2, 2] + 0.006
    checker.special_care_embeds_weights[1] = (near[2, 2] + near[[0, 1, 3], 2].max()) / 2


def published(name):
    return f"vision_model.{name}" if name.startswith("vision_model.") else name


def scores(checker, clip_input):
    """The scores that forward() rounds and then drops, by its own arithmetic."""
    seen = embed(checker, clip_input)
    found = []
    for row in seen:
        adjustment, line = 0.0, []
        for embeds, weights, special in (
            (checker.special_care_embeds, checker.special_care_embeds_weights, True),
            (checker.concept_embeds, checker.concept_embeds_weights, False),
        ):
            for cosine, threshold in zip(
                torch.nn.functional.normalize(embeds) @ row, weights, strict=True
            ):
                line.append(round(float(cosine) - float(threshold) + adjustment, 3))
                if special and line[-1] > 0:
                    adjustment = 0.01
        found.append(line)
    return torch.tensor(found)


def make(into):
    folder = into / "safety"
    folder.mkdir(exist_ok=True)
    checker = StableDiffusionSafetyChecker(
        CLIPConfig(vision_config=VISION, projection_dim=48)
    )
    tiny_model.fill(checker, "safety", {})
    checker.half().float()
    process = CLIPImageProcessorPil(
        size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE}
    )
    shown = list(pictures())
    clip_input = process(shown, return_tensors="pt").pixel_values
    set_concepts(checker, clip_input)
    state = {name: value.contiguous() for name, value in checker.state_dict().items()}
    state = {
        name: value.half() if value.dim() > 1 and "embeds" not in name else value
        for name, value in state.items()
    }
    found = {"scores": scores(checker, clip_input)}
    _, flagged = checker(clip_input, [np.ones((1, 1, 3)) for _ in shown])
    assert flagged == [False, True, True, False], flagged
    found["flagged"] = torch.tensor([float(one) for one in flagged])
    for i, picture in enumerate(shown):
        found[f"picture.{i}"] = torch.tensor(np.array(picture), dtype=torch.float16)
    old = {published(name): value for name, value in state.items()}
    old["vision_model.vision_model.embeddings.position_ids"] = torch.arange(17)[None]
    strict = dict(old, concept_embeds_weights=torch.full((17,), -1.0))
    files = {"new": state, "published": old, "strict": strict, "expected": found}
    for name, tensors in files.items():
        save_file(tensors, folder / f"{name}.safetensors")
        (folder / f"{name}.safetensors").chmod(0o644)
