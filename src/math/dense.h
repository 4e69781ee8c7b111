/*
 * dense.h
 *		Kernels of the learners over rows of small float32 matrices.
 *
 * What BLAS does not have, or is slow at for matrices of 16 to 512 columns.
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
	float (*dot)(const float *a, const float *b, int n);
	/* y += a x */
	void (*axpy)(float a, const float *x, float *y, int n);
	/* y *= a */
	void (*scale)(float a, float *y, int n);
	/*
	 * Lower triangle of G (d, d) += X^T X, X (n, d). In G also entries above
	 * the diagonal may be written. d a multiple of 16.
	 */
	void (*gram)(const float *x, int n, int d, float *g, int ldg);
	/* lower triangle of K (n, n) = X X^T; ldk >= n rounded up to 16 */
	void (*outer)(const float *x, int n, int d, float *k, int ldk);
	/*
	 * A (n, n) = L L^T, lower triangle in place; lda a multiple of 16 and
	 * >= n. False when A is not positive definite.
	 */
	bool (*cholesky)(float *a, int n, int lda);
	/* b = (L L^T)^-1 b */
	void (*solve)(const float *l, int n, int lda, float *b);
	/* w -= lr g / sqrt(a + eps) after a += g^2 */
	void (*adagrad)(float *w, float *a, const float *g, int n, float lr,
					float eps);
	/* Adam with the step size already corrected for bias */
	void (*adam)(float *w, float *m, float *v, const float *g, int n,
				 float step, float b1, float b2, float eps);
} DenseOps;

extern DenseOps dense;

/* level 0: plain, 1: AVX2, 2: AVX-512, -1: the best; returns the level used */
extern int dense_init(int level);

#endif
