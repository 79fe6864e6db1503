"""What stable-diffusion-webui and ComfyUI make of a prompt, on the model tiny.

    prompt_runs.py WEBUI COMFYUI

Chunks and emphasis by those programs' own classes around transformers' encoder; guidance as
webui's CFGDenoiser has it, around diffusers' UNet and scheduler, each text in a pass of its own.
By hand, like prompt_cases.py.
"""

import importlib.util
import json
import math
import os
import re
import sys
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

os.environ.update(ATEN_CPU_CAPABILITY="avx2", ONEDNN_MAX_CPU_ISA="AVX2", MKL_CBWR="AVX2,STRICT")
os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error")

import torch  # noqa: E402
from diffusers import EulerDiscreteScheduler, UNet2DConditionModel  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from transformers import CLIPTextModel, CLIPTokenizer  # noqa: E402

from prompt_cases import load  # noqa: E402

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
WORDS = "cat dog fox owl bee elk ant yak "

TEXTS = [
    ("a1111", 1, "a (red:1.3) [cat], ((dog)) on grass"),
    ("a1111", 2, "a (red:1.3) cat"),
    ("a1111", 1, WORDS * 5),
    ("a1111", 1, "(" + WORDS * 3 + ":1.2), elk, " + WORDS * 3),
    ("a1111", 1, "x, " + WORDS * 4),
    ("a1111", 1, "cat BREAK (dog:0.7) BREAK BREAK fox"),
    ("a1111", 1, "a <|endoftext|> cat" + " dog, cat" * 40),
    ("a1111", 1, ("cat, " * 37 + "dog" + " cat dog," * 30) * 2),
    ("comfy", 1, "a (red:1.3) [cat], ((dog)) on grass"),
    ("comfy", 1, "a red [cat]"),
    ("comfy", 2, "a (red:1.3) cat"),
    ("comfy", 1, WORDS * 5 + "(" + WORDS * 2 + ":1.2) (a:0.5) \\(b\\)"),
    ("comfy", 1, "(cat dog:1.1) " * 30),
    ("a1111", 1, "a (stylish:1.2) cat, cat-toy"),
    ("a1111", 1, WORDS + " stylish" * 30 + " Cat-Toy dog"),
    ("comfy", 1, "a embedding:stylish, (embedding:cat-toy:1.3) embedding:other"),
    ("comfy", 1, WORDS * 2 + " embedding:stylish" * 30),
]
EMBEDDINGS = {"stylish": ("emb_params", 3), "cat-toy": ("<cat-toy>", None)}
RUNS = [
    ("a (red:1.3) apple", "[blue]"),
    ("a [cat:dog:0.5] on grass", ""),
    ("a [cat:dog:2] [red|green|blue] [in snow::0.7]", "[ugly:blurry:3]"),
    ("a cat AND a dog :0.5 AND snow :-0.3", "blurry"),
    ("a [cat|dog] AND red BREAK apple", ""),
    ("cat :0.5", ""),
    (WORDS * 5 + "[red:" + WORDS * 4 + ":0.5]", "blue"),
    ("cat", WORDS * 6),
]
STEPS, CFG, SEED = 6, 5.0, 42


