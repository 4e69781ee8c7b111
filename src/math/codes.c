/*
 * codes.c
 *		Encoding of rows, quantised queries, bounds. See codes.h.
 *
 * Whatever is an error bound is computed in double and rounded up, so that
 * it still bounds after it was stored as float.
 */
#include "math/codes.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "math/clones.h"

#define STEPS 127        /* codes on either side of zero */
#define WEIGHT_MAX 16383 /* of a quantised query coordinate */
#define SIGN_STEP 16     /* coordinates whose signs lie together */
#define SIGN_BYTES (SIGN_STEP * CODE_LANES / 8)
#define SIGN_MOST 127 /* sum of four weights in a table of signs */
#define PARTS 16      /* of sums, so that they are vectors */
/* of weights: its inverse is a float, and what it is not exact by means nothing */
#define LEAST_STEP 1e-35

int
code_head_padded(const CodeShape *shape)
{
	return (shape->head + 3) & ~3;
}

static int
sign_steps(const CodeShape *shape)
{
	int tail = shape->dim - shape->head;

	return shape->signs ? (tail + SIGN_STEP - 1) / SIGN_STEP : 0;
}

/* where a block's signs begin */
static size_t
signs_at(const CodeShape *shape)
{
	return (size_t) code_head_padded(shape) * CODE_LANES;
}

static size_t
floats_at(const CodeShape *shape)
{
	return signs_at(shape) + (size_t) sign_steps(shape) * SIGN_BYTES;
}

/* of a block, in floats */
static int
sign_scales_at(const CodeShape *shape)
{
	return (shape->l2 ? 3 : 2) * CODE_LANES;
}

size_t
code_block_size(const CodeShape *shape)
{
	int floats = sign_scales_at(shape) + (shape->signs ? CODE_LANES : 0);

	return floats_at(shape) + floats * sizeof(float);
}

size_t
code_row_size(const CodeShape *shape)
{
	return (size_t) code_head_padded(shape) + (shape->dim - shape->head);
}

size_t
code_query_size(const CodeShape *shape)
{
	/* kernels may read a whole vector register past the end */
	return (code_row_size(shape) + 64) * 4 +
		   (size_t) sign_steps(shape) * SIGN_STEP * 4;
}

/* the smallest float that is not below v */
static float
round_up(double v)
{
	float f = (float) v;

	if ((double) f < v)
		f = nextafterf(f, INFINITY);
	return f;
}

/* v (n) into codes; returns the scale, adds |v - decoded|^2 to *error */
static float
encode_part(const float *v, int n, uint8_t *codes, double *error)
{
	float most = 0, scale;
	double sum = 0;

	for (int i = 0; i < n; i++)
		most = fmaxf(most, fabsf(v[i]));
	scale = most / STEPS;
	/* a denormal scale has too few bits to bound the error by its half */
	if (most > 0 && scale < FLT_MIN)
		scale = FLT_MIN;
	for (int i = 0; i < n; i++)
	{
		int c = scale > 0 ? (int) lrintf(v[i] / scale) : 0;
		double d;

		c = c > STEPS ? STEPS : c < -STEPS ? -STEPS : c;
		codes[i] = (uint8_t) (c + 128);
		d = (double) v[i] - (double) c * scale;
		sum += d * d;
	}
	*error += sum;
	return scale;
}

/* +s or -s, as the sign of a code of level 2 says */
static double
signed_by(uint8_t code, double s)
{
	return code >= 128 ? s : -s;
}

/* the s that leaves least of the tail r (n) */
static float
best_sign_scale(const float *r, const uint8_t *codes, int n)
{
	double sum = 0;

	for (int i = 0; i < n; i++)
		sum += signed_by(codes[i], r[i]);
	return sum > 0 ? (float) (sum / n) : 0;
}

