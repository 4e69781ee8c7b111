/*
 * vec.h
 *		Kernels over float32 vectors, by run-time dispatch.
 *
 * Every kernel exists as plain C (vec_scalar.c, the reference), AVX2+FMA and
 * AVX-512; the first call picks the widest that the processor has. Sums are
 * in float32 with several accumulators; results of two variants differ by at
 * most (n + 8) * FLT_EPSILON * sum of |terms|.
 */
#ifndef RECSYS_VEC_H
#define RECSYS_VEC_H

#include <stddef.h>
#include <stdint.h>

/* a, b (n) */
extern float vec_dot(const float *a, const float *b, int n);
extern float vec_l2_squared(const float *a, const float *b, int n);
extern float vec_l1(const float *a, const float *b, int n);
/* *ab = a.b, *aa = a.a, *bb = b.b */
extern void vec_cosine_sums(const float *a, const float *b, int n, float *ab,
							float *aa, float *bb);

#endif
