/*
 * test_codes.c
 *		Row codes of the index: no true score above its bound, over millions
 *		of random and adversarial rows; kernels of all instruction sets against
 *		their definition.
 */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "math/codes.h"
#include "math/rng.h"

#define MAX_DIM CODE_MAX_DIM
#define KERNEL_DIM CODE_MAX_DIM

typedef enum Kind
{
	NORMAL,
	HUGE_NORMS,
	TINY_NORMS,
	ONE_DIRECTION,
	DENORMAL,
	SPARSE,
	EQUAL,
	OUTLIER,
	KINDS,
	/* of queries only: where a bound is tight */
	ALONG_ROW = KINDS,
	ALONG_ERROR,
	QUERY_KINDS
} Kind;

static void
fill(Rng *rng, Kind kind, float *v, int dim)
{
	double scale = kind == HUGE_NORMS   ? 1e13
				   : kind == TINY_NORMS ? 1e-15
				   : kind == DENORMAL   ? 1e-39
										: 1;
	double one = rng_normal(rng);

	for (int i = 0; i < dim; i++)
		switch (kind)
		{
			case ONE_DIRECTION:
				v[i] = (float) (one * (i + 1) + 1e-6 * rng_normal(rng));
				break;
			case SPARSE:
				v[i] = rng_uniform(rng) < .05 ? (float) rng_normal(rng) : 0;
				break;
			case EQUAL:
				v[i] = 1.5f;
				break;
			case OUTLIER:
				v[i] = (float) (rng_normal(rng) * (i == 3 ? 1e4 : 1));
				break;
			default:
				v[i] = (float) (rng_normal(rng) * scale);
		}
}

/* S of codes.h in double: base aside */
static double
true_score(const CodeShape *shape, const float *w, float gain, const float *r)
{
	double s = 0, sq = 0;

	for (int i = 0; i < shape->dim; i++)
	{
		s += (double) w[i] * r[i];
		sq += (double) r[i] * r[i];
	}
	return gain * s - (shape->l2 ? sq : 0);
}

static double
length(const float *v, int dim)
{
	double s = 0;

	for (int i = 0; i < dim; i++)
		s += (double) v[i] * v[i];
	return sqrt(s);
}

/* the query: of a kind, or along a row of the block, or along its error */
static void
fill_query(Rng *rng, Kind kind, const CodeShape *shape, const float *r,
		   const CodeRow *row, float *w)
{
	static float decoded[MAX_DIM];

	if (kind < KINDS)
	{
		fill(rng, kind, w, shape->dim);
		return;
	}
	code_decode(shape, row, decoded);
	for (int i = 0; i < shape->dim; i++)
		w[i] = kind == ALONG_ROW ? r[i] : r[i] - decoded[i];
}

/* one block of rows of one kind against one query */
static void
check_block(Rng *rng, const CodeShape *shape, Kind rows, Kind query)
{
	static float r[CODE_LANES][MAX_DIM], w[MAX_DIM];
	static uint8_t block[(MAX_DIM + 32) * CODE_LANES], room[9 * MAX_DIM + 999];
	static uint8_t codes[CODE_LANES][MAX_DIM + 16];
	CodeRow row[CODE_LANES];
	CodeQuery q;
	float bound[CODE_LANES], added[CODE_LANES] = {0}, gain = shape->l2 ? 2 : 1;
	double wlen;
	int low = 0, far = 0, bad = 0;

	for (int l = 0; l < CODE_LANES; l++)
	{
		fill(rng, rows, r[l], shape->dim);
		row[l].codes = codes[l];
		code_encode(shape, r[l], &row[l]);
		code_block_put(shape, block, l, &row[l]);
	}
	fill_query(rng, query, shape, r[0], &row[0], w);
	wlen = length(w, shape->dim);
	code_query_init(&q, shape, room);
	code_query_set(&q, shape, w, gain, 1);
	code_block_bounds(shape, &q, block, 0, bound, added);
	for (int l = 0; l < CODE_LANES; l++)
	{
		double rlen = length(r[l], shape->dim);
		double s = true_score(shape, w, gain, r[l]);
		double slack = code_slack(shape->dim) * (wlen + rlen) * rlen +
					   (double) q.rounding * rlen * 1.001 +
					   shape->dim * 1e-44 * (1 + wlen);
		const float *f = code_block_floats(shape, block) + l;
		double est = (double) bound[l] - f[0] * q.head_error -
					 (double) f[CODE_LANES] * q.tail_norm - added[l];
		double error = (double) q.norm * row[l].error + slack;

		est += (double) q.tail_unit * row[l].tail_scale *
			   code_tail_dot(&q, codes[l] + code_head_padded(shape));
		bad += !code_block_signs_hold(shape, block, l, &row[l]);
		low += s > bound[l] + slack;
		far += !(fabs(s - est) <= error);
	}
	CHECK(low == 0);
	CHECK(far == 0);
	CHECK(bad == 0);
}

