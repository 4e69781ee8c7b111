/*
 * vec_128.c
 *		The kernels for 128-bit registers, the baseline: SSE2 or NEON.
 */
#define VEC_OPS vec_ops_128
#define VEC_TITLE "128 bits"
#define W 4
#define MR 4
#define NV 3

#include "math/vec_template.h"
