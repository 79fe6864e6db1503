/* Which tile of y a group takes, of `high` rows of tiles. Groups begin about in the order of
 * their numbers, and those that run at one time share what they read through the device's
 * cache: with a band of all rows they share columns of W, with a narrow one rows of A too.
 *
 *     band 2, 5 high:   0  2  4
 *                       1  3  5
 *                       6  8 10
 *                       7  9 11
 *                      12 13 14
 */
struct tile {
    int row, column;
};

INLINE struct tile tile_of_group(int high, int band)
{
    int group = get_group_id(0), wide = (int)get_num_groups(0) / high;
    int first = group / (band * wide) * band, within = group - first * wide;
    int tall = min(band, high - first);
    struct tile tile = {first + within % tall, within / tall};
    return tile;
}
