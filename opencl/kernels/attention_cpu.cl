/* Attention for CPUs: softmax(q k^T scale) v, flash form, scores never leave the cache
 *
 *   q, y [n][queries][channels], k, v [n][keys][channels]; head i has channels
 *   i HEAD .. (i + 1) HEAD - 1
 *
 * Everything is transposed: a register holds WIDTH queries of one key or channel. Heads of any
 * width then fill registers, and softmax works on each lane alone.
 *
 * A work-group is one work-item and takes QUERIES queries of a head, in panels of PANEL:
 *
 *     qt[channel][query] = q scale / ln 2
 *     for each block of KEYS keys, for each panel
 *         st[key][query] = k qt                depth HEAD
 *         st = 2^(st - top), total += st       top: the running maximum of each query; when
 *                                              it rises, what is there shrinks
 *         ot[channel][query] = ot shrink + v^T st
 *     y = ot^T / total
 *
 * attention_pack brings keys and values before that into the order they are read in, as
 * floats, work-item (key / 8, head, n):
 *     packed_k[n][head][key][HEAD_ROOM]        HEAD_ROOM: HEAD rounded up to eights
 *     packed_v[n][head][channel / 8][key][8]
 *
 * Blocks begin at fixed keys, so a row depends neither on the batch nor on other queries.
 * Keys that do not count are never multiplied. Up to KEYS keys are one block.
 * Cost: 4 HEAD operations and one power of 2 a score.
 */
#include "common.cl"
#include "vector_cpu.cl"

/* The register tile, c[TALL][PANEL] = c shrink + a[TALL][depth] b[depth][PANEL], is TALL x 3
 * registers of sums. Every sum has a name of its own: an array would be spilled to memory. */
#if WIDTH == 16
#define TALL 8
#define EACH_ROW(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7)
#else
#define TALL 4
#define EACH_ROW(DO) DO(0) DO(1) DO(2) DO(3)
#endif
#define PANEL     (3 * WIDTH)
#define HEAD_ROOM ((HEAD + 7) / 8 * 8)

#if KEYS % TALL || QUERIES % PANEL
#error "blocks are whole numbers of tiles"
#endif

/* a[row][k] lies at row a_row + k a_step. Without `more`, neither c nor shrink counts:
 * c = a b. */
