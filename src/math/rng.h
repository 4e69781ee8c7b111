/*
 * rng.h
 *		Seeded random numbers, the same on every machine.
 *
 * xoshiro256++ (Blackman, Vigna 2019) seeded by splitmix64. A stream is
 * named by (seed, stream), so that row r of a matrix or worker w can have a
 * stream of its own and results do not depend on who computes them.
 */
#ifndef RECSYS_RNG_H
#define RECSYS_RNG_H

#include <stdint.h>

typedef struct Rng
{
	uint64_t s[4];
	double spare; /* second normal of a pair, NaN when there is none */
} Rng;

extern void rng_init(Rng *rng, uint64_t seed, uint64_t stream);
extern uint64_t rng_next(Rng *rng);
extern uint64_t rng_below(Rng *rng, uint64_t n); /* 0 .. n-1, unbiased */
extern double rng_uniform(Rng *rng);             /* [0, 1), 53 bits */
extern double rng_normal(Rng *rng);              /* mean 0, variance 1 */
extern double rng_gamma(Rng *rng, double shape); /* scale 1, shape > 0 */
/* Fisher-Yates of 0 .. n-1 into perm (n) */
extern void rng_permutation(Rng *rng, int64_t *perm, int64_t n);

#endif
