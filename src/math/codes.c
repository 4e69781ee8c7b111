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

#define STEPS 127        /* codes on either side of zero */
#define WEIGHT_MAX 16383 /* of a quantised query coordinate */

int
code_head_padded(const CodeShape *shape)
{
	return (shape->head + 3) & ~3;
}

static int
block_floats(const CodeShape *shape)
{
	return (shape->l2 ? 3 : 2) * CODE_LANES;
}

size_t
code_block_size(const CodeShape *shape)
{
	return (size_t) code_head_padded(shape) * CODE_LANES +
		   block_floats(shape) * sizeof(float);
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
	return (code_row_size(shape) + 64) * 4;
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

void
code_encode(const CodeShape *shape, const float *r, CodeRow *row)
{
	int tail = shape->dim - shape->head;
	int padded = code_head_padded(shape);
	double error = 0, tail_sq = 0, sq = 0;

	row->head_scale = encode_part(r, shape->head, row->codes, &error);
	memset(row->codes + shape->head, 128, padded - shape->head);
	row->tail_scale =
		encode_part(r + shape->head, tail, row->codes + padded, &error);
	for (int i = 0; i < shape->dim; i++)
	{
		double s = (double) r[i] * r[i];

		sq += s;
		if (i >= shape->head)
			tail_sq += s;
	}
	row->tail_norm = round_up(sqrt(tail_sq) * (1 + 1e-12));
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
	double head = 0, tail = 0, tail_sq = 0, sq = 0;

	for (int i = 0; i < shape->dim; i++)
	{
		bool first = i < shape->head;
		int c = row->codes[first ? i : padded + i - shape->head] - 128;
		double scale = first ? row->head_scale : row->tail_scale;
		double d = r[i] - c * scale;

		sq += r[i] * r[i];
		tail_sq += first ? 0 : r[i] * r[i];
		*(first ? &head : &tail) += d * d;
	}
	/* comparisons that are false for what is no number */
	return is_near(row->error, sqrt(head + tail), off) &&
		   is_near(row->tail_norm, sqrt(tail_sq), off) &&
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
}

/*
 * w (n) into query coordinates at `at`; returns the step, adds the squared
 * norms. The most that 255 * w can sum up to stays below 2^31.
 */
static double
quantise(CodeQuery *query, const float *w, int at, int n, int32_t *sum,
		 double *norm, double *rounding)
{
	double most = 0, step;
	int limit = n > 0 ? (int) (INT32_MAX / 256 / n) : 0;

	if (limit > WEIGHT_MAX)
		limit = WEIGHT_MAX;
	for (int i = 0; i < n; i++)
		/* GCC 12 for ARM crashes on fmax here */
		most = fabs(w[i]) > most ? fabs(w[i]) : most;
	step = limit > 0 ? most / limit : 0;
	*sum = 0;
	for (int i = 0; i < n; i++)
	{
		int v = step > 0 ? (int) lrint(w[i] / step) : 0;
		double d = w[i] - v * step;

		query->w[at + i] = (int16_t) v;
		query->high[at + i] = (int8_t) (v >> 7);
		query->low[at + i] = (int8_t) (v & 127);
		*sum += v;
		*norm += (double) w[i] * w[i];
		*rounding += d * d;
	}
	*sum *= 128;
	return step;
}

void
code_query_set(CodeQuery *query, const CodeShape *shape, const float *w,
			   float gain, float share)
{
	double head = 0, tail = 0, rounding = 0;
	int n = shape->head;

	query->head_unit =
		(float) (gain *
				 quantise(query, w, 0, n, &query->head_sum, &head, &rounding));
	query->tail_unit =
		(float) (gain * quantise(query, w + n, query->head, query->tail,
								 &query->tail_sum, &tail, &rounding));
	query->head_error = round_up(gain * sqrt(head * n) / 2 * (1 + 1e-6));
	/* never zero: times an infinite t or e it must be infinite */
	query->tail_norm =
		round_up(share * gain * sqrt(tail) * (1 + 1e-12) + 1e-30);
	query->norm = round_up(gain * sqrt(head + tail) * (1 + 1e-12) + 1e-30);
	query->rounding = round_up(gain * sqrt(rounding) * (1 + 1e-12));
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

static float *
floats_of(const CodeShape *shape, const uint8_t *block)
{
	return (float *) (block + (size_t) code_head_padded(shape) * CODE_LANES);
}

void
code_block_put(const CodeShape *shape, uint8_t *block, int lane,
			   const CodeRow *row)
{
	int padded = code_head_padded(shape);
	float *f = floats_of(shape, block);

	for (int i = 0; i < padded; i += 4)
		memcpy(block + (size_t) i * CODE_LANES + lane * 4, row->codes + i, 4);
	f[lane] = row->head_scale;
	f[CODE_LANES + lane] = row->tail_norm;
	if (shape->l2)
		f[2 * CODE_LANES + lane] = row->sq;
}

void
code_block_get(const CodeShape *shape, const uint8_t *block, int lane,
			   CodeRow *row)
{
	int padded = code_head_padded(shape);
	const float *f = floats_of(shape, block);

	for (int i = 0; i < padded; i += 4)
		memcpy(row->codes + i, block + (size_t) i * CODE_LANES + lane * 4, 4);
	row->head_scale = f[lane];
	row->tail_norm = f[CODE_LANES + lane];
	row->sq = shape->l2 ? f[2 * CODE_LANES + lane] : 0;
}

void
code_block_bounds(const CodeShape *shape, const CodeQuery *query,
				  const uint8_t *block, float base, float *out)
{
	int32_t dots[CODE_LANES];

	code_kernels->head_dots(query, block, dots);
	code_kernels->bounds(query, dots, floats_of(shape, block), shape->l2, base,
						 out);
}

int32_t
code_head_dot(const CodeShape *shape, const CodeQuery *query,
			  const uint8_t *block, int lane)
{
	int padded = code_head_padded(shape);
	int32_t s = 0;

	for (int i = 0; i < padded; i++)
		s += query->w[i] *
			 block[(size_t) (i & ~3) * CODE_LANES + lane * 4 + (i & 3)];
	return s - query->head_sum;
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
