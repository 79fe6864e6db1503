/* Attention for CPUs: softmax(q k^T scale) v, flash form, scores never leave the cache
 *
 *   q, y [n][queries][channels], k, v [n][keys][channels]; head i has channels
 *   i HEAD .. (i + 1) HEAD - 1. HEAD_ROOM: HEAD rounded up to whole registers.
 *
 * attention_pack brings keys and values into the order of the register tile (tile_cpu.cl),
 * work-item (key / PANEL, head, n):
 *     packed_k[n][head][key / PANEL][channel][key % PANEL]     times scale / ln 2
 *     packed_v[n][head][channel / PANEL][key][PANEL], the last panel WIDTH wide where half
 *     of it would be empty
 *
 * attention: a work-group is one work-item and takes QUERIES queries of a head,
 *
 *     for each block of KEYS keys
 *         s[query][key] = q packed_k               depth HEAD
 *         s = 2^(s - top), total += sum of s       top: the running maximum of each row;
 *         o[query][HEAD] = o shrink + s v          when it rises, what is there shrinks
 *     y = o / total
 *
 * Blocks begin at fixed keys, so a row depends neither on the batch nor on other queries.
 * Keys that do not count are never multiplied. Up to KEYS keys are one block.
 * Cost: 4 HEAD operations and one power of 2 a score.
 */
#define B_SPACE __global
#include "common.cl"
#include "tile_cpu.cl"

#define HEAD_ROOM ((HEAD + WIDTH - 1) / WIDTH * WIDTH)
#define FULL      (HEAD_ROOM / PANEL) /* panels of values that are whole */

#if KEYS % PANEL
#error "a block of keys that is no whole number of panels runs into the next row of scores"
#endif

__kernel void attention_pack(__global float *packed_k, __global float *packed_v,
                             __global const x_type *k, __global const x_type *v, int keys,
                             int channels, float scale)
{
    int panel = get_global_id(0);
    int head = get_global_id(1);
    int panels = get_global_size(0);
    size_t n = get_global_id(2);
    size_t from = (n * keys + panel * PANEL) * channels + head * HEAD;
    size_t plane = n * get_global_size(1) + head;
    packed_k += (plane * panels + panel) * HEAD * PANEL;
    packed_v += plane * panels * PANEL * HEAD_ROOM;
    scale *= LOG2_E;
    for (int j = 0; j < PANEL; j++, from += channels) {
        int key = panel * PANEL + j;
        bool there = key < keys;
        for (int c = 0; c < HEAD; c++)
            packed_k[c * PANEL + j] = there ? LOAD_X(k, from + c) * scale : 0;
        for (int c = 0; c < HEAD_ROOM; c += 8) {
            int wide = c / PANEL < FULL ? PANEL : WIDTH;
            __global float *to = packed_v +
                                 (size_t)(c / PANEL) * PANEL * panels * PANEL +
                                 (size_t)key * wide + c % PANEL;
            vstore8(there ? load_some(v + from + c, HEAD - c) : (float8)(0), 0, to);
        }
    }
}

DEFINE_EXP2(exp2_wide, vector, AS_VECTOR, AS_INT)

/* 2^x for x up to 0. */
INLINE vector exp2_negative(vector x)
{
    x = HIGHER(x, (vector)(-126.0f));
    vector t = x + ROUNDER;
    return exp2_wide(t, x - (t - ROUNDER));
}

/* Makes one row of scores weights relative to *top, adds them to *total; both as they stand
 * after the keys before. Returns what earlier sums are to be multiplied with. `room`:
 * `count` rounded up to whole registers. */
