/* Where the rows of a product's A stand in x: shared by the kernels that go through local
 * memory.
 *
 * Row r = (n, oy, ox) of A holds x's size x size neighbourhood, enlarged to up_h x up_w (the
 * nearest pixel, zeros around), at (oy, ox) stride - pad; along it k = (dy size + dx) in +
 * channel. An item finds the places of its rows once and walks along k without dividing.
 * up_h xh and up_w xw fit in an int.
 */
struct geometry {
    int h, w, in, xh, xw, up_h, up_w, size, stride, pad;
};

/* Where a row begins: its picture and the upper left corner of its neighbourhood. */
struct place {
    size_t picture;
    int top, left;
    int valid;
};

/* Where an item stands along k. */
struct walk {
    int k, dy, dx, channel;
};

INLINE struct place place_of(struct geometry g, int row, int rows)
{
    struct place p;
    p.valid = row < rows;
    p.picture = (size_t)(row / (g.h * g.w)) * g.xh * g.xw * g.in;
    p.top = row / g.w % g.h * g.stride - g.pad;
    p.left = row % g.w * g.stride - g.pad;
    return p;
}

INLINE struct walk walk_from(struct geometry g, int k)
{
    int tap = k / g.in;
    struct walk walk = {k, tap / g.size, tap % g.size, k % g.in};
    return walk;
}

INLINE struct walk walk_on(struct walk walk, struct geometry g, int step)
{
    walk.k += step;
    walk.channel += step;
    while (walk.channel >= g.in) {
        walk.channel -= g.in;
        if (++walk.dx == g.size) {
            walk.dx = 0;
            walk.dy++;
        }
    }
    return walk;
}

/* The index in x of channel 0 of tap (dy, dx); -1: outside, zero. */
INLINE long pixel_of(struct geometry g, struct place p, int dy, int dx)
{
    int sy = p.top + dy, sx = p.left + dx;
    if (!p.valid || sy < 0 || sy >= g.up_h || sx < 0 || sx >= g.up_w)
        return -1;
    if (g.up_h != g.xh || g.up_w != g.xw) {
        sy = sy * g.xh / g.up_h;
        sx = sx * g.xw / g.up_w;
    }
    return (long)p.picture + ((long)sy * g.xw + sx) * g.in;
}

/* The index in x of the value at k, which lies below size^2 in; -1: outside, zero. */
INLINE long value_of(struct geometry g, struct place p, int k)
{
    int tap = k / g.in;
    long pixel = pixel_of(g, p, tap / g.size, tap % g.size);
    return pixel < 0 ? -1 : pixel + k % g.in;
}
