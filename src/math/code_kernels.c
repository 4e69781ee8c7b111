/*
 * code_kernels.c
 *		Kernels over row codes: plain C (the reference), AVX2, AVX-512 VNNI.
 *
 * Integer sums are exact, so every variant gives the same numbers. A query
 * coordinate w is 15 bits; VNNI multiplies bytes, so there w = 128 high +
 * low and the two sums are put together at the end.
 */
#include "math/codes.h"

#include <stddef.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#define HAVE_X86 1
#endif

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

static inline uint32_t
at_least_body(const float *bounds, float least)
{
	uint32_t bits = 0;

	for (int l = 0; l < CODE_LANES; l++)
		bits |= (uint32_t) !(bounds[l] < least) << l;
	return bits;
}

static uint32_t
at_least_scalar(const float *bounds, float least)
{
	return at_least_body(bounds, least);
}

static const CodeKernels kernels_scalar = {"scalar",        head_dots_scalar,
										   tail_dot_scalar, pack_dots_scalar,
										   bounds_scalar,   at_least_scalar};

#ifdef HAVE_X86

#define AVX2 __attribute__((target("avx2,fma")))
#define AVX512                                                                 \
	__attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")))

/* 16 rows of 4 codes: four registers of 4 rows, widened to 16 bits */
AVX2 static void
head_dots_avx2(const CodeQuery *query, const uint8_t *codes, int32_t *out)
{
	__m256i s[4];
	__m256i sum = _mm256_set1_epi32(query->head_sum);

	for (int u = 0; u < 4; u++)
		s[u] = _mm256_setzero_si256();
	for (int i = 0; i < query->head; i += 4, codes += 4 * CODE_LANES)
	{
		long long four;
		__m256i w;

		memcpy(&four, query->w + i, 8);
		w = _mm256_set1_epi64x(four);
		for (int u = 0; u < 4; u++)
		{
			__m256i c = _mm256_cvtepu8_epi16(
				_mm_loadu_si128((const __m128i *) (codes + 16 * u)));

			s[u] = _mm256_add_epi32(s[u], _mm256_madd_epi16(c, w));
		}
	}
	/* rows lie 0 1 4 5 | 2 3 6 7 after the horizontal sum */
	for (int u = 0; u < 4; u += 2)
	{
		__m256i t =
			_mm256_permute4x64_epi64(_mm256_hadd_epi32(s[u], s[u + 1]), 0xd8);

		_mm256_storeu_si256((__m256i *) (out + 4 * u),
							_mm256_sub_epi32(t, sum));
	}
}

AVX2 static int32_t
tail_dot_avx2(const CodeQuery *query, const uint8_t *codes)
{
	const int16_t *w = query->w + query->head;
	__m256i s = _mm256_setzero_si256();
	__m128i t;
	int32_t sum = -query->tail_sum;
	int i = 0;

	for (; i + 16 <= query->tail; i += 16)
	{
		__m256i c = _mm256_cvtepu8_epi16(
			_mm_loadu_si128((const __m128i *) (codes + i)));

		s = _mm256_add_epi32(
			s, _mm256_madd_epi16(
				   c, _mm256_loadu_si256((const __m256i *) (w + i))));
	}
	t = _mm_add_epi32(_mm256_castsi256_si128(s),
					  _mm256_extracti128_si256(s, 1));
	t = _mm_add_epi32(t, _mm_shuffle_epi32(t, 0x4e));
	t = _mm_add_epi32(t, _mm_shuffle_epi32(t, 0xb1));
	sum += _mm_cvtsi128_si32(t);
	for (; i < query->tail; i++)
		sum += w[i] * codes[i];
	return sum;
}

AVX2 static void
pack_dots_avx2(const float *x, const float *packed, int blocks, int dim,
			   float *out)
{
	for (int b = 0; b < blocks; b++, packed += (size_t) dim * CODE_LANES)
	{
		__m256 s[4];
		int j = 0;

		for (int u = 0; u < 4; u++)
			s[u] = _mm256_setzero_ps();
		for (; j + 2 <= dim; j += 2)
			for (int u = 0; u < 4; u++)
				s[u] = _mm256_fmadd_ps(
					_mm256_set1_ps(x[j + u / 2]),
					_mm256_loadu_ps(packed + (size_t) j * CODE_LANES + 8 * u),
					s[u]);
		for (; j < dim; j++)
			for (int u = 0; u < 2; u++)
				s[u] = _mm256_fmadd_ps(
					_mm256_set1_ps(x[j]),
					_mm256_loadu_ps(packed + (size_t) j * CODE_LANES + 8 * u),
					s[u]);
		_mm256_storeu_ps(out + b * CODE_LANES, _mm256_add_ps(s[0], s[2]));
		_mm256_storeu_ps(out + b * CODE_LANES + 8, _mm256_add_ps(s[1], s[3]));
	}
}

AVX2 static void
bounds_avx2(const CodeQuery *query, const int32_t *dots, const float *floats,
			bool l2, float base, float *out)
{
	bounds_body(query, dots, floats, l2, base, out);
}

AVX512 static void
head_dots_avx512(const CodeQuery *query, const uint8_t *codes, int32_t *out)
{
	__m512i high = _mm512_setzero_si512();
	__m512i low = _mm512_set1_epi32(-query->head_sum);

	for (int i = 0; i < query->head; i += 4, codes += 4 * CODE_LANES)
	{
		__m512i c = _mm512_loadu_si512(codes);
		int h, l;

		memcpy(&h, query->high + i, 4);
		memcpy(&l, query->low + i, 4);
		high = _mm512_dpbusd_epi32(high, c, _mm512_set1_epi32(h));
		low = _mm512_dpbusd_epi32(low, c, _mm512_set1_epi32(l));
	}
	_mm512_storeu_si512(out, _mm512_add_epi32(_mm512_slli_epi32(high, 7), low));
}