void
code_encode(const CodeShape *shape, const float *r, CodeRow *row)
{
	int tail = shape->dim - shape->head;
	int padded = code_head_padded(shape);
	const uint8_t *tail_codes = row->codes + padded;
	double error = 0, rest = 0, sq = 0;

	row->head_scale = encode_part(r, shape->head, row->codes, &error);
	memset(row->codes + shape->head, 128, padded - shape->head);
	row->tail_scale =
		encode_part(r + shape->head, tail, row->codes + padded, &error);
	row->sign_scale =
		shape->signs ? best_sign_scale(r + shape->head, tail_codes, tail) : 0;
	for (int i = 0; i < shape->dim; i++)
		sq += (double) r[i] * r[i];
	for (int i = 0; i < tail; i++)
	{
		double d =
			r[shape->head + i] - signed_by(tail_codes[i], row->sign_scale);

		rest += d * d;
	}
	row->rest = round_up(sqrt(rest) * (1 + 1e-12));
	row->error = round_up(sqrt(error) * (1 + 1e-12));
	row->sq = (float) sq;
}

void
code_decode(const CodeShape *shape, const CodeRow *row, float *r)
{
	int padded = code_head_padded(shape);

	for (int i = 0; i < shape->head; i++)
		r[i] = (row->codes[i] - 128) * row->head_scale;
	for (int i = shape->head; i < shape->dim; i++)
		r[i] = (row->codes[padded + i - shape->head] - 128) * row->tail_scale;
}

double
code_decoded_rest(const CodeShape *shape, const CodeRow *row)
{
	const uint8_t *codes = row->codes + code_head_padded(shape);
	double rest = 0;

	for (int i = 0; i < shape->dim - shape->head; i++)
	{
		double d = (codes[i] - 128) * (double) row->tail_scale -
				   signed_by(codes[i], row->sign_scale);

		rest += d * d;
	}
	return sqrt(rest);
}

static bool
is_near(double stored, double truth, double off)
{
	return fabs(stored - truth) <= off + 2 * FLT_EPSILON * truth;
}

bool
code_holds(const CodeShape *shape, const double *r, double off,
		   const CodeRow *row)
{
	int padded = code_head_padded(shape);
	double head = 0, tail = 0, rest = 0, sq = 0;

	for (int i = 0; i < shape->dim; i++)
	{
		bool first = i < shape->head;
		uint8_t c = row->codes[first ? i : padded + i - shape->head];
		double scale = first ? row->head_scale : row->tail_scale;
		double d = r[i] - (c - 128) * scale;
		double t = first ? 0 : r[i] - signed_by(c, row->sign_scale);

		sq += r[i] * r[i];
		rest += t * t;
		*(first ? &head : &tail) += d * d;
	}
	/* comparisons that are false for what is no number */
	return is_near(row->error, sqrt(head + tail), off) &&
		   is_near(row->rest, sqrt(rest), off) &&
		   sqrt(head) <= row->head_scale * sqrt(shape->head) / 2 + off &&
		   (!shape->l2 ||
			is_near(row->sq, sq, off * (2 * sqrt(sq) + off) + FLT_MIN));
}

void
code_query_init(CodeQuery *query, const CodeShape *shape, void *room)
{
	size_t n = code_row_size(shape) + 64;

	memset(query, 0, sizeof(*query));
	memset(room, 0, code_query_size(shape));
	query->head = code_head_padded(shape);
	query->tail = shape->dim - shape->head;
	query->w = room;
	query->high = (int8_t *) (query->w + n);
	query->low = query->high + n;
	query->sign_table = (uint8_t *) (query->low + n);
	query->sign_steps = sign_steps(shape);
}

/* |w| as it is ordered as an integer: a maximum of these is made in vectors */
static inline int32_t
size_of(float w)
{
	int32_t bits;

	memcpy(&bits, &w, sizeof(bits));
	return bits & 0x7fffffff;
}

