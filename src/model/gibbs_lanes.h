/*
 * gibbs_lanes.h
 *		Small dense systems, sixteen at a time, and many normal numbers.
 *
 * The Gibbs sampler solves a system of some ten to sixty unknowns for each
 * user and item. Sixteen of them lie interleaved, one in each lane: element
 * (i, j) of all sixteen lower triangles is one vector, x[lanes_at(i, j)].
 * Every operation then is a vector operation without shuffles.
 *
 *	x[0] = (0,0) of lanes 0..15 | x[1] = (1,0) | x[2] = (1,1) | x[3] = (2,0) ...
 */
#ifndef RECSYS_GIBBS_LANES_H
#define RECSYS_GIBBS_LANES_H

#include <stddef.h>
#include <stdint.h>

#define LANES 16

typedef float Lanes __attribute__((vector_size(4 * LANES)));

/* code for the processors at hand; the loader picks */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define MODEL_CLONES                                                           \
	__attribute__((                                                            \
		target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define MODEL_CLONES
#endif

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

/* x = L L^T in place; pivots that are not positive give zero columns */
extern void lanes_cholesky(int d, Lanes *x);
/* b = L^-1 b and b = L^-T b */
extern void lanes_solve_lower(int d, const Lanes *l, Lanes *b);
extern void lanes_solve_upper(int d, const Lanes *l, Lanes *b);
/* out = (L L^T)^-1, lower triangle; scratch: a triangle */
extern void lanes_inverse(int d, const Lanes *l, Lanes *out, Lanes *scratch);
/* y = S x for a symmetric S given by its lower triangle */
extern void lanes_symmetric_times(int d, const Lanes *s, const Lanes *x,
								  Lanes *y);
/* y += L x */
extern void lanes_add_lower_times(int d, const Lanes *l, const Lanes *x,
								  Lanes *y);

/* standard normals by inversion of hashed counters: stream names the row */
extern void lanes_normals(uint64_t seed, uint64_t stream, float *out, int n);

#endif
