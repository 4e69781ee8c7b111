/*
 * vec_avx512.c
 *		The kernels for 512-bit registers: AVX-512.
 */
#ifdef __x86_64__

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#pragma GCC target("avx2,fma,avx512f")

#define VEC_OPS vec_ops_avx512
#define VEC_TITLE "AVX-512"
#define W 16
#define MR 8
#define NV 3

#include "math/vec_template.h"

#endif
