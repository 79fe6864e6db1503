#include "worker/proof.h"

#include <stdlib.h>
#include <string.h>

#include "opencl/prove.h"
#include "proto/files/blob.h"
#include "worker/sd/noise.h"

/* Seed 42: 4 x 9 x 5 values, which is no multiple of 16, and 3 x 5, which draws otherwise.
 * Measured with PyTorch 2.13 on x86-64 with AVX2: raw little-endian float32. */
enum { LONG_DRAW = 4 * 9 * 5, SHORT_DRAW = 3 * 5 };
static const char expected_noise[] =
    "0ec4c0edb3b9eeaa217a91ee7fe03e60c362702d280c12a3851b9164d81840cf";

static bool prove_noise(struct error *error)
{
    struct noise noise;
    float values[LONG_DRAW + SHORT_DRAW];
    uint8_t id[BLOB_ID];
    char hex[BLOB_TEXT];
    noise_seed(&noise, 42);
    noise_normal(&noise, values, LONG_DRAW);
    noise_seed(&noise, 42);
    noise_normal(&noise, values + LONG_DRAW, SHORT_DRAW);
    blob_id(values, sizeof values, id);
    blob_format(id, hex);
    return strcmp(hex, expected_noise) == 0 ||
           error_set_kind(error, ERROR_DEVICE,
                          "noise of seed 42 is not PyTorch's: this build or processor "
                          "rounds otherwise");
}

bool proof_of_device(struct gpu *gpu, struct error *error)
{
    return prove_noise(error) && gpu_prove(gpu, error);
}
