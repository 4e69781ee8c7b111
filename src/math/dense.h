/*
 * dense.h
 *		Kernels of the learners over rows of small float32 matrices.
 *
 * What BLAS does not have, or is slow at for matrices of 16 to 512 columns;
 *		inner products and sums of rows are in vec.h.
 * Each kernel is written once, in dense_body.h, over vectors of 4, 8 or 16
 * floats, and compiled for plain x86-64 (or any other processor), AVX2 and
 * AVX-512; dense_init picks by what the processor has. Results of one
 * processor are the same bytes every time.
 */
#ifndef RECSYS_DENSE_H
#define RECSYS_DENSE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct DenseOps
{
	const char *name;
	/*
	 * s[j] = w[j] * exp(s[j] - max s), w may be NULL (all 1). Returns the
	 * sum; *max is the maximum of s before.
	 */
	float (*softmax)(float *s, const float *w, int n, float *max);
	/* entries of s that are > x, and that are == x before place at */
	int (*rank)(const float *s, int n, float x, int at);
	/* y *= a */
	void (*scale)(float a, float *y, int n);
	/*
	 * XT (d, ldx): XT[k, i] = H[rows[i], k] scale[k] weight[i], weight may be
	 * NULL; columns n .. ldx-1 become zero. d and ldx multiples of 16.
	 */
	void (*pack_columns)(const float *h, int ldh, const int32_t *rows, int n,
						 int d, const float *scale, const float *weight,
						 float *xt, int ldx);
	/* X (n, d): X[i, k] = H[rows[i], k] scale[k] weight[i] */
	void (*pack_rows)(const float *h, int ldh, const int32_t *rows, int n,
					  int d, const float *scale, const float *weight, float *x);
	/*
	 * Upper triangle of G (d, d) += X^T X, X (n, d), d a multiple of 16.
	 * Entries just below the diagonal may be written, too.
	 */
	void (*gram)(const float *x, int n, int d, float *g, int ldg);
	/*
	 * b (n) = A^-1 b for symmetric positive definite A, of which only the
	 * upper triangle is read. A is destroyed; lda > n, a multiple of 16, and
	 * what lies behind column n is finite; b has room for a multiple of 16.
	 * False when A is not positive definite.
	 */
	bool (*solve)(float *a, int n, int lda, float *b);
	/* w -= lr g / sqrt(a + eps) after a += g^2 */
	void (*adagrad)(float *w, float *a, const float *g, int n, float lr,
					float eps);
	/* Adam with the step size already corrected for bias */
	void (*adam)(float *w, float *m, float *v, const float *g, int n,
				 float step, float b1, float b2, float eps);
} DenseOps;

extern DenseOps dense;

/* what this processor has of levels 0 to 2, not above `level` unless it is -1 or
 * more than there is: then the best */
extern int dense_level(int level);
/* level 0: plain, 1: AVX2, 2: AVX-512, -1: the best; returns the level used */
extern int dense_init(int level);

#endif
