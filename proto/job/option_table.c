/* The options, one row each. */
#include <stddef.h>

#include "proto/job/option_kinds.h"

#define FIELD(name) offsetof(struct task, name)
#define TEXT_MOST   65536

/* Names as tables of choices have them. */
#define SAMPLERS                                                                       \
    "Euler|Euler a|Heun|LMS|DPM2|DPM2 a|DPM++ 2S a|DPM++ 2M|DPM++ SDE"                 \
    "|DPM++ 2M SDE|DPM++ 2M SDE Heun|DPM++ 3M SDE|DPM fast|DPM adaptive|Restart"       \
    "|DDIM|DDIM CFG++|PLMS|UniPC|LCM|euler|euler_cfg_pp|euler_ancestral"               \
    "|euler_ancestral_cfg_pp|heun|heunpp2|exp_heun_2_x0|exp_heun_2_x0_sde|dpm_2"       \
    "|dpm_2_ancestral|lms|dpm_fast|dpm_adaptive|dpmpp_2s_ancestral"                    \
    "|dpmpp_2s_ancestral_cfg_pp|dpmpp_sde|dpmpp_2m|dpmpp_2m_cfg_pp|dpmpp_2m_sde"       \
    "|dpmpp_2m_sde_heun|dpmpp_3m_sde|ddpm|lcm|ipndm|ipndm_v|deis|res_multistep"        \
    "|res_multistep_cfg_pp|res_multistep_ancestral"                                    \
    "|res_multistep_ancestral_cfg_pp|gradient_estimation"                              \
    "|gradient_estimation_cfg_pp|er_sde|seeds_2|seeds_3|sa_solver|sa_solver_pece|ddim" \
    "|uni_pc|uni_pc_bh2"                                                               \
    "|DDIMScheduler|DDPMScheduler=DDPM|DEISMultistepScheduler=DEISMultistep"           \
    "|DPMSolverMultistepScheduler=DPMSolverMultistep"                                  \
    "|DPMSolverSDEScheduler=DPMSolverSDE"                                              \
    "|DPMSolverSinglestepScheduler=DPMSolverSinglestep"                                \
    "|EulerAncestralDiscreteScheduler=EulerAncestralDiscrete"                          \
    "|EulerDiscreteScheduler=EulerDiscrete|HeunDiscreteScheduler=HeunDiscrete"         \
    "|KDPM2AncestralDiscreteScheduler=KDPM2AncestralDiscrete"                          \
    "|KDPM2DiscreteScheduler=KDPM2Discrete|LCMScheduler"                               \
    "|LMSDiscreteScheduler=LMSDiscrete|PNDMScheduler=PNDM"                             \
    "|UniPCMultistepScheduler=UniPCMultistep"
#define SCHEDULES                                                                      \
    "Automatic|Normal|Karras|Exponential|Beta|Uniform|Polyexponential"                 \
    "|SGM Uniform=sgm_uniform|KL Optimal=kl_optimal"                                   \
    "|Align Your Steps=align_your_steps|Simple|DDIM=ddim_uniform|Turbo"                \
    "|Linear Quadratic=linear_quadratic"

