/*
 * normals.h
 *		Many normal and uniform numbers by hashed counters, and approximations
 *		of functions that the compiler can put into vectors.
 */
#ifndef RECSYS_NORMALS_H
#define RECSYS_NORMALS_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "math/clones.h"

/* standard normals by inversion of hashed counters: stream names the row */
extern void normals_fill(uint64_t seed, uint64_t stream, float *out, int n);

/* uniforms in (0, 1) likewise */
extern void uniforms_fill(uint64_t seed, uint64_t stream, float *out, int n);

/* ---- approximations that the compiler can put into vectors ---- */

/* natural logarithm of a positive normal float, to about 1e-7 */
static inline float
approx_log(float x)
{
	int32_t bits;
	int32_t e;
	float m;
	float s;
	float z;

	memcpy(&bits, &x, 4);
	e = (bits - 0x3f3504f3) >> 23; /* exponent, mantissa in [.707, 1.414) */
	bits -= e * (1 << 23);
	memcpy(&m, &bits, 4);
	s = (m - 1) / (m + 1);
	z = s * s;
	z = 2 * s *
		(1 +
		 z * (0.33333334f + z * (0.2f + z * (0.14285715f + z * 0.11111111f))));
	return z + 0.6931472f * (float) e;
}

/* e^x for -87 < x < 88, relative error about 1e-7 */
static inline float
approx_exp(float x)
{
	/* adding 1.5 2^23 rounds to an integer, in the low bits as well */
	float shifted = x * 1.44269504f + 12582912.0f;
	float n = shifted - 12582912.0f;
	float r = x - n * 0.693359375f + n * 2.12194440e-4f;
	float p = 1.9875691500e-4f;
	int32_t bits;
	float power;

	memcpy(&bits, &shifted, 4);
	bits = (bits - 0x4b400000 + 127) * (1 << 23);

	p = p * r + 1.3981999507e-3f;
	p = p * r + 8.3334519073e-3f;
	p = p * r + 4.1665795894e-2f;
	p = p * r + 1.6666665459e-1f;
	p = p * r + 5.0000001201e-1f;
	p = p * r * r + r + 1;
	memcpy(&power, &bits, 4);
	return p * power;
}

/* density and distribution of the standard normal, absolute error 1e-7 */
static inline float
approx_density(float x)
{
	float y = x * x;

	/* beyond, density(12.6) = 1e-35 is as good */
	y = y < 160 ? y : 160;
	return 0.39894228f * approx_exp(-0.5f * y);
}

static inline float
approx_cdf(float x)
{
	float a = fabsf(x);
	float side = x < 0 ? -1 : 1;
	float t = 1 / (1 + 0.2316419f * a);
	float q = ((((1.330274429f * t - 1.821255978f) * t + 1.781477937f) * t -
				0.356563782f) *
				   t +
			   0.319381530f) *
			  t * approx_density(a);

	return 0.5f + side * (0.5f - q);
}

/* sqrt(2) erfinv(x) after Giles 2010, single precision, |x| < 1 */
static inline float
approx_normal(float x)
{
	float w = -approx_log((1 - x) * (1 + x));
	float a = w - 2.5f;
	float b = sqrtf(w) - 3;
	float p = 2.81022636e-08f;
	float q = -0.000200214257f;
	float far = w < 5 ? 0 : 1; /* no branch, for the vectoriser */

	p = 3.43273939e-07f + p * a;
	p = -3.5233877e-06f + p * a;
	p = -4.39150654e-06f + p * a;
	p = 0.00021858087f + p * a;
	p = -0.00125372503f + p * a;
	p = -0.00417768164f + p * a;
	p = 0.246640727f + p * a;
	p = 1.50140941f + p * a;
	q = 0.000100950558f + q * b;
	q = 0.00134934322f + q * b;
	q = -0.00367342844f + q * b;
	q = 0.00573950773f + q * b;
	q = -0.0076224613f + q * b;
	q = 0.00943887047f + q * b;
	q = 1.00167406f + q * b;
	q = 2.83297682f + q * b;
	p += far * (q - p);
	return 1.41421356f * x * p;
}

#endif
