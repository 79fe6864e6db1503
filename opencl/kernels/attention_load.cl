/* How attention_matrix.cl brings k and v to local memory: through registers, so that a block is
 * on its way while another is multiplied, as pairs of what is summed over.
 *
 * k becomes b[DEPTH / 2][K_ROW], pairs of channels: a row's eight values are four pairs, which
 * go to four rows of b. v becomes b[KEYS / 2][V_ROW], pairs of keys: two rows are interleaved.
 */
#define K_CHUNKS UP(KEYS * DEPTH / CHUNK, ITEMS) /* an item loads */
#define V_CHUNKS UP(KEYS / 2 * WIDTH / CHUNK, ITEMS)

/* Eight values of a row; zeros beyond the rows that count and the head. */
INLINE uint4 fetch(__global const x_type *from, int row, int rows, int channel, int channels)
{
    return row < rows && channel < HEAD
               ? *(__global const uint4 *)(from + (size_t)row * channels + channel)
               : (uint4)(0);
}

/* Rows of k: neighbours take neighbouring keys, since they write pairs side by side. */
INLINE void fetch_keys(uint4 own[K_CHUNKS], __global const x_type *k, int rows, int channels,
                       int item)
{
    UNROLL
    for (int i = 0; i < K_CHUNKS; i++) {
        int chunk = item + i * ITEMS;
        own[i] = fetch(k, chunk % KEYS, rows, chunk / KEYS * CHUNK, channels);
    }
}

INLINE void store_keys(__local uint *b, uint4 own[K_CHUNKS], int item)
{
    UNROLL
    for (int i = 0; i < K_CHUNKS; i++) {
        int chunk = item + i * ITEMS;
        __local uint *to = b + chunk / KEYS * (CHUNK / 2) * K_ROW + chunk % KEYS;
        if (chunk >= KEYS * DEPTH / CHUNK)
            break;
        to[0] = own[i].x;
        to[K_ROW] = own[i].y;
        to[2 * K_ROW] = own[i].z;
        to[3 * K_ROW] = own[i].w;
    }
}

/* Two rows of v at a time. */
INLINE void fetch_values(uint4 own[V_CHUNKS][2], __global const x_type *v, int rows,
                         int channels, int item)
{
    UNROLL
    for (int i = 0; i < V_CHUNKS; i++) {
        int chunk = item + i * ITEMS;
        int row = chunk / (WIDTH / CHUNK) * 2, channel = chunk % (WIDTH / CHUNK) * CHUNK;
        own[i][0] = fetch(v, row, rows, channel, channels);
        own[i][1] = fetch(v, row + 1, rows, channel, channels);
    }
}

INLINE void store_values(__local uint *b, uint4 own[V_CHUNKS][2], int item)
{
    UNROLL
    for (int i = 0; i < V_CHUNKS; i++) {
        int chunk = item + i * ITEMS;
        uint4 even = own[i][0], odd = own[i][1];
        __local uint4 *to = (__local uint4 *)(b + chunk / (WIDTH / CHUNK) * V_ROW +
                                              chunk % (WIDTH / CHUNK) * CHUNK);
        if (chunk >= KEYS / 2 * WIDTH / CHUNK)
            break;
        uint4 low = (even & 0xffff) | odd << 16, high = even >> 16 | (odd & 0xffff0000);
        to[0] = (uint4)(low.x, high.x, low.y, high.y);
        to[1] = (uint4)(low.z, high.z, low.w, high.w);
    }
}