class Webui:
    """The one encoder of SD 1.x, hijacked as webui does."""

    def __init__(self, root, tokenizer, model):
        spec = importlib.util.spec_from_file_location("p", f"{root}/modules/prompt_parser.py")
        self.parser = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.parser)
        names = {"Emphasis", "EmphasisOriginal"}
        original = load(f"{root}/modules/sd_emphasis.py", names, torch=torch)["EmphasisOriginal"]
        options = SimpleNamespace(emphasis="Original", comma_padding_backtrack=20)
        base = load(
            f"{root}/modules/sd_hijack_clip.py",
            {"PromptChunk", "FrozenCLIPEmbedderWithCustomWordsBase"},
            torch=torch,
            math=math,
            opts=options,
            prompt_parser=self.parser,
            sd_hijack=SimpleNamespace(StableDiffusionModelHijack=None),
            sd_emphasis=SimpleNamespace(get_current_option=lambda name: original),
            devices=SimpleNamespace(device="cpu"),
            PromptChunkFix=namedtuple("PromptChunkFix", ["offset", "embedding"]),
        )["FrozenCLIPEmbedderWithCustomWordsBase"]
        database = SimpleNamespace(find_embedding_at_position=self.find)
        self.embeddings = [
            SimpleNamespace(vec=vec, vectors=len(vec), ids=ids(tokenizer, name))
            for name, vec in embeddings().items()
        ]
        self.hijack = SimpleNamespace(embedding_db=database, fixes=None)
        self.clip = base(torch.nn.Module(), self.hijack)
        self.clip.tokenize = lambda texts: [ids(tokenizer, text) for text in texts]
        self.clip.encode_with_transformers = self.encode
        self.clip.id_start, self.clip.id_end = tokenizer.bos_token_id, tokenizer.eos_token_id
        self.clip.id_pad = tokenizer.pad_token_id
        self.clip.comma_token = tokenizer.get_vocab()[",</w>"]
        self.model, self.skip = model, 1
        words = model.get_input_embeddings()
        words.register_forward_hook(self.fix)

    def find(self, tokens, offset):
        for embedding in sorted(self.embeddings, key=lambda e: -len(e.ids)):
            if list(tokens[offset : offset + len(embedding.ids)]) == embedding.ids:
                return embedding, len(embedding.ids)
        return None, None

    def fix(self, module, inputs, output):
        for row, fixes in zip(output, self.hijack.fixes or []):
            for offset, embedding in fixes:
                count = min(row.shape[0] - offset - 1, embedding.vectors)
                row[offset + 1 : offset + 1 + count] = embedding.vec[:count]
        return output

    def encode(self, tokens):
        return hidden(self.model, tokens, self.skip)

    def chunks(self, text):
        return self.clip.tokenize_line(text)[0]

    def z(self, text, least=1):
        made = self.chunks(text)
        made += [self.clip.empty_chunk() for _ in range(least - len(made))]
        zs = []
        for chunk in made:
            self.hijack.fixes = [chunk.fixes]
            zs.append(self.clip.process_tokens([chunk.tokens], [chunk.multipliers]))
        self.hijack.fixes = None
        return torch.hstack(zs)

    def schedule(self, text):
        """The states of one part, all as long as the longest."""
        states = self.parser.get_learned_conditioning_prompt_schedules([text], STEPS)[0]
        least = max(len(self.chunks(state)) for _, state in states)
        return [(end, self.z(state, least)) for end, state in states]


def embeddings():
    """Their vectors, and their files."""
    made = {}
    for name, (key, count) in EMBEDDINGS.items():
        generator = torch.Generator().manual_seed(len(name))
        vec = torch.randn((count or 1, 32), generator=generator) / 4
        path = GOLDEN / f"embeddings/{name}.safetensors"
        path.parent.mkdir(exist_ok=True)
        save_file({key: vec if count else vec[0].clone()}, path)
        path.chmod(0o644)
        made[name] = vec
    return made


def comfy_embedding(name):
    """Its place of SDTokenizer's method, without the folders."""
    words = name.split()
    name, rest = words[0], " ".join(words[1:])
    found = embeddings()
    if name not in found and name.strip(",") in found:
        rest = f"{name[len(name.strip(',')):]} {rest}"
        name = name.strip(",")
    return found.get(name), name, rest


