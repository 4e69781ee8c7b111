/*
 * gibbs_kernels.h
 *		The Gibbs sampler's inner loops, for the processor at hand: small dense
 *		systems, sixteen at a time, and products with sparse features.
 *
 * The sampler solves a system of some ten to sixty unknowns for each user and
 * item. Sixteen of them lie interleaved, one in each lane: element (i, j) of
 * all sixteen lower triangles is x[lanes_at(i, j)]. Every operation then is
 * one on vectors, without shuffles.
 *
 *	x[0] = (0,0) of lanes 0..15 | x[1] = (1,0) | x[2] = (1,1) | x[3] = (2,0) ...
 */
#ifndef RECSYS_GIBBS_KERNELS_H
#define RECSYS_GIBBS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LANES 16

typedef struct Lanes
{
	float of[LANES];
} __attribute__((aligned(4 * LANES))) Lanes;

static inline size_t
lanes_at(int i, int j)
{
	return (size_t) i * (size_t) (i + 1) / 2 + (size_t) j;
}

static inline size_t
lanes_triangle(int d)
{
	return (size_t) d * (size_t) (d + 1) / 2;
}

struct GibbsSide;
struct GibbsBlock;

/* matrices are lower triangles, vectors of lanes have d elements */
typedef struct GibbsOps
{
	/* x = L L^T in place; pivots that are not positive give zero columns */
	void (*cholesky)(int d, Lanes *x);
	/* b = L^-1 b and b = L^-T b */
	void (*solve_lower)(int d, const Lanes *l, Lanes *b);
	void (*solve_upper)(int d, const Lanes *l, Lanes *b);
	/* out = (L L^T)^-1; scratch: a triangle */
	void (*inverse)(int d, const Lanes *l, Lanes *out, Lanes *scratch);
	/* y = S x for a symmetric S */
	void (*symmetric_times)(int d, const Lanes *s, const Lanes *x, Lanes *y);
	/* y += L x */
	void (*add_lower_times)(int d, const Lanes *l, const Lanes *x, Lanes *y);
	/*
	 * out (to - from, w) = X b for rows [from, to) of a side and vectors b (w)
	 * of its columns; w is 8 or a multiple of 16
	 */
	void (*rows)(const struct GibbsSide *s, int32_t from, int32_t to,
				 const float *b, int w, float *out);
	/*
	 * out (to - from, w) = X^T y for columns [from, to) of a block and vectors
	 * y (w) of the rows; the values of X squared if that is asked
	 */
	void (*columns)(const struct GibbsBlock *x, int32_t from, int32_t to,
					const float *y, int w, bool squared, float *out);
} GibbsOps;

extern GibbsOps gibbs_ops;

/* levels as of dense_init; the best is chosen at load */
extern int gibbs_kernels_init(int level);

#endif
