/*
 * code_body.h
 *		Kernels over row codes that the compiler turns into good code for any
 *		instruction set; included by the files of several.
 */
#ifndef RECSYS_CODE_BODY_H
#define RECSYS_CODE_BODY_H

#include "math/codes.h"

static inline void
pack_dots_body(const float *x, const float *packed, int blocks, int dim,
			   float *out)
{
	for (int b = 0; b < blocks; b++, packed += (size_t) dim * CODE_LANES)
	{
		float s[4][CODE_LANES] = {{0}};
		int j = 0;

		for (; j + 4 <= dim; j += 4)
			for (int u = 0; u < 4; u++)
				for (int l = 0; l < CODE_LANES; l++)
					s[u][l] +=
						x[j + u] * packed[(size_t) (j + u) * CODE_LANES + l];
		for (; j < dim; j++)
			for (int l = 0; l < CODE_LANES; l++)
				s[0][l] += x[j] * packed[(size_t) j * CODE_LANES + l];
		for (int l = 0; l < CODE_LANES; l++)
			out[b * CODE_LANES + l] = s[0][l] + s[1][l] + s[2][l] + s[3][l];
	}
}

static inline void
bounds_body(const CodeQuery *query, const int32_t *dots, const float *floats,
			bool l2, float base, float *out)
{
	for (int l = 0; l < CODE_LANES; l++)
	{
		float s = base + floats[l] * (query->head_unit * (float) dots[l] +
									  query->head_error);

		s += query->tail_norm * floats[CODE_LANES + l];
		out[l] = l2 ? s - floats[2 * CODE_LANES + l] : s;
	}
}

static inline void
add_signs_body(const CodeQuery *query, const int32_t *sums, const float *scales,
			   float *out, float *added)
{
	for (int l = 0; l < CODE_LANES; l++)
	{
		int32_t dot = 2 * sums[l] - query->sign_sum;

		added[l] =
			scales[l] * (query->sign_unit * (float) dot + query->sign_error);
		out[l] += added[l];
	}
}

static inline uint32_t
at_least_body(const float *bounds, float least)
{
	uint32_t bits = 0;

	for (int l = 0; l < CODE_LANES; l++)
		bits |= (uint32_t) !(bounds[l] < least) << l;
	return bits;
}

#endif
