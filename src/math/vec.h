/*
 * vec.h
 *		Kernels over float32 vectors, by run-time dispatch.
 *
 * Every kernel exists as plain C (vec_scalar.c, the reference) and for
 * vectors of 128 bits (what every x86-64 and every 64-bit ARM has), AVX2+FMA
 * and AVX-512, all from one source (vec_template.h). The widest that the
 * processor has is chosen when the library is loaded.
 *
 * Sums are in float32 with several accumulators. Two variants of a sum of n
 * terms differ by at most (n + 8) * FLT_EPSILON * (sum of |terms|). NaN and
 * infinite coordinates follow IEEE arithmetic. Denormals count in full.
 * Nothing need be aligned. Arguments n, dim, n_rows, nq, nr may be 0.
 */
#ifndef RECSYS_VEC_H
#define RECSYS_VEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct VecOps
{
	const char *name;
	float (*dot)(const float *a, const float *b, int n);
	float (*l2_squared)(const float *a, const float *b, int n);
	float (*l1)(const float *a, const float *b, int n);
	void (*cosine_sums)(const float *a, const float *b, int n, float *ab,
						float *aa, float *bb);
	void (*dot_many)(const float *q, const float *rows, int n_rows, int dim,
					 int stride, float *out);
	void (*gemm_nt)(const float *q, int nq, int ldq, const float *rows, int nr,
					int ldr, int dim, float *out, int ldo);
	float (*exp_sum)(const float *x, int n, float max, float *out);
	void (*axpy)(float alpha, const float *x, float *y, int n);
	double (*dot_double)(const float *a, const float *b, int n);
	double (*squares_double)(const float *a, int n);
} VecOps;

extern VecOps vec_ops;

/* sum of a[i] * b[i]; a, b (n) */
static inline float
vec_dot(const float *a, const float *b, int n)
{
	return vec_ops.dot(a, b, n);
}

/* sum of (a[i] - b[i])^2 */
static inline float
vec_l2_squared(const float *a, const float *b, int n)
{
	return vec_ops.l2_squared(a, b, n);
}

/* sum of |a[i] - b[i]| */
static inline float
vec_l1(const float *a, const float *b, int n)
{
	return vec_ops.l1(a, b, n);
}

/* *ab = a.b, *aa = a.a, *bb = b.b in one pass */
static inline void
vec_cosine_sums(const float *a, const float *b, int n, float *ab, float *aa,
				float *bb)
{
	vec_ops.cosine_sums(a, b, n, ab, aa, bb);
}

/*
 * out[r] = q . rows[r], one query against n_rows rows that lie stride
 * floats apart (stride >= dim): at the speed of memory.
 */
static inline void
vec_dot_many(const float *q, const float *rows, int n_rows, int dim, int stride,
			 float *out)
{
	vec_ops.dot_many(q, rows, n_rows, dim, stride, out);
}

/*
 * out (nq, ldo): out[i][j] = q[i] . rows[j], queries (nq, ldq) against rows
 * (nr, ldr). Uses about 100 kB of stack and cannot be interrupted: cut
 * larger products into blocks of some GFLOP at most.
 */
static inline void
vec_gemm_nt(const float *q, int nq, int ldq, const float *rows, int nr, int ldr,
			int dim, float *out, int ldo)
{
	vec_ops.gemm_nt(q, nq, ldq, rows, nr, ldr, dim, out, ldo);
}

/*
 * out[i] = exp(x[i] - max); returns the sum of out. The relative error of an
 * element is at most 3e-7 for x[i] - max in -86.9 .. 88.7. Below it is 0,
 * above Infinity, and NaN stays NaN. out may be x.
 */
static inline float
vec_exp_sum(const float *x, int n, float max, float *out)
{
	return vec_ops.exp_sum(x, n, max, out);
}

/* out[i] = exp(x[i]), as above */
static inline void
vec_exp(const float *x, int n, float *out)
{
	(void) vec_ops.exp_sum(x, n, 0, out);
}

/* y[i] += alpha * x[i] */
static inline void
vec_axpy(float alpha, const float *x, float *y, int n)
{
	vec_ops.axpy(alpha, x, y, n);
}

/* sum of a[i] * b[i] in float64: never overflows for finite floats */
static inline double
vec_dot_double(const float *a, const float *b, int n)
{
	return vec_ops.dot_double(a, b, n);
}

/* sum of a[i]^2, likewise */
static inline double
vec_squares_double(const float *a, int n)
{
	return vec_ops.squares_double(a, n);
}

/* y[i] = a[i] op b[i]; not dispatched, memory decides (vec_arith.c) */
extern void vec_add(const float *a, const float *b, float *y, int n);
extern void vec_sub(const float *a, const float *b, float *y, int n);
/* true when a product of nonzero numbers became 0 */
extern bool vec_mul(const float *a, const float *b, float *y, int n);
/* the first i with a[i] != b[i], else n; -0 equals 0 */
extern int vec_first_difference(const float *a, const float *b, int n);
/* bits of x > 0, eight to a byte, the first coordinate highest; (n+7)/8 */
extern void vec_sign_bits(const float *x, int n, uint8_t *bits);

/*
 * The variants that this processor can run, the reference first; returns
 * their number. For tests and measurements.
 */
#define VEC_MAX_VARIANTS 4
extern int vec_variants(const VecOps *list[VEC_MAX_VARIANTS]);

/* the variants themselves: call none that vec_variants does not list */
extern const VecOps vec_ops_scalar;
extern const VecOps vec_ops_128;
#ifdef __x86_64__
extern const VecOps vec_ops_avx2;
extern const VecOps vec_ops_avx512;
#endif

#endif