static void
check_bounds(void)
{
	static const int dims[] = {1, 3, 4, 17, 24, 33, 64, 100, 128, 300};
	Rng rng;

	rng_init(&rng, 1, 1);
	for (int i = 0; i < 10; i++)
		for (int head = 4; head <= dims[i] || head == 4;
			 head = head < 32 ? head * 2 : head + 48)
			for (int l2 = 0; l2 < 2; l2++)
				for (int a = 0; a < KINDS; a++)
					for (int b = 0; b < QUERY_KINDS; b++)
						for (int turn = 0; turn < 24; turn++)
						{
							CodeShape shape = {dims[i],
											   head < dims[i] ? head : dims[i],
											   l2, turn % 2};

							check_block(&rng, &shape, a, b);
						}
}

/* every kind of rows and queries with more dimensions, with signs and without */
static void
check_many_dims(void)
{
	static const int dims[] = {301, 384, 511, 700, 1536, 1999, 2000};
	static const int heads[] = {60, 64, 7, 301, 0};
	Rng rng;

	rng_init(&rng, 2, 1);
	for (int i = 0; i < 7; i++)
		for (int h = 0; h < 5; h++)
			for (int l2 = 0; l2 < 2; l2++)
				for (int a = 0; a < KINDS; a++)
					for (int b = 0; b < QUERY_KINDS; b++)
					{
						CodeShape shape = {
							dims[i], heads[h] > 0 ? heads[h] : dims[i], l2};

						check_block(&rng, &shape, a, b);
						shape.signs = true;
						check_block(&rng, &shape, a, b);
					}
}

/* a row that is stored and read back */
static void
check_storage(void)
{
	CodeShape shape = {50, 16, true, true};
	static uint8_t block[4096], codes[64], back[64];
	float r[64], decoded[64];
	CodeRow row = {.codes = codes}, got = {.codes = back};
	Rng rng;

	rng_init(&rng, 5, 1);
	for (int lane = 0; lane < CODE_LANES; lane++)
	{
		double sum = 0;

		fill(&rng, NORMAL, r, 50);
		code_encode(&shape, r, &row);
		code_block_put(&shape, block, lane, &row);
		memset(back, 0, sizeof(back));
		code_block_get(&shape, block, lane, &got);
		CHECK(memcmp(codes, back, 16) == 0);
		CHECK(got.head_scale == row.head_scale && got.rest == row.rest &&
			  got.sq == row.sq && got.sign_scale == row.sign_scale &&
			  row.sign_scale > 0);
		CHECK(code_block_signs_hold(&shape, block, lane, &row));
		/* a code of the other sign */
		codes[16 + lane] = codes[16 + lane] >= 128 ? 1 : 255;
		CHECK(!code_block_signs_hold(&shape, block, lane, &row));
		code_encode(&shape, r, &row);
		code_decode(&shape, &row, decoded);
		for (int i = 0; i < 50; i++)
			sum += ((double) r[i] - decoded[i]) * ((double) r[i] - decoded[i]);
		CHECK(sqrt(sum) <= row.error * (1 + 1e-6));
	}
}

/* a tail of one size, of which signs and codes tell all but for rounding */
static void
check_even_tail(void)
{
	CodeShape shape = {192, 64, false, true};
	uint8_t codes[192];
	float r[192];
	CodeRow row = {.codes = codes};
	Rng rng;
	int bad = 0;

	rng_init(&rng, 6, 1);
	for (int turn = 0; turn < 20000; turn++)
	{
		float a =
			turn == 0 ? 1.98837483F : (float) (1.98 + .02 * rng_uniform(&rng));

		for (int i = 0; i < 192; i++)
			r[i] = i < 64 ? 0 : rng_next(&rng) % 2 == 0 ? a : -a;
		code_encode(&shape, r, &row);
		bad += !(fabs(code_decoded_rest(&shape, &row) - row.rest) <=
				 row.error * (1 + 1e-6));
	}
	CHECK(bad == 0);
}

