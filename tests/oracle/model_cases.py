"""One pass of each part of a model: text encoder, UNet, VAE decoder and encoder.

Every case is one entry of manifest.json that names a file, its input tensors and its output
tensors. With the tiny model the outputs of the blocks inside are kept too, to find the layer
that is wrong.
"""

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextModel, CLIPTokenizer

PROMPTS = {"prompt": "a red apple, noto style!", "empty": "", "long": "cat " * 100}
TIMESTEPS = {"999": 999, "500.5": 500.5, "1": 1}


def normal(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def save(tensors, into, file):
    tensors = {k: v.float().contiguous().clone() for k, v in tensors.items()}
    save_file(tensors, into / file)
    (into / file).chmod(0o644)


class Watch:
    """Keeps what the named modules return while the block runs."""

    def __init__(self, modules):
        self.found, self.hooks = {}, []
        for name, module in modules.items():
            self.hooks.append(module.register_forward_hook(self.keep(name)))

    def keep(self, name):
        def hook(_, __, output):
            self.found[name] = (output[0] if isinstance(output, tuple) else output).clone()

        return hook

    def __enter__(self):
        return self.found

    def __exit__(self, *_):
        for hook in self.hooks:
            hook.remove()


def text_cases(name, folder, into):
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    encoder = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32).eval()
    inner = getattr(encoder, "text_model", encoder)
    file, tensors, cases = f"{name}_text.safetensors", {}, []
    for key, prompt in PROMPTS.items():
        ids = tokenizer(
            prompt, padding="max_length", max_length=77, truncation=True, return_tensors="pt"
        ).input_ids
        out = encoder(ids, output_hidden_states=True)
        outputs = {
            "last": out.last_hidden_state,
            "skip2": inner.final_layer_norm(out.hidden_states[-2]),
        }
        if name == "tiny" and key == "prompt":
            for i, hidden in enumerate(out.hidden_states):
                outputs[f"layer.{i}"] = hidden
        tensors.update({f"{key}.{k}": v for k, v in outputs.items()})
        cases.append(
            {
                "model": name,
                "kind": "text",
                "file": file,
                "prompt": prompt,
                "ids": ids[0].tolist(),
                "outputs": {k: f"{key}.{k}" for k in outputs},
            }
        )
    save(tensors, into, file)
    return cases, tensors["prompt.last"]


def unet_cases(name, folder, into, context):
    unet = UNet2DConditionModel.from_pretrained(folder / "unet", dtype=torch.float32).eval()
    square = unet.config.sample_size
    square = (square, square) if isinstance(square, int) else tuple(square)
    modules = {"time": unet.time_embedding, "conv_in": unet.conv_in, "mid": unet.mid_block}
    modules |= {f"down.{i}": block for i, block in enumerate(unet.down_blocks)}
    modules |= {f"up.{i}": block for i, block in enumerate(unet.up_blocks)}
    file, tensors, cases = f"{name}_unet.safetensors", {"context": context}, []
    for size, (h, w) in {"square": square, "odd": (9, 13)}.items():
        sample = normal(h, 1, 4, h, w)
        tensors[f"{size}.sample"] = sample
        for at, timestep in TIMESTEPS.items():
            inside = name == "tiny" and size == "odd" and at == "500.5"
            with Watch(modules if inside else {}) as found:
                out = unet(sample, timestep, encoder_hidden_states=context).sample
            outputs = {"out": out, **found}
            tensors.update({f"{size}.{at}.{k}": v for k, v in outputs.items()})
            cases.append(
                {
                    "model": name,
                    "kind": "unet",
                    "file": file,
                    "timestep": timestep,
                    "inputs": {"sample": f"{size}.sample", "context": "context"},
                    "outputs": {k: f"{size}.{at}.{k}" for k in outputs},
                }
            )
    save(tensors, into, file)
    return cases


def vae_cases(name, folder, into):
    vae = AutoencoderKL.from_pretrained(folder / "vae", dtype=torch.float32).eval()
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    h, w = 5, 7
    latents = normal(5, 1, 4, h, w)
    picture = torch.nn.functional.interpolate(
        normal(6, 1, 3, h, w), scale_factor=factor, mode="bilinear")
    picture = (picture / 2 + 0.05 * normal(7, *picture.shape)).clamp(-1, 1)
    modules = {}
    if name == "tiny":
        modules = {"conv_in": vae.decoder.conv_in, "mid": vae.decoder.mid_block}
        modules |= {f"up.{i}": block for i, block in enumerate(vae.decoder.up_blocks)}
    with Watch(modules) as found:
        decoded = {"out": vae.decode(latents).sample, **found}
    posterior = vae.encode(picture).latent_dist
    encoded = {"moments": posterior.parameters, "mode": posterior.mode()}
    file = f"{name}_vae.safetensors"
    tensors = {"latents": latents, "picture": picture}
    tensors |= {f"decode.{k}": v for k, v in decoded.items()}
    tensors |= {f"encode.{k}": v for k, v in encoded.items()}
    save(tensors, into, file)
    shared = {"model": name, "file": file}
    return [
        {
            **shared,
            "kind": "vae decode",
            "inputs": {"latents": "latents"},
            "outputs": {k: f"decode.{k}" for k in decoded},
        },
        {
            **shared,
            "kind": "vae encode",
            "inputs": {"picture": "picture"},
            "outputs": {k: f"encode.{k}" for k in encoded},
        },
    ]


def make(name, folder, into):
    cases, context = text_cases(name, folder, into)
    cases += unet_cases(name, folder, into, context)
    return cases + vae_cases(name, folder, into)
