/*
 * vec.c
 *		Kernels over float32 vectors.
 */
#include "math/vec.h"

#include <math.h>

float
vec_dot(const float *a, const float *b, int n)
{
	float s = 0;

	for (int i = 0; i < n; i++)
		s += a[i] * b[i];
	return s;
}

float
vec_l2_squared(const float *a, const float *b, int n)
{
	float s = 0;

	for (int i = 0; i < n; i++)
		s += (a[i] - b[i]) * (a[i] - b[i]);
	return s;
}

float
vec_l1(const float *a, const float *b, int n)
{
	float s = 0;

	for (int i = 0; i < n; i++)
		s += fabsf(a[i] - b[i]);
	return s;
}

void
vec_cosine_sums(const float *a, const float *b, int n, float *ab, float *aa,
				float *bb)
{
	float sab = 0, saa = 0, sbb = 0;

	for (int i = 0; i < n; i++)
	{
		sab += a[i] * b[i];
		saa += a[i] * a[i];
		sbb += b[i] * b[i];
	}
	*ab = sab;
	*aa = saa;
	*bb = sbb;
}
