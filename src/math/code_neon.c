/*
 * code_neon.c
 *		Kernels over row codes for 64-bit ARM.
 */
#ifdef __aarch64__

#include <arm_neon.h>

#include "math/code_body.h"
#include "math/codes.h"

/* 16 codes at a time, widened to 16 bits: an accumulator a row */
static void
head_dots_neon(const CodeQuery *query, const uint8_t *codes, int32_t *out)
{
	int32x4_t sum = vdupq_n_s32(query->head_sum), s[CODE_LANES];

	for (int l = 0; l < CODE_LANES; l++)
		s[l] = vdupq_n_s32(0);
	for (int i = 0; i < query->head; i += 4, codes += 4 * CODE_LANES)
	{
		int16x4_t w = vld1_s16(query->w + i);

		for (int l = 0; l < CODE_LANES; l += 4)
		{
			uint8x16_t c = vld1q_u8(codes + 4 * l);
			int16x8_t a = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(c)));
			int16x8_t b = vreinterpretq_s16_u16(vmovl_u8(vget_high_u8(c)));

			s[l] = vmlal_s16(s[l], vget_low_s16(a), w);
			s[l + 1] = vmlal_s16(s[l + 1], vget_high_s16(a), w);
			s[l + 2] = vmlal_s16(s[l + 2], vget_low_s16(b), w);
			s[l + 3] = vmlal_s16(s[l + 3], vget_high_s16(b), w);
		}
	}
	for (int l = 0; l < CODE_LANES; l += 4)
		vst1q_s32(out + l, vsubq_s32(vpaddq_s32(vpaddq_s32(s[l], s[l + 1]),
												vpaddq_s32(s[l + 2], s[l + 3])),
									 sum));
}

static int32_t
tail_dot_neon(const CodeQuery *query, const uint8_t *codes)
{
	const int16_t *w = query->w + query->head;
	int32x4_t a = vdupq_n_s32(0), b = vdupq_n_s32(0);
	int32_t sum = -query->tail_sum;
	int i = 0;

	for (; i + 8 <= query->tail; i += 8)
	{
		int16x8_t c = vreinterpretq_s16_u16(vmovl_u8(vld1_u8(codes + i)));
		int16x8_t v = vld1q_s16(w + i);

		a = vmlal_s16(a, vget_low_s16(c), vget_low_s16(v));
		b = vmlal_s16(b, vget_high_s16(c), vget_high_s16(v));
	}
	sum += vaddvq_s32(vaddq_s32(a, b));
	for (; i < query->tail; i++)
		sum += w[i] * codes[i];
	return sum;
}

/* 16 rows and 16 coordinates at a time: four look-ups in tables of 16 bytes */
static void
sign_sums_neon(const CodeQuery *query, const uint8_t *signs, int32_t *out)
{
	const uint8_t *table = query->sign_table;
	uint16x8_t s[2] = {vdupq_n_u16(0), vdupq_n_u16(0)};

	for (int i = 0; i < query->sign_steps; i++, table += 64, signs += 32)
		for (int half = 0; half < 2; half++)
		{
			uint8x16_t c = vld1q_u8(signs + 16 * half);
			uint8x16_t a = vqtbl1q_u8(vld1q_u8(table + 16 * half),
									  vandq_u8(c, vdupq_n_u8(15)));
			uint8x16_t b =
				vqtbl1q_u8(vld1q_u8(table + 32 + 16 * half), vshrq_n_u8(c, 4));

			s[0] = vaddw_u8(vaddw_u8(s[0], vget_low_u8(a)), vget_low_u8(b));
			s[1] = vaddw_u8(vaddw_u8(s[1], vget_high_u8(a)), vget_high_u8(b));
		}
	for (int half = 0; half < 2; half++)
	{
		vst1q_s32(out + 8 * half,
				  vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(s[half]))));
		vst1q_s32(out + 8 * half + 4,
				  vreinterpretq_s32_u32(vmovl_u16(vget_high_u16(s[half]))));
	}
}

static void
pack_dots_neon(const float *x, const float *packed, int blocks, int dim,
			   float *out)
{
	pack_dots_body(x, packed, blocks, dim, out);
}

static void
bounds_neon(const CodeQuery *query, const int32_t *dots, const float *floats,
			bool l2, float base, float *out)
{
	bounds_body(query, dots, floats, l2, base, out);
}

static void
add_signs_neon(const CodeQuery *query, const int32_t *sums, const float *scales,
			   float *out, float *added)
{
	add_signs_body(query, sums, scales, out, added);
}

static uint32_t
at_least_neon(const float *bounds, float least)
{
	const uint32_t bit[4] = {1, 2, 4, 8};
	uint32x4_t bits = vld1q_u32(bit);
	float32x4_t t = vdupq_n_f32(least);
	uint32_t all = 0;

	for (int l = 0; l < CODE_LANES; l += 4)
	{
		uint32x4_t below = vcltq_f32(vld1q_f32(bounds + l), t);

		all |= vaddvq_u32(vbicq_u32(bits, below)) << l;
	}
	return all;
}

const CodeKernels code_kernels_neon = {
	"neon",         head_dots_neon, tail_dot_neon,  sign_sums_neon,
	pack_dots_neon, bounds_neon,    add_signs_neon, at_least_neon};

#endif