INLINE float soften(__local float *s, int count, int room, float *top, float *total)
{
    for (int j = count; j < room; j++)
        s[j] = -1e30f;
    vector tops = (vector)(-1e30f);
    for (int j = 0; j < room; j += WIDTH)
        tops = HIGHER(tops, LOADV(s + j));
    float most = fmax(*top, HIGHEST(tops));
    vector sums = (vector)(0.0f);
    for (int j = 0; j < room; j += WIDTH) {
        vector weights = exp2_negative(LOADV(s + j) - most);
        STOREV(weights, s + j);
        sums += weights;
    }
    for (int j = count; j < room; j++)
        s[j] = 0;
    float shrink = *top > -1e29f ? exp2_negative((vector)(*top - most)).s0 : 0;
    *total = *total * shrink + TOTAL(sums);
    *top = most;
    return shrink;
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void attention(__global y_type *y, __global const x_type *q,
               __global const float *packed_k, __global const float *packed_v,
               __global const int *key_counts, int queries, int keys, int channels,
               int causal)
{
    __local float own[QUERIES * HEAD];
    __local float s[QUERIES * KEYS];
    __local float o[QUERIES * HEAD_ROOM];
    float top[QUERIES], total[QUERIES];
    int first = get_group_id(0) * QUERIES;
    int head = get_group_id(1);
    size_t n = get_group_id(2);
    int rows = min(QUERIES, queries - first);
    int tall = (rows + 11) / 12 * 12;
    int panels = (keys + PANEL - 1) / PANEL;
    size_t plane = n * get_num_groups(1) + head;
    packed_k += plane * panels * HEAD * PANEL;
    packed_v += plane * panels * PANEL * HEAD_ROOM;
    int count = key_counts ? clamp(key_counts[n], 0, keys) : keys;
    if (causal)
        count = min(count, first + rows);

    size_t at = (n * queries + first) * channels + head * HEAD;
    for (int r = 0; r < tall; r++) {
        top[r] = -1e30f;
        total[r] = 0;
        if (r < rows)
            copy(own + r * HEAD, q + at + (size_t)r * channels, HEAD);
        else
            clear(own + r * HEAD, HEAD);
    }

    for (int key = 0; key < count; key += KEYS) {
        int block = min(KEYS, count - key);
        int room = (block + PANEL - 1) / PANEL * PANEL;
        for (int j = 0; j < room; j += PANEL)
            for (int r = 0; r < tall; r += TALL)
                multiply(s + r * KEYS + j, KEYS, own + r * HEAD, HEAD,
                         packed_k + (size_t)(key + j) * HEAD, HEAD, 0);
        for (int r = 0; r < tall; r++) {
            int seen = causal ? clamp(first + r + 1 - key, 0, block) : block;
            float shrink = soften(s + r * KEYS, seen, room, &top[r], &total[r]);
            if (key > 0 && shrink != 1)
                for (int c = 0; c < HEAD_ROOM; c += WIDTH)
                    STOREV(LOADV(o + r * HEAD_ROOM + c) * shrink, o + r * HEAD_ROOM + c);
        }
        for (int p = 0; p < FULL; p++)
            for (int r = 0; r < tall; r += TALL)
                multiply(o + r * HEAD_ROOM + p * PANEL, HEAD_ROOM, s + r * KEYS, KEYS,
                         packed_v + ((size_t)p * panels * PANEL + key) * PANEL, block,
                         key > 0);
#if HEAD_ROOM % PANEL
        for (int r = 0; r < tall; r += 12)
            multiply_narrow(o + r * HEAD_ROOM + FULL * PANEL, HEAD_ROOM, s + r * KEYS,
                            KEYS, packed_v + (size_t)FULL * panels * PANEL * PANEL +
                                      (size_t)key * WIDTH, block, key > 0);
#endif
    }

    for (int r = 0; r < rows; r++) {
        float share = total[r] > 0 ? 1 / total[r] : 0;
        __global y_type *to = y + at + (size_t)r * channels;
        int c = 0;
        for (; c + 8 <= HEAD; c += 8)
            STORE8_Y(vload8(0, o + r * HEAD_ROOM + c) * share, to, c);
        for (; c < HEAD; c++)
            STORE_Y(o[r * HEAD_ROOM + c] * share, to, c);
    }
}