INLINE void multiply(__local float *c, __global const float *a, int a_row, int a_step,
                     __local const float *b, int depth, __local const float *shrink,
                     int more)
{
#define BEGIN(r)                                                                         \
    vector left##r = more ? LOADV(c + r * PANEL) * shrink_left : (vector)(0.0f);         \
    vector middle##r =                                                                   \
        more ? LOADV(c + r * PANEL + WIDTH) * shrink_middle : (vector)(0.0f);            \
    vector right##r =                                                                    \
        more ? LOADV(c + r * PANEL + 2 * WIDTH) * shrink_right : (vector)(0.0f);
#define STEP(r)                                                                          \
    {                                                                                    \
        vector v = (vector)(a[r * a_row + k * a_step]);                                  \
        left##r = fma(v, b_left, left##r);                                               \
        middle##r = fma(v, b_middle, middle##r);                                         \
        right##r = fma(v, b_right, right##r);                                            \
    }
#define END(r)                                                                           \
    STOREV(left##r, c + r * PANEL);                                                      \
    STOREV(middle##r, c + r * PANEL + WIDTH);                                            \
    STOREV(right##r, c + r * PANEL + 2 * WIDTH);
    vector shrink_left = LOADV(shrink), shrink_middle = LOADV(shrink + WIDTH),
           shrink_right = LOADV(shrink + 2 * WIDTH);
    EACH_ROW(BEGIN)
#pragma unroll 4
    for (int k = 0; k < depth; k++) {
        vector b_left = LOADV(b + k * PANEL), b_middle = LOADV(b + k * PANEL + WIDTH),
               b_right = LOADV(b + k * PANEL + 2 * WIDTH);
        EACH_ROW(STEP)
    }
    EACH_ROW(END)
#undef BEGIN
#undef STEP
#undef END
}

/* Rows to columns, of eight times eight values. Each stage moves one bit of a row's number
 * into the lowest place. */
INLINE void transpose8(float8 *rows)
{
    float8 t[8], u[8];
#pragma unroll
    for (int i = 0; i < 4; i++) {
        t[i] = (float8)(rows[2 * i].even, rows[2 * i + 1].even);
        t[i + 4] = (float8)(rows[2 * i].odd, rows[2 * i + 1].odd);
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
        u[i] = (float8)(t[2 * i].even, t[2 * i + 1].even);
        u[i + 4] = (float8)(t[2 * i].odd, t[2 * i + 1].odd);
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
        rows[i] = (float8)(u[2 * i].even, u[2 * i + 1].even);
        rows[i + 4] = (float8)(u[2 * i].odd, u[2 * i + 1].odd);
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

/* Makes the scores of WIDTH queries weights relative to *top, adds them to *total; both as
 * they stand after the keys before. *shrink: what earlier sums are to be multiplied with. */
INLINE void soften(__local float *s, int count, int room, __local float *top,
                   __local float *total, __local float *shrink)
{
    vector before = LOADV(top), a = before, b = before, c = before, d = before;
    for (int k = count; k < room; k++)
        STOREV((vector)(-1e30f), s + k * PANEL);
    for (int k = 0; k < room; k += 4) {
        a = HIGHER(a, LOADV(s + k * PANEL));
        b = HIGHER(b, LOADV(s + k * PANEL + PANEL));
        c = HIGHER(c, LOADV(s + k * PANEL + 2 * PANEL));
        d = HIGHER(d, LOADV(s + k * PANEL + 3 * PANEL));
    }
    a = HIGHER(a, b);
    c = HIGHER(c, d);
    vector most = HIGHER(a, c);
    vector less = exp2_negative(before - most), sum = (vector)(0.0f);
#pragma unroll 2
    for (int k = 0; k < count; k++) {
        vector weight = exp2_negative(LOADV(s + k * PANEL) - most);
        STOREV(weight, s + k * PANEL);
        sum += weight;
    }
    STOREV(LOADV(total) * less + sum, total);
    STOREV(most, top);
    STOREV(less, shrink);
}

/* Sets the scores of keys after a query's own. `key` and `query` are the first ones of s. */
INLINE void mask(__local float *s, int count, int key, int query, float value)
{
    for (int k = max(query + 1 - key, 0); k < count; k++)
        for (int i = 0; i < min(key + k - query, PANEL); i++)
            s[k * PANEL + i] = value;
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void attention_pack(__global float *packed_k, __global float *packed_v,
                    __global const x_type *k, __global const x_type *v, int keys,
                    int channels)
{
    int first = get_global_id(0) * 8;
    int key_room = get_global_size(0) * 8;
    size_t plane = get_global_id(2) * get_global_size(1) + get_global_id(1);
    size_t from = (get_global_id(2) * keys + first) * channels + get_global_id(1) * HEAD;
    packed_k += (plane * key_room + first) * HEAD_ROOM;
    packed_v += plane * key_room * HEAD_ROOM + first * 8;
    for (int i = 0; i < min(8, keys - first); i++, from += channels)
        for (int c = 0; c < HEAD; c += 8) {
            vstore8(load_some(k + from + c, HEAD - c), 0, packed_k + i * HEAD_ROOM + c);
            vstore8(load_some(v + from + c, HEAD - c), 0, packed_v + c * key_room + i * 8);
        }
}

/* A panel of queries, columns of qt; zeros from `rows` on. */
INLINE void load_panel(__local float *qt, __global const x_type *q, int channels, int rows,
                       float scale)
{
    for (int i = 0; i < PANEL; i += 8)
        for (int c = 0; c < HEAD; c += 8) {
            float8 block[8];
#pragma unroll
            for (int j = 0; j < 8; j++)
                block[j] = load_some(q + (size_t)(i + j) * channels + c,
                                     i + j < rows ? HEAD - c : 0) *
                           scale;
            transpose8(block);
#pragma unroll
            for (int j = 0; j < 8; j++)
                vstore8(block[j], 0, qt + (c + j) * PANEL + i);
        }
}

/* y = ot / total, zeros where no key counted. */
INLINE void store_panel(__global y_type *y, __local const float *ot,
                        __local const float *total, int channels, int rows)
{
    for (int i = 0; i < min(PANEL, rows); i += 8) {
        float8 all = vload8(0, total + i), share = 1 / all;
        for (int c = 0; c < HEAD; c += 8) {
            float8 block[8];
#pragma unroll
            for (int j = 0; j < 8; j++) {
                float8 value = vload8(0, ot + (c + j) * PANEL + i) * share;
                block[j] = all > 0 ? value : 0;
            }
            transpose8(block);
#pragma unroll
            for (int j = 0; j < 8; j++)
                if (i + j < rows)
                    store_some(block[j], y + (size_t)(i + j) * channels + c, HEAD - c);
        }
    }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void attention(__global y_type *y, __global const x_type *q,
               __global const float *packed_k, __global const float *packed_v,
               __global const int *key_counts, int queries, int keys, int channels,
               int causal, float scale)
{
    __local float qt[QUERIES * HEAD_ROOM];
    __local float ot[QUERIES * HEAD_ROOM];
    __local float st[KEYS * PANEL];
    __local float top[QUERIES], total[QUERIES], shrink[PANEL];
    int first = get_group_id(0) * QUERIES;
    int head = get_group_id(1);
    size_t n = get_group_id(2);
    int rows = min(QUERIES, queries - first);
    int key_room = (keys + 7) / 8 * 8;
    int count = key_counts ? clamp(key_counts[n], 0, keys) : keys;
    if (causal)
        count = min(count, first + rows);
    packed_k += (n * get_num_groups(1) + head) * key_room * HEAD_ROOM;
    packed_v += (n * get_num_groups(1) + head) * key_room * HEAD_ROOM;
    q += (n * queries + first) * channels + head * HEAD;
    y += (n * queries + first) * channels + head * HEAD;

    for (int r = 0; r < rows; r += PANEL)
        load_panel(qt + r * HEAD_ROOM, q + (size_t)r * channels, channels, rows - r,
                   scale * LOG2_E);
    for (int r = 0; r < QUERIES; r += WIDTH) {
        STOREV((vector)(-1e30f), top + r);
        STOREV((vector)(0.0f), total + r);
    }

    for (int key = 0; key < count; key += KEYS) {
        int block = min(KEYS, count - key);
        int room = (block + TALL - 1) / TALL * TALL;
        __global const float *k = packed_k + key * HEAD_ROOM, *v = packed_v + key * 8;
        for (int r = 0; r < rows; r += PANEL) {
            for (int j = 0; j < room; j += TALL)
                multiply(st + j * PANEL, k + j * HEAD_ROOM, HEAD_ROOM, 1,
                         qt + r * HEAD_ROOM, HEAD, shrink, 0);
            if (causal)
                mask(st, block, key, first + r, -1e30f);
            for (int i = 0; i < PANEL; i += WIDTH)
                soften(st + i, block, room, top + r + i, total + r + i, shrink + i);
            if (causal)
                mask(st, block, key, first + r, 0);
            for (int c = 0; c < HEAD_ROOM; c += TALL)
                multiply(ot + r * HEAD_ROOM + c * PANEL, v + c / 8 * 8 * key_room + c % 8,
                         1, 8, st, block, shrink, key > 0);
        }
    }

    for (int r = 0; r < rows; r += PANEL)
        store_panel(y + (size_t)r * channels, ot + r * HEAD_ROOM, total + r, channels,
                    rows - r);
}
