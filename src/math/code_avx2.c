/*
 * code_avx2.c
 *		Kernels over row codes for AVX2 and FMA.
 */
#ifdef __x86_64__

#include <immintrin.h>
#include <string.h>

#include "math/code_avx2.h"
#include "math/code_body.h"
#include "math/codes.h"

#define AVX2 __attribute__((target("avx2,fma")))

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

/*
 * 16 rows and 16 coordinates at a time: four look-ups in tables of 16 bytes, the sums
 * of two of which fit a byte. Sums have 16 bits: those of odd rows in one register, in
 * the other those of even rows with what the odd ones carry into them.
 */
AVX2 void
sign_sums_avx2(const CodeQuery *query, const uint8_t *signs, int32_t *out)
{
	const __m256i *table = (const __m256i *) query->sign_table;
	__m256i low = _mm256_set1_epi8(15);
	__m256i both = _mm256_setzero_si256(), odd = both;
	__m128i even16, odd16;

	for (int i = 0; i < query->sign_steps; i++, table += 2, signs += 32)
	{
		__m256i s = _mm256_loadu_si256((const __m256i *) signs);
		__m256i a = _mm256_shuffle_epi8(_mm256_loadu_si256(table),
										_mm256_and_si256(s, low));
		__m256i b =
			_mm256_shuffle_epi8(_mm256_loadu_si256(table + 1),
								_mm256_and_si256(_mm256_srli_epi16(s, 4), low));

		a = _mm256_add_epi8(a, b);
		both = _mm256_add_epi16(both, a);
		odd = _mm256_add_epi16(odd, _mm256_srli_epi16(a, 8));
	}
	both = _mm256_sub_epi16(both, _mm256_slli_epi16(odd, 8));
	even16 = _mm_add_epi16(_mm256_castsi256_si128(both),
						   _mm256_extracti128_si256(both, 1));
	odd16 = _mm_add_epi16(_mm256_castsi256_si128(odd),
						  _mm256_extracti128_si256(odd, 1));
	_mm256_storeu_si256(
		(__m256i *) out,
		_mm256_cvtepu16_epi32(_mm_unpacklo_epi16(even16, odd16)));
	_mm256_storeu_si256(
		(__m256i *) (out + 8),
		_mm256_cvtepu16_epi32(_mm_unpackhi_epi16(even16, odd16)));
}

AVX2 static void
pack_dots_avx2(const float *x, const float *packed, int blocks, int dim,
			   float *out)
{
	size_t n = (size_t) dim;

	for (int b = 0; b < blocks; b++)
	{
		__m256 s[4];
		size_t j = 0;

		for (int u = 0; u < 4; u++)
			s[u] = _mm256_setzero_ps();
		for (; j + 2 <= n; j += 2, packed += 2 * CODE_LANES)
			for (int u = 0; u < 4; u++)
				s[u] = _mm256_fmadd_ps(_mm256_set1_ps(x[j + (size_t) u / 2]),
									   _mm256_loadu_ps(packed + 8 * u), s[u]);
		for (; j < n; j++, packed += CODE_LANES)
			for (int u = 0; u < 2; u++)
				s[u] = _mm256_fmadd_ps(_mm256_set1_ps(x[j]),
									   _mm256_loadu_ps(packed + 8 * u), s[u]);
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

AVX2 void
add_signs_avx2(const CodeQuery *query, const int32_t *sums, const float *scales,
			   float *out, float *added)
{
	add_signs_body(query, sums, scales, out, added);
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

const CodeKernels code_kernels_avx2 = {
	"avx2",         head_dots_avx2, tail_dot_avx2,  sign_sums_avx2,
	pack_dots_avx2, bounds_avx2,    add_signs_avx2, at_least_avx2};

#endif