AVX512 static int32_t
tail_dot_avx512(const CodeQuery *query, const uint8_t *codes)
{
	const int8_t *h = query->high + query->head;
	const int8_t *l = query->low + query->head;
	__m512i high = _mm512_setzero_si512();
	__m512i low = _mm512_setzero_si512();
	int i = 0;

	for (; i + 64 <= query->tail; i += 64)
	{
		__m512i c = _mm512_loadu_si512(codes + i);

		high = _mm512_dpbusd_epi32(high, c, _mm512_loadu_si512(h + i));
		low = _mm512_dpbusd_epi32(low, c, _mm512_loadu_si512(l + i));
	}
	if (i < query->tail)
	{
		__mmask64 m = ~0ULL >> (64 - (query->tail - i));
		__m512i c = _mm512_maskz_loadu_epi8(m, codes + i);

		high = _mm512_dpbusd_epi32(high, c, _mm512_maskz_loadu_epi8(m, h + i));
		low = _mm512_dpbusd_epi32(low, c, _mm512_maskz_loadu_epi8(m, l + i));
	}
	return _mm512_reduce_add_epi32(
			   _mm512_add_epi32(_mm512_slli_epi32(high, 7), low)) -
		   query->tail_sum;
}

AVX512 static void
pack_dots_avx512(const float *x, const float *packed, int blocks, int dim,
				 float *out)
{
	for (int b = 0; b < blocks; b++, packed += (size_t) dim * CODE_LANES)
	{
		__m512 s[4];
		int j = 0;

		for (int u = 0; u < 4; u++)
			s[u] = _mm512_setzero_ps();
		for (; j + 4 <= dim; j += 4)
			for (int u = 0; u < 4; u++)
				s[u] = _mm512_fmadd_ps(
					_mm512_set1_ps(x[j + u]),
					_mm512_loadu_ps(packed + (size_t) (j + u) * CODE_LANES),
					s[u]);
		for (; j < dim; j++)
			s[0] = _mm512_fmadd_ps(
				_mm512_set1_ps(x[j]),
				_mm512_loadu_ps(packed + (size_t) j * CODE_LANES), s[0]);
		_mm512_storeu_ps(out + b * CODE_LANES,
						 _mm512_add_ps(_mm512_add_ps(s[0], s[1]),
									   _mm512_add_ps(s[2], s[3])));
	}
}

AVX512 static void
bounds_avx512(const CodeQuery *query, const int32_t *dots, const float *floats,
			  bool l2, float base, float *out)
{
	__m512 scale = _mm512_loadu_ps(floats);
	__m512 dot = _mm512_cvtepi32_ps(_mm512_loadu_si512(dots));
	__m512 s = _mm512_fmadd_ps(dot, _mm512_set1_ps(query->head_unit),
							   _mm512_set1_ps(query->head_error));

	s = _mm512_fmadd_ps(scale, s, _mm512_set1_ps(base));
	s = _mm512_fmadd_ps(_mm512_loadu_ps(floats + CODE_LANES),
						_mm512_set1_ps(query->tail_norm), s);
	if (l2)
		s = _mm512_sub_ps(s, _mm512_loadu_ps(floats + 2 * CODE_LANES));
	_mm512_storeu_ps(out, s);
}

AVX2 static uint32_t
at_least_avx2(const float *bounds, float least)
{
	__m256 t = _mm256_set1_ps(least);
	int a = _mm256_movemask_ps(
		_mm256_cmp_ps(_mm256_loadu_ps(bounds), t, _CMP_NLT_UQ));
	int b = _mm256_movemask_ps(
		_mm256_cmp_ps(_mm256_loadu_ps(bounds + 8), t, _CMP_NLT_UQ));

	return (uint32_t) a | (uint32_t) b << 8;
}

AVX512 static uint32_t
at_least_avx512(const float *bounds, float least)
{
	return _mm512_cmp_ps_mask(_mm512_loadu_ps(bounds), _mm512_set1_ps(least),
							  _CMP_NLT_UQ);
}

static const CodeKernels kernels_avx2 = {"avx2",        head_dots_avx2,
										 tail_dot_avx2, pack_dots_avx2,
										 bounds_avx2,   at_least_avx2};
static const CodeKernels kernels_avx512 = {"avx512",        head_dots_avx512,
										   tail_dot_avx512, pack_dots_avx512,
										   bounds_avx512,   at_least_avx512};

static bool
have_avx2(void)
{
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static bool
have_avx512(void)
{
	return have_avx2() && __builtin_cpu_supports("avx512f") &&
		   __builtin_cpu_supports("avx512bw") &&
		   __builtin_cpu_supports("avx512vl") &&
		   __builtin_cpu_supports("avx512vnni");
}

#endif

const CodeKernels *code_kernels = &kernels_scalar;

const CodeKernels *
code_kernels_by_name(const char *name)
{
	if (strcmp(name, "scalar") == 0)
		return &kernels_scalar;
#ifdef HAVE_X86
	if (strcmp(name, "avx2") == 0 && have_avx2())
		return &kernels_avx2;
	if (strcmp(name, "avx512") == 0 && have_avx512())
		return &kernels_avx512;
#endif
	return NULL;
}

/* at load: a pointer set once is cheaper than a test a call */
__attribute__((constructor)) static void
choose_kernels(void)
{
#ifdef HAVE_X86
	__builtin_cpu_init();
	if (have_avx512())
		code_kernels = &kernels_avx512;
	else if (have_avx2())
		code_kernels = &kernels_avx2;
#endif
}
