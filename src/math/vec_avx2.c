/*
 * vec_avx2.c
 *		The kernels for 256-bit registers: AVX2 and FMA.
 */
#ifdef __x86_64__

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#pragma GCC target("avx2,fma")

#define VEC_OPS vec_ops_avx2
#define VEC_TITLE "AVX2"
#define W 8
#define MR 4
#define NV 3

#include "math/vec_template.h"

#endif
