"""A tiny model of the configurations that Stable Diffusion 1.x does not use.

As in SD 2: gelu, linear projections, heads for each level; besides that lists where tiny/ has
one value, several transformer blocks, attention to the text only, padding on one side, the
other order and shift of the time embedding, and a VAE without attention and quantising
convolutions. Text encoder names lack `text_model.`, as newer versions save them.
"""

import shutil

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from tiny_model import INDEX, SCHEDULER, fill, save_part, write_json, write_tokenizer

WIDTH = 12


def make(folder, tokenizer):
    shutil.rmtree(folder, ignore_errors=True)
    vocabulary = write_tokenizer(tokenizer, folder / "tokenizer")
    write_json(folder / "model_index.json", INDEX)
    write_json(
        folder / "scheduler/scheduler_config.json",
        {**SCHEDULER, "prediction_type": "v_prediction"},
    )

    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocabulary,
            hidden_size=WIDTH,
            intermediate_size=20,
            projection_dim=WIDTH,
            num_hidden_layers=2,
            num_attention_heads=3,
            hidden_act="gelu",
            layer_norm_eps=1e-3,
            bos_token_id=vocabulary - 2,
            eos_token_id=vocabulary - 1,
            pad_token_id=vocabulary - 1,
        )
    )
    fill(text, "variant text", {"token_embedding": 4.0, "position_embedding": 2.0})
    text.config.architectures = ["CLIPTextModel"]
    text.config.save_pretrained(folder / "text_encoder")
    part = getattr(text, "text_model", text)
    save_part(part, folder / "text_encoder", "model.safetensors", torch.float16)

    unet = UNet2DConditionModel(
        sample_size=(8, 6),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(8, 12, 16),
        layers_per_block=(1, 2, 1),
        attention_head_dim=(2, 3, 4),
        transformer_layers_per_block=(1, 2, 1),
        only_cross_attention=(True, False, True),
        cross_attention_dim=WIDTH,
        use_linear_projection=True,
        downsample_padding=0,
        flip_sin_to_cos=False,
        freq_shift=1,
        norm_num_groups=4,
        norm_eps=1e-3,
    )
    fill(unet, "variant unet", {"to_q": 2.0, "conv_out": 1.5})
    unet.save_config(folder / "unet")
    save_part(unet, folder / "unet", "diffusion_pytorch_model.safetensors", torch.float16)

    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 12),
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=16,
        mid_block_add_attention=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
    fill(vae, "variant vae", {"decoder.conv_out": 0.7})
    vae.save_config(folder / "vae")
    save_part(vae, folder / "vae", "diffusion_pytorch_model.safetensors", torch.float16)