/* what kernels work on; big enough for heads that are not a multiple of 4 */
typedef struct Work
{
	CodeShape shape;
	CodeQuery query;
	float w[KERNEL_DIM];
	uint8_t room[(KERNEL_DIM + 99) * 8];
	uint8_t signs[(KERNEL_DIM + 16) * 2];
	uint8_t block[(KERNEL_DIM + 4) * CODE_LANES];
	uint8_t tail[KERNEL_DIM];
	float packed[3 * KERNEL_DIM * CODE_LANES];
	float floats[3 * CODE_LANES];
	float scales[CODE_LANES];
} Work;

/* codes: all 255, all 1, the ends in turn, or any */
static uint8_t
some_code(Rng *rng, int turn)
{
	switch (turn % 6)
	{
		case 0:
			return 255;
		case 1:
			return 1;
		case 2:
			return rng_next(rng) % 2 == 0 ? 1 : 255;
		default:
			return (uint8_t) rng_next(rng);
	}
}

static void
fill_work(Rng *rng, Work *k, int dim, int head, int turn)
{
	k->shape = (CodeShape){dim, head, turn % 2, true};
	fill(rng, turn % KINDS, k->w, dim);
	/* as large as weights can be, of one sign or of both */
	for (int i = 0; turn % 5 == 0 && i < dim; i++)
		k->w[i] = turn % 10 == 0 || rng_next(rng) % 2 == 0 ? -1 : 1;
	code_query_init(&k->query, &k->shape, k->room);
	code_query_set(&k->query, &k->shape, k->w, 1, 1);
	for (int i = 0; i < code_head_padded(&k->shape) * CODE_LANES; i++)
		k->block[i] = some_code(rng, turn);
	for (int i = 0; i < dim - head; i++)
		k->tail[i] = some_code(rng, turn);
	for (int i = 0; i < (dim - head + 15) / 16 * 32; i++)
		k->signs[i] = some_code(rng, turn);
	for (int i = 0; i < CODE_LANES; i++)
		k->scales[i] = (float) fabs(rng_normal(rng));
	for (int i = 0; i < 3 * dim * CODE_LANES; i++)
		k->packed[i] = (float) rng_normal(rng);
	for (int i = 0; i < 3 * CODE_LANES; i++)
		k->floats[i] = (float) fabs(rng_normal(rng));
}

/* the definition, in 64 bits */
static int64_t
plain_dot(const Work *k, int lane)
{
	int64_t s = 0;
	int head = code_head_padded(&k->shape);

	for (int i = 0; lane < 0 && i < k->query.tail; i++)
		s += (int64_t) k->query.w[head + i] * (k->tail[i] - 128);
	for (int i = 0; lane >= 0 && i < k->shape.head; i++)
		s += (int64_t) k->query.w[i] *
			 (k->block[i / 4 * 64 + lane * 4 + i % 4] - 128);
	return s;
}

/*
 * Twice the sum of a row's signs in steps of sign_unit, less the sum of all weights:
 * the weights themselves are not kept, so of w with what rounding may add, at most
 * half a step each.
 */
static double
plain_signs(const Work *k, int lane)
{
	double s = 0;

	for (int i = 0; i < k->query.tail; i++)
	{
		int byte = i / 16 * 32 + i / 4 % 2 * 16 + lane;
		int bit = k->signs[byte] >> (i / 8 % 2 * 4 + i % 4) & 1;
		double w = k->w[k->shape.head + i] / (double) k->query.sign_unit;

		s += bit ? w : -w;
	}
	return s;
}

