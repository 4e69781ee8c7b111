/*
 * codes.h
 *		Row codes of the index ann: int8 in two levels, with bounds.
 *
 * A row of a cell is stored as its residual r = x - centroid in rotated
 * coordinates. The first `head` of them are level 1, the others level 2.
 * Each level has codes c = 1 .. 255 standing for (c - 128) * scale. Of the
 * others level 1 may have the signs, each standing for +-s, where s is what leaves
 * least of them, the mean of r times its sign, or 0. What a query's best rows have
 * in common with it lies in all coordinates, so without signs level 1 takes nearly
 * all of their tails' product for granted. (One bit a coordinate after a rotation:
 * RaBitQ, Gao and Long 2024.)
 *
 * The score that a scan maximises is, for one cell and one row,
 *
 *		S = base + gain * (w . r) - sq
 *
 * inner product, cosine:	base = q . centroid, gain 1, w = q, sq = 0
 * L2 (S = -distance^2):	p = q - centroid, base = -|p|^2, gain 2, w = p,
 *							sq = |r|^2
 *
 * After level 1:	S <= base - sq + gain (head . w + |w_head| e1
 *								+ s (signs . w_tail) + |w_tail| t)
 * After level 2:	|S - (base - sq + gain (head . w + tail . w))| <= gain |w| e
 *
 * with e1 = scale * sqrt(head) / 2, t = |r_tail - s signs|, e = |r - decoded|,
 * each rounded up. What float32 arithmetic adds, in here, in the rotation and in
 * the operator itself, is covered by code_slack.
 *
 * Level 1 lies in blocks of CODE_LANES rows:
 *
 *	+---------------------+---------------------+----------+------+-------+------+
 *	| codes: 4 dims x 16  | signs: 16 dims x 16 | scale 16 | t 16 | sq 16 | s 16 |
 *	| rows, ...           | rows, ...           |          |      |       |      |
 *	+---------------------+---------------------+----------+------+-------+------+
 *	  head * 16 bytes       (dim - head) * 2      float      float  L2      signs
 *
 * and level 2 row by row: dim - head bytes. Of 16 signs of a row the first four are
 * the low bits of byte `row`, the next those of byte 16 + row; then come the high
 * bits of both. A sign is set where the code of level 2 is not below 128.
 */
#ifndef RECSYS_CODES_H
#define RECSYS_CODES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CODE_LANES 16
#define CODE_MAX_DIM 2000

typedef struct CodeShape
{
	int dim;
	int head;   /* coordinates of level 1, a multiple of 4, or dim */
	bool l2;    /* rows carry sq */
	bool signs; /* level 1 has the signs of the other coordinates */
} CodeShape;

/* one row's code */
typedef struct CodeRow
{
	float head_scale;
	float sign_scale; /* 0 without signs */
	float rest;       /* t: of the tail, what level 1 does not have */
	float sq;
	float tail_scale;
	float error;    /* level 2 */
	uint8_t *codes; /* (head_padded + tail) */
} CodeRow;

/*
 * A query against one cell, or against all cells of a table when not L2. Of
 * |w - quantised w| upper bounds are meant.
 */
typedef struct CodeQuery
{
	int head; /* padded to a multiple of 4 */
	int tail;
	int32_t head_sum; /* 128 * sum of the quantised w_head */
	int32_t tail_sum;
	int32_t sign_sum; /* sum of the |weights| in sign_table */
	int sign_steps;   /* of 16 coordinates each; 0 without signs */
	float head_unit;  /* gain * value of one step of w_head */
	float tail_unit;
	float sign_unit;  /* gain * value of one step of w_tail in sign_table */
	float sign_error; /* gain * |w_tail - quantised| sqrt(tail), times s */
	float head_error; /* gain * |w_head| * sqrt(head) / 2, times scale */
	float tail_norm;  /* gain * |w_tail|, times t */
	float norm;       /* gain * |w|, times e */
	float rounding;   /* gain * |w - quantised w|, times |r| */
	/*
	 * (sign_steps, 4, 16): for each four coordinates and each choice of signs the
	 * sum of |weight| where sign and weight agree, so that signs . w_tail is twice
	 * their sum less sign_sum. At most 127, so that all together have 16 bits.
	 */
	uint8_t *sign_table;
	int16_t *w;   /* (head + tail) quantised */
	int8_t *high; /* w >> 7, (head + tail) */
	int8_t *low;  /* w & 127 */
} CodeQuery;