CLONES static float
largest(const float *w, int n)
{
	int32_t most = 0;
	float out;

	for (int i = 0; i < n; i++)
		most = size_of(w[i]) > most ? size_of(w[i]) : most;
	memcpy(&out, &most, sizeof(out));
	return out;
}

CLONES static double
sum_of_squares(const float *w, int n)
{
	double part[PARTS] = {0}, s = 0;
	int i = 0;

	for (; i + PARTS <= n; i += PARTS)
		for (int l = 0; l < PARTS; l++)
			part[l] += (double) w[i + l] * w[i + l];
	for (; i < n; i++)
		s += (double) w[i] * w[i];
	for (int l = 0; l < PARTS; l++)
		s += part[l];
	return s;
}

/* steps of w (n) into out, rounded; returns their sum */
CLONES static int32_t
round_steps(const float *restrict w, int n, float times, int16_t *restrict out)
{
	int32_t sum = 0;

	for (int i = 0; i < n; i++)
	{
		int32_t v = (int32_t) (w[i] * times + copysignf(0.5F, w[i]));

		out[i] = (int16_t) v;
		sum += v;
	}
	return sum;
}

/* v (n) as 128 * high + low */
CLONES static void
split(const int16_t *restrict v, int n, int8_t *restrict high,
	  int8_t *restrict low)
{
	for (int i = 0; i < n; i++)
	{
		high[i] = (int8_t) (v[i] >> 7);
		low[i] = (int8_t) (v[i] & 127);
	}
}

/* what rounding n coordinates to steps leaves at most, in length: half of a step
 * each, and the three roundings of a float32 of up to WEIGHT_MAX, .003 */
static double
rounding_of(double step, int n)
{
	return 0.51 * step * sqrt(n);
}

/*
 * w (n) into query coordinates at `at`; returns the step. The most that 255 * w
 * can sum up to stays below 2^31.
 */
static double
quantise(CodeQuery *query, const float *w, int at, int n, int32_t *sum)
{
	int limit = n > 0 ? (int) (INT32_MAX / 256 / n) : 0;
	double step;

	if (limit > WEIGHT_MAX)
		limit = WEIGHT_MAX;
	step = limit > 0 ? fmax(largest(w, n) / limit, LEAST_STEP) : 0;
	*sum =
		n > 0 ? round_steps(w, n, (float) (1 / step), query->w + at) * 128 : 0;
	split(query->w + at, n, query->high + at, query->low + at);
	return step;
}

/* |w| of a tail (n) in steps into u, and 255 into flip where it is negative;
 * returns the sum of u */
CLONES static int32_t
weigh_signs(const float *restrict w, int n, float times, uint8_t *restrict u,
			uint8_t *restrict flip)
{
	int32_t sum = 0;

	for (int i = 0; i < n; i++)
	{
		int32_t v = (int32_t) (fabsf(w[i]) * times + 0.5F);

		u[i] = (uint8_t) v;
		flip[i] = w[i] < 0 ? 255 : 0;
		sum += v;
	}
	return sum;
}

/* sums of |weights| u (4 a step), those of w below 0 where the sign is not set */
CLONES static void
fill_signs(const uint8_t *u, const uint8_t *flip, int n,
		   uint8_t *restrict table)
{
	static const uint8_t set[4][16] = {
		{0, 255, 0, 255, 0, 255, 0, 255, 0, 255, 0, 255, 0, 255, 0, 255},
		{0, 0, 255, 255, 0, 0, 255, 255, 0, 0, 255, 255, 0, 0, 255, 255},
		{0, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0, 255, 255, 255, 255},
		{0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255}};

	for (int i = 0; i < n; i += 4, table += 16)
		for (int x = 0; x < 16; x++)
			table[x] = (uint8_t) (((set[0][x] ^ flip[i]) & u[i]) +
								  ((set[1][x] ^ flip[i + 1]) & u[i + 1]) +
								  ((set[2][x] ^ flip[i + 2]) & u[i + 2]) +
								  ((set[3][x] ^ flip[i + 3]) & u[i + 3]));
}