static void
check_signs(const CodeKernels *k, Work *work)
{
	int32_t sums[CODE_LANES], plain[CODE_LANES];
	float a[CODE_LANES] = {0}, b[CODE_LANES] = {0};
	float added[2][CODE_LANES] = {{0}};
	int bad = 0;

	k->sign_sums(&work->query, work->signs, sums);
	code_kernels_scalar.sign_sums(&work->query, work->signs, plain);
	k->add_signs(&work->query, sums, work->scales, a, added[0]);
	code_kernels_scalar.add_signs(&work->query, sums, work->scales, b,
								  added[1]);
	for (int l = 0; l < CODE_LANES; l++)
	{
		double s = plain_signs(work, l);

		bad +=
			sums[l] != plain[l] || added[0][l] != a[l] || added[1][l] != b[l];
		/* a denormal unit has too few bits */
		bad += work->query.sign_unit > FLT_MIN &&
			   !(fabs(2 * sums[l] - work->query.sign_sum - s) <=
				 work->query.tail * .51 + 1e-6 * work->query.sign_sum);
		/* one addition of terms that may cancel each other */
		bad +=
			!(fabs(a[l] - b[l]) <=
			  8 * FLT_EPSILON * work->scales[l] *
					  (fabs(work->query.sign_unit * (double) (2 * sums[l])) +
					   work->query.sign_unit * (double) work->query.sign_sum +
					   work->query.sign_error) +
				  1e-43);
	}
	CHECK(bad == 0);
}

static void
check_sums(const CodeKernels *k, Work *work)
{
	int32_t dots[CODE_LANES];
	int bad = 0;

	/* what pads the head has weight 0 */
	k->head_dots(&work->query, work->block, dots);
	for (int l = 0; l < CODE_LANES; l++)
		bad += dots[l] != plain_dot(work, l);
	CHECK(bad == 0);
	CHECK(k->tail_dot(&work->query, work->tail) == plain_dot(work, -1));
}

/* sums of float32, which differ by rounding; limits of them, which do not */
static void
check_floats(const CodeKernels *k, Work *work, int turn)
{
	const CodeKernels *plain = &code_kernels_scalar;
	float x[3 * CODE_LANES + 1], y[3 * CODE_LANES + 1];
	int32_t dots[CODE_LANES];
	double norm = length(work->w, work->shape.dim);
	int dim = work->shape.dim, bad = 0;

	x[3 * CODE_LANES] = y[3 * CODE_LANES] = 7;
	plain->pack_dots(work->w, work->packed, 3, dim, x);
	k->pack_dots(work->w, work->packed, 3, dim, y);
	CHECK(y[3 * CODE_LANES] == 7);
	for (int i = 0; i < 3 * CODE_LANES; i++)
		bad += !(fabs(x[i] - y[i]) <=
				 dim * FLT_EPSILON * norm * 8 * sqrt(dim) + 1e-43);
	CHECK(bad == 0);
	plain->head_dots(&work->query, work->block, dots);
	plain->bounds(&work->query, dots, work->floats, work->shape.l2, .5f, x);
	k->bounds(&work->query, dots, work->floats, work->shape.l2, .5f, y);
	for (int i = 0; i < CODE_LANES; i++)
	{
		double most =
			8 * FLT_EPSILON * (1 + fabs(x[i]) + 4 * norm * (1 + dim * 300.));

		bad += !(fabs(x[i] - y[i]) <= most);
	}
	CHECK(bad == 0);
	x[turn % 16] = turn % 3 == 0   ? NAN
				   : turn % 3 == 1 ? INFINITY
								   : x[turn % 16];
	CHECK(plain->at_least(x, x[5]) == k->at_least(x, x[5]));
	CHECK(plain->at_least(x, -1) == k->at_least(x, -1));
	CHECK(k->at_least(x, -INFINITY) == 0xffff);
}

/* every instruction set of this processor, over all dims and some heads */
static void
check_kernels(void)
{
	static Work work;
	const CodeKernels *list[CODE_MAX_VARIANTS];
	int n = code_variants(list), turn = 0;
	Rng rng;

	rng_init(&rng, 9, 1);
	CHECK(list[0] == &code_kernels_scalar && code_kernels == list[n - 1]);
	for (int dim = 1; dim <= KERNEL_DIM; dim = dim < 140 ? dim + 1 : dim + 97)
		for (int i = 0; i < 8; i++, turn++)
		{
			int head = i == 0   ? dim
					   : i == 1 ? 1
								: 1 + (int) rng_below(&rng, dim);

			fill_work(&rng, &work, dim, head, turn);
			for (int v = 0; v < n; v++)
			{
				check_sums(list[v], &work);
				check_signs(list[v], &work);
				check_floats(list[v], &work, turn);
			}
		}
	printf("kernels:");
	for (int v = 0; v < n; v++)
		printf(" %s", list[v]->name);
	printf("\n");
}

int
main(void)
{
	check_bounds();
	check_many_dims();
	check_storage();
	check_even_tail();
	check_kernels();
	return check_summary();
}
