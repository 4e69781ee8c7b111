/*
 * gibbs_lanes.c
 *		Small dense systems, sixteen at a time, and many normal numbers.
 */
#include "model/gibbs_lanes.h"

#include <math.h>
#include <string.h>

MODEL_CLONES void
lanes_cholesky(int d, Lanes *x)
{
	for (int j = 0; j < d; j++)
	{
		Lanes *row_j = x + lanes_at(j, 0);
		Lanes pivot = row_j[j];
		Lanes inverse;

		for (int k = 0; k < j; k++)
			pivot -= row_j[k] * row_j[k];
		for (int l = 0; l < LANES; l++)
		{
			float root = sqrtf(pivot[l] > 0 ? pivot[l] : 0);

			pivot[l] = root;
			inverse[l] = root > 1e-10f ? 1 / root : 0;
		}
		row_j[j] = pivot;
		for (int i = j + 1; i < d; i++)
		{
			Lanes *row_i = x + lanes_at(i, 0);
			Lanes s = row_i[j];

			for (int k = 0; k < j; k++)
				s -= row_i[k] * row_j[k];
			row_i[j] = s * inverse;
		}
	}
}

MODEL_CLONES void
lanes_solve_lower(int d, const Lanes *l, Lanes *b)
{
	for (int i = 0; i < d; i++)
	{
		const Lanes *row = l + lanes_at(i, 0);
		Lanes s = b[i];

		for (int k = 0; k < i; k++)
			s -= row[k] * b[k];
		b[i] = s / row[i];
	}
}

MODEL_CLONES void
lanes_solve_upper(int d, const Lanes *l, Lanes *b)
{
	for (int i = d - 1; i >= 0; i--)
	{
		const Lanes *row = l + lanes_at(i, 0);
		Lanes x = b[i] / row[i];

		b[i] = x;
		for (int k = 0; k < i; k++)
			b[k] -= row[k] * x;
	}
}

MODEL_CLONES void
lanes_inverse(int d, const Lanes *l, Lanes *out, Lanes *scratch)
{
	/* scratch = L^-1, row by row */
	for (int i = 0; i < d; i++)
	{
		const Lanes *row = l + lanes_at(i, 0);
		Lanes *to = scratch + lanes_at(i, 0);
		Lanes one = {0};

		one += 1;
		one /= row[i];
		for (int j = 0; j < i; j++)
		{
			Lanes s = row[j] * scratch[lanes_at(j, j)];

			for (int k = j + 1; k < i; k++)
				s += row[k] * scratch[lanes_at(k, j)];
			to[j] = -s * one;
		}
		to[i] = one;
	}
	/* out = L^-T L^-1 */
	memset(out, 0, lanes_triangle(d) * sizeof(Lanes));
	for (int k = 0; k < d; k++)
	{
		const Lanes *row = scratch + lanes_at(k, 0);

		for (int i = 0; i <= k; i++)
		{
			Lanes *to = out + lanes_at(i, 0);

			for (int j = 0; j <= i; j++)
				to[j] += row[i] * row[j];
		}
	}
}

MODEL_CLONES void
lanes_symmetric_times(int d, const Lanes *s, const Lanes *x, Lanes *y)
{
	for (int i = 0; i < d; i++)
	{
		const Lanes *row = s + lanes_at(i, 0);
		Lanes sum = row[i] * x[i];

		for (int j = 0; j < i; j++)
		{
			sum += row[j] * x[j];
			y[j] += row[j] * x[i];
		}
		y[i] = sum;
	}
}

MODEL_CLONES void
lanes_add_lower_times(int d, const Lanes *l, const Lanes *x, Lanes *y)
{
	for (int i = 0; i < d; i++)
	{
		const Lanes *row = l + lanes_at(i, 0);
		Lanes sum = y[i];

		for (int j = 0; j <= i; j++)
			sum += row[j] * x[j];
		y[i] = sum;
	}
}

static inline uint32_t
hash32(uint64_t x)
{
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93ULL;
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93ULL;
	return (uint32_t) (x >> 32);
}

static inline uint64_t
stream_start(uint64_t seed, uint64_t stream)
{
	uint64_t base = (seed + 0x9e3779b97f4a7c15ULL) * 0xbf58476d1ce4e5b9ULL;

	base ^= (stream + 1) * 0x94d049bb133111ebULL;
	base ^= base >> 29;
	return base * 0xbf58476d1ce4e5b9ULL;
}

/* an odd multiple of 2^-24 in (-1, 1) */
static inline float
signed_uniform(uint64_t base, int i)
{
	uint32_t h = hash32(base + (uint64_t) i * 0x9e3779b97f4a7c15ULL);

	return (float) (2 * (int32_t) (h >> 8) + 1 - (1 << 24)) * 0x1p-24f;
}

MODEL_CLONES void
lanes_normals(uint64_t seed, uint64_t stream, float *out, int n)
{
	uint64_t base = stream_start(seed, stream);

	for (int i = 0; i < n; i++)
		out[i] = approx_normal(signed_uniform(base, i));
}

MODEL_CLONES void
lanes_uniforms(uint64_t seed, uint64_t stream, float *out, int n)
{
	uint64_t base = stream_start(seed, stream);

	for (int i = 0; i < n; i++)
		out[i] = 0.5f + 0.5f * signed_uniform(base, i);
}