/* the largest sum of |w| over four coordinates (0 .. 3, 4 .. 7, ...) */
CLONES static float
largest_four(const float *w, int n)
{
	float most = 0;
	int i = 0;

	for (; i + 4 <= n; i += 4)
	{
		float four =
			fabsf(w[i]) + fabsf(w[i + 1]) + fabsf(w[i + 2]) + fabsf(w[i + 3]);

		most = four > most ? four : most;
	}
	for (float four = 0; i < n; i++)
	{
		four += fabsf(w[i]);
		most = four > most ? four : most;
	}
	return most;
}

/* w (n): the tail; returns the step */
static double
set_sign_table(CodeQuery *query, const float *w, int n)
{
	uint8_t u[CODE_MAX_DIM + SIGN_STEP], flip[CODE_MAX_DIM + SIGN_STEP];
	int all = query->sign_steps * SIGN_STEP;
	/* each of the four is rounded up by little more than half a step at most */
	double step = fmax(largest_four(w, n) / (SIGN_MOST - 2.1), LEAST_STEP);

	memset(u + n, 0, all - n);
	memset(flip + n, 0, all - n);
	query->sign_sum = weigh_signs(w, n, (float) (1 / step), u, flip);
	fill_signs(u, flip, all, query->sign_table);
	return step;
}

void
code_query_set(CodeQuery *query, const CodeShape *shape, const float *w,
			   float gain, float share)
{
	int n = shape->head, m = query->tail;
	double head = sum_of_squares(w, n), tail = sum_of_squares(w + n, m);
	double head_step = quantise(query, w, 0, n, &query->head_sum);
	double tail_step = quantise(query, w + n, query->head, m, &query->tail_sum);
	double rounding =
		hypot(rounding_of(head_step, n), rounding_of(tail_step, m));

	query->head_unit = (float) (gain * head_step);
	query->tail_unit = (float) (gain * tail_step);
	query->head_error = round_up(gain * sqrt(head * n) / 2 * (1 + 1e-6));
	/* never zero: times an infinite t or e it must be infinite */
	query->tail_norm =
		round_up(share * gain * sqrt(tail) * (1 + 1e-12) + 1e-30);
	query->norm = round_up(gain * sqrt(head + tail) * (1 + 1e-12) + 1e-30);
	query->rounding = round_up(gain * rounding * (1 + 1e-12));
	if (query->sign_steps > 0)
	{
		double step = set_sign_table(query, w + n, m);

		query->sign_unit = (float) (gain * step);
		query->sign_error =
			round_up(gain * rounding_of(step, m) * sqrt(m) * (1 + 1e-12));
	}
}

/*
 * One float32 sum of dim terms errs by at most (dim + 8) * FLT_EPSILON of
 * the sum of |terms| <= |q| |x|. There are four of them: rotation of the
 * row, of the query, base, and the operator itself; the rest is rounded a
 * few times.
 */
double
code_slack(int dim)
{
	return 5.0 * (dim + 16) * FLT_EPSILON;
}

double
code_off(int dim, double length)
{
	return (dim + 16) * (double) FLT_EPSILON * length + dim * 1e-44;
}

const float *
code_block_floats(const CodeShape *shape, const uint8_t *block)
{
	return (const float *) (block + floats_at(shape));
}

/* the byte of a row's four signs from number i on, a multiple of 4 */
static size_t
sign_byte(const CodeShape *shape, int lane, int i)
{
	return signs_at(shape) + (size_t) (i / SIGN_STEP) * SIGN_BYTES +
		   (size_t) (i / 4 % 2 * CODE_LANES + lane);
}

/* by how many bits they lie up in it */
static int
sign_shift(int i)
{
	return i / 8 % 2 * 4;
}

