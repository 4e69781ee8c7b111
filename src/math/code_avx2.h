/*
 * code_avx2.h
 *		Kernels over row codes for AVX2 and FMA, of which processors with
 *		AVX-512 take these as well.
 */
#ifndef RECSYS_CODE_AVX2_H
#define RECSYS_CODE_AVX2_H

#include "math/codes.h"

extern void sign_sums_avx2(const CodeQuery *query, const uint8_t *signs,
						   int32_t *out);
extern void add_signs_avx2(const CodeQuery *query, const int32_t *sums,
						   const float *scales, float *out, float *added);

#endif
