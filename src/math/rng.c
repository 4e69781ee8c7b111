/*
 * rng.c
 *		xoshiro256++, uniforms, normals, gammas, permutations.
 */
#include "math/rng.h"

#include <math.h>

static uint64_t
rotl(uint64_t x, int k)
{
	return (x << k) | (x >> (64 - k));
}

static uint64_t
splitmix(uint64_t *x)
{
	uint64_t z = (*x += 0x9e3779b97f4a7c15ULL);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

void
rng_init(Rng *rng, uint64_t seed, uint64_t stream)
{
	uint64_t x = seed;
	uint64_t y;

	/* mix the stream in after one round, so that (1, 0) and (0, 1) differ */
	y = splitmix(&x) ^ stream;
	for (int i = 0; i < 4; i++)
		rng->s[i] = splitmix(&y);
	rng->spare = NAN;
}

uint64_t
rng_next(Rng *rng)
{
	uint64_t *s = rng->s;
	uint64_t result = rotl(s[0] + s[3], 23) + s[0];
	uint64_t t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotl(s[3], 45);
	return result;
}

uint64_t
rng_below(Rng *rng, uint64_t n)
{
	/* Lemire 2019: multiply, and reject the few biased low words */
	__uint128_t m = (__uint128_t) rng_next(rng) * n;
	uint64_t low = (uint64_t) m;

	if (low < n)
	{
		uint64_t floor = -n % n;

		while (low < floor)
		{
			m = (__uint128_t) rng_next(rng) * n;
			low = (uint64_t) m;
		}
	}
	return (uint64_t) (m >> 64);
}

double
rng_uniform(Rng *rng)
{
	return (double) (rng_next(rng) >> 11) * 0x1.0p-53;
}

double
rng_normal(Rng *rng)
{
	double u;
	double v;
	double s;

	if (!isnan(rng->spare))
	{
		u = rng->spare;
		rng->spare = NAN;
		return u;
	}
	/* Marsaglia's polar method */
	do
	{
		u = 2 * rng_uniform(rng) - 1;
		v = 2 * rng_uniform(rng) - 1;
		s = u * u + v * v;
	} while (s >= 1 || s == 0);
	s = sqrt(-2 * log(s) / s);
	rng->spare = v * s;
	return u * s;
}

double
rng_gamma(Rng *rng, double shape)
{
	double boost = 1;
	double d;
	double c;

	/* Marsaglia, Tsang 2000; shapes below 1 by the power of a uniform */
	if (shape < 1)
	{
		boost = pow(1 - rng_uniform(rng), 1 / shape);
		shape += 1;
	}
	d = shape - 1.0 / 3;
	c = 1 / sqrt(9 * d);
	for (;;)
	{
		double x = rng_normal(rng);
		double v = 1 + c * x;

		if (v <= 0)
			continue;
		v = v * v * v;
		if (log(1 - rng_uniform(rng)) < 0.5 * x * x + d - d * v + d * log(v))
			return boost * d * v;
	}
}

void
rng_permutation(Rng *rng, int64_t *perm, int64_t n)
{
	for (int64_t i = 0; i < n; i++)
	{
		int64_t j = (int64_t) rng_below(rng, (uint64_t) i + 1);

		perm[i] = perm[j];
		perm[j] = i;
	}
}
