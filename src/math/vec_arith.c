/*
 * vec_arith.c
 *		Element by element: loops that the compiler turns into vector code of
 *		the baseline, since memory and not arithmetic bounds them.
 */
#include "math/vec.h"

#include <string.h>

void
vec_add(const float *a, const float *b, float *y, int n)
{
	for (int i = 0; i < n; i++)
		y[i] = a[i] + b[i];
}

void
vec_sub(const float *a, const float *b, float *y, int n)
{
	for (int i = 0; i < n; i++)
		y[i] = a[i] - b[i];
}

bool
vec_mul(const float *a, const float *b, float *y, int n)
{
	int lost = 0;

	for (int i = 0; i < n; i++)
	{
		float product = a[i] * b[i];

		lost |= (product == 0) & (a[i] != 0) & (b[i] != 0);
		y[i] = product;
	}
	return lost != 0;
}

int
vec_first_difference(const float *a, const float *b, int n)
{
	int i = 0;

	/* what is equal is so bit by bit, but for the sign of zero */
	if (memcmp(a, b, sizeof(float) * (size_t) n) == 0)
		return n;
	while (i < n && a[i] == b[i])
		i++;
	return i;
}

void
vec_sign_bits(const float *x, int n, uint8_t *bits)
{
	int i = 0;

	for (; i + 8 <= n; i += 8)
	{
		unsigned byte = 0;

		for (int j = 0; j < 8; j++)
			byte = byte << 1 | (x[i + j] > 0);
		bits[i / 8] = (uint8_t) byte;
	}
	if (i < n)
		bits[i / 8] = 0;
	for (; i < n; i++)
		bits[i / 8] |= (uint8_t) ((x[i] > 0) << (7 - i % 8));
}