const struct option options[OPTION_COUNT_ALL + 1] = {
    {"aesthetic", OPTION_NUMBER, FIELD(aesthetic), "6", 0, 10, NULL, "X",
     "score SDXL's refiner aims at; 2.5 for the negative prompt", KEY_ALWAYS},
    {"batch", OPTION_COUNT, FIELD(batch), "1", 1, 64, NULL, "N",
     "with --rng comfy-batch: images drawn as one batch", KEY_ALWAYS},
    {"batch-index", OPTION_COUNT, FIELD(batch_index), "0", 0, 63, NULL, "N",
     "and which of them this is, from 0", KEY_ALWAYS},
    {"cfg", OPTION_NUMBER, FIELD(cfg), "7", 0, 100, NULL, "X",
     "guidance: how strongly the prompt is followed; 1: not guided", KEY_ALWAYS},
    {"class", OPTION_COUNT, FIELD(class_number), "0", 0, 99999, NULL, "N",
     "what to draw, in models that know classes", KEY_ALWAYS},
    {"clip-skip", OPTION_COUNT, FIELD(clip_skip), "1", 1, 12, NULL, "N",
     "text encoder layer to stop at, counted from the last", KEY_ALWAYS},
    {"crop", OPTION_POINT, FIELD(crop_x), "0,0", 0, 65535, NULL, "X,Y",
     "the corner SDXL takes the picture to be cut from", KEY_ALWAYS},
    {"embedding", OPTION_FILE, FIELD(embedding), "", 0, 16, "embedding", "FILE",
     "textual inversion: the file's name without its ending is a word; repeatable",
     KEY_ALWAYS},
    {"empty-negative", OPTION_CHOICE, FIELD(empty_negative), "none", 0, 0, "none|text",
     "NAME", "what SDXL takes an empty negative prompt for: none at all, or a text",
     KEY_ALWAYS},
    {"ensd", OPTION_COUNT, FIELD(ensd), "0", 0, 4294967295.0, NULL, "N",
     "added to the seed of the steps' noise (eta noise seed delta)", KEY_ALWAYS},
    {"eta", OPTION_NUMBER, FIELD(eta), "0", 0, 1, NULL, "X",
     "share of fresh noise in each step of DDIM", KEY_ALWAYS},
    {"guidance-rescale", OPTION_NUMBER, FIELD(guidance_rescale), "0", 0, 1, NULL, "X",
     "share of the guided output that is scaled back to the text's deviation",
     KEY_ALWAYS},
    {"hires", OPTION_HIRES, FIELD(hires_scale), "", 0, 8, NULL,
     "SCALE|WxH[:UPSCALER:STEPS:STRENGTH]",
     "a second pass over the picture enlarged so many times, or to this size; the rest "
     "as the options below and --strength",
     KEY_UNLESS_DEFAULT},
    {"hires-cfg", OPTION_NUMBER, FIELD(hires_cfg), "0", 0, 100, NULL, "X",
     "its guidance; 0: as --cfg", KEY_UNLESS_DEFAULT},
    {"hires-sampler", OPTION_SAMPLER, FIELD(hires_sampler), "same", 0, 0,
     "same|" SAMPLERS, "NAME", "its sampling method", KEY_UNLESS_DEFAULT},
    {"hires-schedule", OPTION_CHOICE, FIELD(hires_schedule), "same", 0, 0,
     "same|" SCHEDULES, "NAME", "its noise schedule", KEY_UNLESS_DEFAULT},
    {"hires-steps", OPTION_COUNT, FIELD(hires_steps), "0", 0, 1000, NULL, "N",
     "its steps; 0: as --steps", KEY_UNLESS_DEFAULT},
    {"hires-upscaler", OPTION_CHOICE, FIELD(hires_upscaler), "Latent", 0, 0,
     "Latent|Latent (antialiased)|Latent (bicubic)|Latent (bicubic antialiased)"
     "|Latent (nearest)|Latent (nearest-exact)|Lanczos|Nearest|None",
     "NAME", "how it enlarges: latents, or the decoded picture", KEY_UNLESS_DEFAULT},
    {"image", OPTION_FILE, FIELD(image), "", 0, 1, "picture", "FILE",
     "the picture to edit, for models that edit by instruction (InstructPix2Pix)",
     KEY_ALWAYS},
    {"image-cfg", OPTION_NUMBER, FIELD(image_cfg), "1.5", 0, 100, NULL, "X",
     "how closely --image is followed", KEY_ALWAYS},
    {"init", OPTION_FILE, FIELD(init), "", 0, 1, "picture", "FILE",
     "the picture to begin from, instead of noise alone: PNG or JPEG", KEY_ALWAYS},
    {"inpaint-fill", OPTION_CHOICE, FIELD(inpaint_fill), "original", 0, 0,
     "original|fill|latent-noise=latent noise|latent-nothing=latent nothing", "NAME",
     "what the part to be repainted begins with", KEY_ALWAYS},
    {"inpaint-full-res", OPTION_CHOICE, FIELD(inpaint_full_res), "off", 0, 0,
     "off=Whole picture|on=Only masked", NULL,
     "repaint the part round the mask alone, at the full size; a number: on, with that "
     "--inpaint-padding",
     KEY_UNLESS_DEFAULT},
    {"inpaint-padding", OPTION_COUNT, FIELD(inpaint_padding), "32", 0, 1024, NULL, "N",
     "pixels of the picture round the mask that are seen then", KEY_UNLESS_DEFAULT},
    {"lora", OPTION_FILE, FIELD(lora), "", 0, 8, "lora", "FILE[:WEIGHT]",
     "a LoRA to render with; repeatable; weight 0: for <lora:NAME:WEIGHT> in prompts",
     KEY_ALWAYS},
    {"mask", OPTION_FILE, FIELD(mask), "", 0, 1, "picture", "FILE",
     "what of --init is repainted: where this picture is white", KEY_ALWAYS},
    {"mask-blur", OPTION_NUMBER, FIELD(mask_blur), "0", 0, 256, NULL, "X",
     "blurs the mask first; a deviation in pixels", KEY_ALWAYS},
    {"mask-invert", OPTION_CHOICE, FIELD(mask_invert), "off", 0, 0,
     "off=Inpaint masked|on=Inpaint not masked", NULL, "repaint where --mask is black",
     KEY_UNLESS_DEFAULT},
    {"model", OPTION_TEXT, FIELD(model), "emoji", 1, 255, NULL, "NAME",
     "a model the farm knows, or a folder or file to add to it first", KEY_ALWAYS},
    {"negative", OPTION_TEXT, FIELD(negative), "", 0, TEXT_MOST, NULL, "TEXT",
     "what the picture should not show", KEY_ALWAYS},
    {"original-size", OPTION_SIZE, FIELD(original_width), "auto", 1, 65535, NULL, "WxH",
     "the size SDXL takes the picture to have had; auto: its own", KEY_ALWAYS},
    {"precision", OPTION_CHOICE, FIELD(precision), "auto", 0, 0, "auto|f32|f16", "NAME",
     "storage on the device", KEY_ALWAYS},
    {"prediction", OPTION_CHOICE, FIELD(prediction), "auto", 0, 0,
     "auto|epsilon|v=v_prediction|sample", "NAME",
     "what the model predicts; auto: what its files say", KEY_ALWAYS},
    {"prompt", OPTION_TEXT, FIELD(prompt), "", 0, TEXT_MOST, NULL, "TEXT",
     "what the picture should show", KEY_ALWAYS},
    {"refiner", OPTION_FILE, FIELD(refiner), "", 0, 1, "model", "MODEL[:SWITCH]",
     "another model that goes on with the picture, from this share of the way; 0.8",
     KEY_UNLESS_DEFAULT},
    {"rng", OPTION_CHOICE, FIELD(rng), "torch-cpu", 0, 0,
     "torch-cpu=CPU|comfy-batch|philox=NV", "NAME", "which noise a seed means",
     KEY_ALWAYS},
    {"safety-checker", OPTION_FILE, FIELD(safety_checker), "", 0, 1, "safety-checker",
     "FILE",
     "judges the picture, which is black where it is flagged: weights of a "
     "StableDiffusionSafetyChecker",
     KEY_UNLESS_DEFAULT},
    {"sampler", OPTION_SAMPLER, FIELD(sampler), "DPM++ 2M", 0, 0, SAMPLERS, "NAME",
     "the sampling method: A1111's, ComfyUI's or diffusers' name, each with its "
     "program's "
     "ways; a class may be followed by (key=value,...)",
     KEY_ALWAYS},
    {"schedule", OPTION_CHOICE, FIELD(schedule), "Automatic", 0, 0, SCHEDULES, "NAME",
     "the noise schedule; diffusers' classes take the first five", KEY_ALWAYS},
    {"seed", OPTION_COUNT, FIELD(seed), "0", 0, SEED_MOST, NULL, "LIST",
     "7, 0..15, 1,5,9, random:8 or -1 (random); one image each", KEY_ALWAYS},
    {"seed-resize", OPTION_SIZE, FIELD(noise_width), "auto", 8, 8192, NULL, "WxH",
     "the size of picture the seed's noise is drawn for; auto: this one's", KEY_ALWAYS},
    {"size", OPTION_SIZE, FIELD(width), "auto", 8, 8192, NULL, "WxH",
     "pixels; auto: the model's own size", KEY_ALWAYS},
    {"steps", OPTION_COUNT, FIELD(steps), "20", 1, 1000, NULL, "N", "denoising steps",
     KEY_ALWAYS},
    {"strength", OPTION_NUMBER, FIELD(strength), "0", 0, 1, NULL, "X",
     "share of the steps that is run on --init or in the second pass of --hires; 0: "
     "0.8, 1 with --mask, 0.7 with --hires",
     KEY_ALWAYS},
    {"syntax", OPTION_CHOICE, FIELD(syntax), "auto", 0, 0, "auto|a1111|comfy|plain",
     "NAME", "how prompts are read; auto: as where the sampler's name comes from",
     KEY_ALWAYS},
    {"tile", OPTION_CHOICE, FIELD(tile), "off", 0, 0, "off|on", NULL,
     "encode and decode in tiles, as is done anyhow where memory is short", KEY_ALWAYS},
    {"vae", OPTION_FILE, FIELD(vae), "", 0, 1, "vae", "FILE",
     "another autoencoder in the place of the model's", KEY_ALWAYS},
    {"variation", OPTION_VARIATION, FIELD(variation_seed), "", 0, 1, NULL,
     "SEED:STRENGTH", "another seed's noise, mixed in by so much", KEY_ALWAYS},
    {"zsnr", OPTION_CHOICE, FIELD(zsnr), "auto", 0, 0, "auto|on|off", "NAME",
     "noise to the last step of training; auto: what the model's files say",
     KEY_ALWAYS},
    {NULL, OPTION_TEXT, 0, NULL, 0, 0, NULL, NULL, NULL, KEY_NEVER},
};
