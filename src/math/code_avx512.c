/*
 * code_avx512.c
 *		Kernels over row codes for AVX-512, without and with VNNI.
 *
 * A query coordinate w is 15 bits; VNNI multiplies bytes, so there w = 128
 * high + low and the two sums are put together at the end.
 */
#ifdef __x86_64__

#include <immintrin.h>
#include <string.h>

#include "math/code_avx2.h"
#include "math/codes.h"

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx2,fma")))
#define VNNI                                                                   \
	__attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")))

AVX512 static inline __m512i
widen(const uint8_t *codes)
{
	return _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *) codes));
}

/* 16 rows of 4 codes: two registers of 8 rows, widened to 16 bits */
AVX512 static void
head_dots_avx512(const CodeQuery *query, const uint8_t *codes, int32_t *out)
{
	const __m512i even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14,
										  12, 10, 8, 6, 4, 2, 0);
	const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
	__m512i a = _mm512_setzero_si512(), b = _mm512_setzero_si512();
	__m512i sum;

	for (int i = 0; i < query->head; i += 4, codes += 4 * CODE_LANES)
	{
		long long four;
		__m512i w;

		memcpy(&four, query->w + i, 8);
		w = _mm512_set1_epi64(four);
		a = _mm512_add_epi32(a, _mm512_madd_epi16(widen(codes), w));
		b = _mm512_add_epi32(b, _mm512_madd_epi16(widen(codes + 32), w));
	}
	/* each row lies in two neighbours */
	sum = _mm512_add_epi32(_mm512_permutex2var_epi32(a, even, b),
						   _mm512_permutex2var_epi32(a, odd, b));
	_mm512_storeu_si512(
		out, _mm512_sub_epi32(sum, _mm512_set1_epi32(query->head_sum)));
}

AVX512 static int32_t
tail_dot_avx512(const CodeQuery *query, const uint8_t *codes)
{
	const int16_t *w = query->w + query->head;
	__m512i s = _mm512_setzero_si512();
	int i = 0;

	for (; i + 32 <= query->tail; i += 32)
		s = _mm512_add_epi32(
			s, _mm512_madd_epi16(widen(codes + i), _mm512_loadu_si512(w + i)));
	if (i < query->tail)
	{
		__mmask32 m = ~0U >> (32 - (query->tail - i));
		__m512i c = _mm512_cvtepu8_epi16(_mm256_maskz_loadu_epi8(m, codes + i));

		s = _mm512_add_epi32(
			s, _mm512_madd_epi16(c, _mm512_maskz_loadu_epi16(m, w + i)));
	}
	return _mm512_reduce_add_epi32(s) - query->tail_sum;
}

VNNI static void
head_dots_vnni(const CodeQuery *query, const uint8_t *codes, int32_t *out)
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

VNNI static int32_t
tail_dot_vnni(const CodeQuery *query, const uint8_t *codes)
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
	size_t n = (size_t) dim;

	for (int b = 0; b < blocks; b++)
	{
		__m512 s[4];
		size_t j = 0;

		for (int u = 0; u < 4; u++)
			s[u] = _mm512_setzero_ps();
		for (; j + 4 <= n; j += 4, packed += 4 * CODE_LANES)
			for (int u = 0; u < 4; u++)
				s[u] = _mm512_fmadd_ps(_mm512_set1_ps(x[j + u]),
									   _mm512_loadu_ps(packed + u * CODE_LANES),
									   s[u]);
		for (; j < n; j++, packed += CODE_LANES)
			s[0] = _mm512_fmadd_ps(_mm512_set1_ps(x[j]),
								   _mm512_loadu_ps(packed), s[0]);
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

AVX512 static uint32_t
at_least_avx512(const float *bounds, float least)
{
	return _mm512_cmp_ps_mask(_mm512_loadu_ps(bounds), _mm512_set1_ps(least),
							  _CMP_NLT_UQ);
}

const CodeKernels code_kernels_avx512 = {
	"avx512",         head_dots_avx512, tail_dot_avx512, sign_sums_avx2,
	pack_dots_avx512, bounds_avx512,    add_signs_avx2,  at_least_avx512};
const CodeKernels code_kernels_vnni = {
	"avx512 vnni",    head_dots_vnni, tail_dot_vnni,  sign_sums_avx2,
	pack_dots_avx512, bounds_avx512,  add_signs_avx2, at_least_avx512};

#endif
