/* Matrix instructions behind one face, chosen by -DMATRIX_*:
 *
 *   LANES               items of a sub-group; LANE(item), SUB(item): an item's place
 *   HIGH BROAD DEEP     one instruction: HIGH x BROAD sums over DEEP of k
 *   a_fragment load_a(a, pitch, lane)    from a[row][k / 2], pairs of k, `pitch` apart
 *   b_fragment load_b(b, pitch, lane)    from b[k / 2][column]
 *   sums multiply(sum, a, b, lane, scratch)
 *   put_sums(to, pitch, sum, lane)       to[row][column], floats
 *   sums load_rows(from, lane)           from[row] for every sum
 *
 * With -DEMULATED, multiply() is matrix_emulated.cl's: plain OpenCL C that knows by the
 * vendor's manual which value of a fragment each lane holds, so that all but the one
 * instruction runs on any device. It has barriers, so all items of a group call it alike.
 */
#ifdef EMULATED
#define UNROLL
#define SCRATCH(name, subs) __local float name[(subs) * (HIGH * DEEP + DEEP * BROAD)]
#else
#define UNROLL _Pragma("unroll")
#define SCRATCH(name, subs) __local float *name = 0
#endif
#define SUB_GROUP
#define LANE(item) ((item) % LANES)
#define SUB(item)  ((item) / LANES)

#ifdef MATRIX_NVIDIA
#include "matrix_nvidia.cl"
#endif
#ifdef MATRIX_INTEL
#include "matrix_intel.cl"
#endif
#if defined MATRIX_WMMA || defined MATRIX_MFMA
#include "matrix_amd.cl"
#endif
#ifdef EMULATED
#include "matrix_emulated.cl"
#endif
