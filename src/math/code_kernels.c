/*
 * code_kernels.c
 *		Kernels over row codes: plain C, the reference, and the choice of those
 *		that this processor runs fastest.
 *
 * Integer sums are exact, so every variant gives the same numbers.
 */
#include <stddef.h>

#include "math/code_body.h"
#include "math/codes.h"

static void
head_dots_scalar(const CodeQuery *query, const uint8_t *codes, int32_t *out)
{
	for (int l = 0; l < CODE_LANES; l++)
		out[l] = -query->head_sum;
	for (int i = 0; i < query->head; i += 4, codes += 4 * CODE_LANES)
		for (int l = 0; l < CODE_LANES; l++)
			for (int u = 0; u < 4; u++)
				out[l] += query->w[i + u] * codes[4 * l + u];
}

static int32_t
tail_dot_scalar(const CodeQuery *query, const uint8_t *codes)
{
	const int16_t *w = query->w + query->head;
	int32_t s = -query->tail_sum;

	for (int i = 0; i < query->tail; i++)
		s += w[i] * codes[i];
	return s;
}

static void
sign_sums_scalar(const CodeQuery *query, const uint8_t *signs, int32_t *out)
{
	const uint8_t *table = query->sign_table;

	for (int l = 0; l < CODE_LANES; l++)
		out[l] = 0;
	for (int i = 0; i < query->sign_steps; i++)
	{
		for (int l = 0; l < CODE_LANES; l++)
			out[l] += table[signs[l] & 15] + table[16 + (signs[16 + l] & 15)] +
					  table[32 + (signs[l] >> 4)] +
					  table[48 + (signs[16 + l] >> 4)];
		signs += 2 * CODE_LANES;
		table += 64;
	}
}

static void
pack_dots_scalar(const float *x, const float *packed, int blocks, int dim,
				 float *out)
{
	pack_dots_body(x, packed, blocks, dim, out);
}

static void
bounds_scalar(const CodeQuery *query, const int32_t *dots, const float *floats,
			  bool l2, float base, float *out)
{
	bounds_body(query, dots, floats, l2, base, out);
}

static void
add_signs_scalar(const CodeQuery *query, const int32_t *sums,
				 const float *scales, float *out, float *added)
{
	add_signs_body(query, sums, scales, out, added);
}

static uint32_t
at_least_scalar(const float *bounds, float least)
{
	return at_least_body(bounds, least);
}

const CodeKernels code_kernels_scalar = {
	"scalar",         head_dots_scalar, tail_dot_scalar,  sign_sums_scalar,
	pack_dots_scalar, bounds_scalar,    add_signs_scalar, at_least_scalar};

const CodeKernels *code_kernels = &code_kernels_scalar;

int
code_variants(const CodeKernels *list[CODE_MAX_VARIANTS])
{
	int n = 0;

	list[n++] = &code_kernels_scalar;
#if defined(__aarch64__)
	list[n++] = &code_kernels_neon; /* every such processor has it */
#elif defined(__x86_64__)
	/* these tests include that the operating system saves the registers */
	__builtin_cpu_init();
	if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
		return n;
	list[n++] = &code_kernels_avx2;
	if (!__builtin_cpu_supports("avx512f") ||
		!__builtin_cpu_supports("avx512bw") ||
		!__builtin_cpu_supports("avx512vl"))
		return n;
	list[n++] = &code_kernels_avx512;
	if (__builtin_cpu_supports("avx512vnni"))
		list[n++] = &code_kernels_vnni;
#endif
	return n;
}

/* at load: a pointer set once is cheaper than a test a call */
__attribute__((constructor)) static void
choose_kernels(void)
{
	const CodeKernels *list[CODE_MAX_VARIANTS];

	code_kernels = list[code_variants(list) - 1];
}