def ids(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def hidden(model, tokens, skip):
    outputs = model(input_ids=tokens, output_hidden_states=True)
    if skip == 1:
        return outputs.last_hidden_state
    norm = model.final_layer_norm if hasattr(model, "final_layer_norm") else None
    norm = norm or model.text_model.final_layer_norm
    return norm(outputs.hidden_states[-skip])


def comfy_z(root, tokenizer, model, text, skip):
    names = {"gen_empty_tokens", "ClipTokenWeightEncoder", "parse_parentheses", "token_weights"}
    names |= {"escape_important", "unescape_important", "SDTokenizer"}
    management = SimpleNamespace(intermediate_device=lambda: "cpu")
    path = f"{root}/comfy/sd1_clip.py"
    found = load(path, names, torch=torch, re=re, model_management=management, CLIPTokenizer=None)
    maker = found["SDTokenizer"].__new__(found["SDTokenizer"])
    start, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    settings = dict(
        embedding_key="clip_l", embedding_identifier="embedding:",
        embedding_directory=".",
        _try_get_embedding=comfy_embedding, min_length=None, min_padding=None,
        disable_weights=False, pad_left=False,
        tokenizer_adds_end_token=True, tokens_start=1, tokenizer=tokenizer, max_length=77,
        max_word_length=8, start_token=start, end_token=end, pad_token=end,
        pad_to_max_length=True,
    )  # fmt: skip
    maker.__dict__.update(settings)
    encoder = found["ClipTokenWeightEncoder"]()
    encoder.special_tokens = {"start": start, "end": end, "pad": end}
    encoder.encode = lambda rows: (comfy_hidden(model, rows, skip), None)
    return encoder.encode_token_weights(maker.tokenize_with_weights(text))[0]


def comfy_hidden(model, rows, skip):
    """Tokens that are vectors take the place of what the vocabulary has there."""
    own = [(i, j, t) for i, row in enumerate(rows) for j, t in enumerate(row) if torch.is_tensor(t)]
    plain = [[0 if torch.is_tensor(t) else t for t in row] for row in rows]

    def fix(module, inputs, output):
        for i, j, vector in own:
            output[i, j] = vector
        return output

    hook = model.get_input_embeddings().register_forward_hook(fix)
    z = hidden(model, torch.tensor(plain), skip)
    hook.remove()
    return z


def at_call(states, call):
    for end, z in states:
        if call <= end:
            return z
    return states[0][1]


def repeat_last(z, length):
    return torch.cat([z, z[:, -1:].repeat(1, length - z.shape[1], 1)], dim=1)


def run(webui, unet, prompt, negative):
    scheduler = EulerDiscreteScheduler.from_config(GOLDEN / "tiny/scheduler")
    scheduler.set_timesteps(STEPS)
    parts, flat, _ = webui.parser.get_multicond_prompt_list([prompt])
    conds = [(webui.schedule(flat[i]), weight) for i, weight in parts[0]]
    uncond = webui.schedule(negative)
    x = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(SEED))
    x = x * scheduler.init_noise_sigma
    for call, t in enumerate(scheduler.timesteps):
        scaled = scheduler.scale_model_input(x, t)
        zs = [at_call(states, call) for states, _ in conds]
        zs = [repeat_last(z, max(other.shape[1] for other in zs)) for z in zs]
        base = unet(scaled, t, at_call(uncond, call)).sample
        e = base.clone()
        for z, (_, weight) in zip(zs, conds):
            e += (unet(scaled, t, z).sample - base) * (weight * CFG)
        x = scheduler.step(e, t, x).prev_sample
    return x


def main():
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    tiny = GOLDEN / "tiny"
    tokenizer = CLIPTokenizer.from_pretrained(tiny / "tokenizer")
    model = CLIPTextModel.from_pretrained(tiny / "text_encoder", dtype=torch.float32)
    unet = UNet2DConditionModel.from_pretrained(tiny / "unet", dtype=torch.float32)
    webui = Webui(sys.argv[1], tokenizer, model)
    cases, tensors = {"texts": [], "runs": []}, {}
    for i, (syntax, skip, text) in enumerate(TEXTS):
        webui.skip = skip
        a1111 = syntax == "a1111"
        z = webui.z(text) if a1111 else comfy_z(sys.argv[2], tokenizer, model, text, skip)
        tensors[f"text.{i}"] = z[0].contiguous()
        case = {"syntax": syntax, "clip_skip": skip, "text": text, "keys": z.shape[1]}
        cases["texts"].append(case)
    webui.skip = 1
    for i, (prompt, negative) in enumerate(RUNS):
        tensors[f"run.{i}"] = run(webui, unet, prompt, negative)
        cases["runs"].append({"prompt": prompt, "negative": negative})
    cases.update({"steps": STEPS, "cfg": CFG, "seed": SEED})
    save_file(tensors, GOLDEN / "prompt_runs.safetensors")
    (GOLDEN / "prompt_runs.safetensors").chmod(0o644)
    text = json.dumps(cases, indent=1, ensure_ascii=False)
    (GOLDEN / "prompt_runs.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
