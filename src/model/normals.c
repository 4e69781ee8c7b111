/*
 * normals.c
 *		Many normal and uniform numbers by hashed counters.
 */
#include "model/normals.h"

#include <math.h>
#include <string.h>

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

CLONES void
normals_fill(uint64_t seed, uint64_t stream, float *out, int n)
{
	uint64_t base = stream_start(seed, stream);

	for (int i = 0; i < n; i++)
		out[i] = approx_normal(signed_uniform(base, i));
}

CLONES void
uniforms_fill(uint64_t seed, uint64_t stream, float *out, int n)
{
	uint64_t base = stream_start(seed, stream);

	for (int i = 0; i < n; i++)
		out[i] = 0.5f + 0.5f * signed_uniform(base, i);
}