/* four signs of codes (n), from number i on */
static unsigned
signs_of(const uint8_t *codes, int n, int i)
{
	unsigned bits = 0;

	for (int j = 0; j < 4 && i + j < n; j++)
		bits |= (unsigned) (codes[i + j] >= 128) << j;
	return bits;
}

void
code_block_put(const CodeShape *shape, uint8_t *block, int lane,
			   const CodeRow *row)
{
	int padded = code_head_padded(shape);
	int tail = shape->dim - shape->head;
	float *f = (float *) (block + floats_at(shape));

	for (int i = 0; i < padded; i += 4)
		memcpy(block + (size_t) i * CODE_LANES + lane * 4, row->codes + i, 4);
	for (int i = 0; i < sign_steps(shape) * SIGN_STEP; i += 4)
	{
		uint8_t *byte = block + sign_byte(shape, lane, i);
		unsigned bits = signs_of(row->codes + padded, tail, i);

		*byte = (uint8_t) ((*byte & ~(15U << sign_shift(i))) |
						   bits << sign_shift(i));
	}
	f[lane] = row->head_scale;
	f[CODE_LANES + lane] = row->rest;
	if (shape->l2)
		f[2 * CODE_LANES + lane] = row->sq;
	if (shape->signs)
		f[sign_scales_at(shape) + lane] = row->sign_scale;
}

bool
code_block_signs_hold(const CodeShape *shape, const uint8_t *block, int lane,
					  const CodeRow *row)
{
	int padded = code_head_padded(shape), tail = shape->dim - shape->head;

	for (int i = 0; i < sign_steps(shape) * SIGN_STEP; i += 4)
		if ((block[sign_byte(shape, lane, i)] >> sign_shift(i) & 15U) !=
			signs_of(row->codes + padded, tail, i))
			return false;
	return true;
}

void
code_block_get(const CodeShape *shape, const uint8_t *block, int lane,
			   CodeRow *row)
{
	int padded = code_head_padded(shape);
	const float *f = code_block_floats(shape, block);

	for (int i = 0; i < padded; i += 4)
		memcpy(row->codes + i, block + (size_t) i * CODE_LANES + lane * 4, 4);
	row->head_scale = f[lane];
	row->rest = f[CODE_LANES + lane];
	row->sq = shape->l2 ? f[2 * CODE_LANES + lane] : 0;
	row->sign_scale = shape->signs ? f[sign_scales_at(shape) + lane] : 0;
}

void
code_block_bounds(const CodeShape *shape, const CodeQuery *query,
				  const uint8_t *block, float base, float *out, float *added)
{
	const float *floats = code_block_floats(shape, block);
	int32_t sums[CODE_LANES];

	code_kernels->head_dots(query, block, sums);
	code_kernels->bounds(query, sums, floats, shape->l2, base, out);
	if (!shape->signs)
		return;
	code_kernels->sign_sums(query, block + signs_at(shape), sums);
	code_kernels->add_signs(query, sums, floats + sign_scales_at(shape), out,
							added);
}

int32_t
code_tail_dot(const CodeQuery *query, const uint8_t *codes)
{
	return code_kernels->tail_dot(query, codes);
}

uint32_t
code_at_least(const float *bounds, float least)
{
	return code_kernels->at_least(bounds, least);
}

void
code_pack_dots(const float *x, const float *packed, int blocks, int dim,
			   float *out)
{
	code_kernels->pack_dots(x, packed, blocks, dim, out);
}

void
code_pack(const float *v, int n, int dim, float *packed)
{
	int blocks = (n + CODE_LANES - 1) / CODE_LANES;

	memset(packed, 0, sizeof(float) * CODE_LANES * (size_t) blocks * dim);
	for (int i = 0; i < n; i++)
		for (int j = 0; j < dim; j++)
			packed[((size_t) (i / CODE_LANES) * dim + j) * CODE_LANES +
				   i % CODE_LANES] = v[(size_t) i * dim + j];
}