/* head rounded up to a multiple of 4: codes of level 1 a row */
extern int code_head_padded(const CodeShape *shape);
extern size_t code_block_size(const CodeShape *shape);
extern size_t code_row_size(const CodeShape *shape);   /* of CodeRow.codes */
extern size_t code_query_size(const CodeShape *shape); /* of the arrays */
/* of a block: (2 to 4, CODE_LANES) scale, t, sq (L2 only), s (signs only) */
extern const float *code_block_floats(const CodeShape *shape,
									  const uint8_t *block);

/* r (dim): residual in rotated coordinates */
extern void code_encode(const CodeShape *shape, const float *r, CodeRow *row);
/* an inverse, for checks: r (dim) */
extern void code_decode(const CodeShape *shape, const CodeRow *row, float *r);
/* t of the decoded row: of its tail, what level 1 does not have */
extern double code_decoded_rest(const CodeShape *shape, const CodeRow *row);
/*
 * Does a stored code say of the residual r (dim) what this file promises?
 * off: by how much the r that was encoded may differ from this one, in length.
 */
extern bool code_holds(const CodeShape *shape, const double *r, double off,
					   const CodeRow *row);
/*
 * Such an off for a row and a centroid whose lengths sum up to `length`, when
 * r was computed in double: one rotation in float32, of those that code_slack
 * covers.
 */
extern double code_off(int dim, double length);

/* room: code_query_size bytes, kept by the query */
extern void code_query_init(CodeQuery *query, const CodeShape *shape,
							void *room);
/* share: of |w_tail| t in bounds of level 1; 1: proven */
extern void code_query_set(CodeQuery *query, const CodeShape *shape,
						   const float *w, float gain, float share);
/* what float arithmetic may add to a score, as a share of |q| times |x| */
extern double code_slack(int dim);

/* row lane of a block: written and read back */
extern void code_block_put(const CodeShape *shape, uint8_t *block, int lane,
						   const CodeRow *row);
extern void code_block_get(const CodeShape *shape, const uint8_t *block,
						   int lane, CodeRow *row);
/* are a block's signs those of the row's codes of level 2? */
extern bool code_block_signs_hold(const CodeShape *shape, const uint8_t *block,
								  int lane, const CodeRow *row);

/*
 * Level 1 of a block, each of 16 rows: out, an upper bound of S whose base is this
 * one, and, of shapes with signs, added, what they have added to it.
 */
extern void code_block_bounds(const CodeShape *shape, const CodeQuery *query,
							  const uint8_t *block, float base, float *out,
							  float *added);
extern int32_t code_tail_dot(const CodeQuery *query, const uint8_t *codes);

/* which of 16 bounds are not below least, as bits */
extern uint32_t code_at_least(const float *bounds, float least);

/* scores of x against 16 packed vectors a block: out (blocks, 16) */
extern void code_pack_dots(const float *x, const float *packed, int blocks,
						   int dim, float *out);
/* v (n, dim) into packed (ceil(n / 16), dim, 16), zero where there is none */
extern void code_pack(const float *v, int n, int dim, float *packed);

/* kernels of one instruction set; all give the same integers */
typedef struct CodeKernels
{
	const char *name;
	/* codes (head / 4, 16, 4) against w: out (16) */
	void (*head_dots)(const CodeQuery *query, const uint8_t *codes,
					  int32_t *out);
	int32_t (*tail_dot)(const CodeQuery *query, const uint8_t *codes);
	/* signs (sign_steps, 2, 16) by sign_table: out (16) their sums */
	void (*sign_sums)(const CodeQuery *query, const uint8_t *signs,
					  int32_t *out);
	void (*pack_dots)(const float *x, const float *packed, int blocks, int dim,
					  float *out);
	/* out = base + units * scale * dot + ... ; see code_block_bounds */
	void (*bounds)(const CodeQuery *query, const int32_t *dots,
				   const float *floats, bool l2, float base, float *out);
	/* out += added = what the sums of signs add, of scales s (16) */
	void (*add_signs)(const CodeQuery *query, const int32_t *sums,
					  const float *scales, float *out, float *added);
	/* bit l: bounds[l] is not below least (or no number); 16 bounds */
	uint32_t (*at_least)(const float *bounds, float least);
} CodeKernels;

extern const CodeKernels *code_kernels; /* the best of this processor */

/*
 * The variants that this processor can run, plain C first and the one in use
 * last; returns their number. For tests and measurements.
 */
#define CODE_MAX_VARIANTS 4
extern int code_variants(const CodeKernels *list[CODE_MAX_VARIANTS]);

/* the variants themselves: call none that code_variants does not list */
extern const CodeKernels code_kernels_scalar;
#if defined(__x86_64__)
extern const CodeKernels code_kernels_avx2;
extern const CodeKernels code_kernels_avx512;
extern const CodeKernels code_kernels_vnni;
#elif defined(__aarch64__)
extern const CodeKernels code_kernels_neon;
#endif

#endif
