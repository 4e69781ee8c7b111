/*
 * test_cells.c
 *		Bounds of cells and of row codes as the index uses them: rows and
 *		queries rotated in float32, ranges widened and closed, rows admitted
 *		later. No score, neither the true one nor the operator's, may lie above
 *		a bound of any level.
 */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "math/cells.h"
#include "math/codes.h"
#include "math/eigen_sym.h"
#include "math/rng.h"
#include "math/vec.h"

#define MAX_DIM 2000
#define ROTATED_DIM 320 /* most that a rotation is made for */
#define WIDE (MAX_DIM + CODE_LANES)
#define BUILT 24 /* rows that widen a cell */
#define ROWS 48  /* of them and of those that are offered later */

typedef enum Metric
{
	IP,
	L2,
	COSINE,
	METRICS
} Metric;

typedef enum Kind
{
	CLOUD,
	FAR,        /* a small cloud far from zero */
	AT_ZERO,    /* round zero, which is the centroid */
	LINE,       /* multiples of the centroid */
	SPHERE,     /* all at one distance from the centroid */
	FLAT,       /* round one whose coordinates are equal: sums err one way */
	DUPLICATES, /* all are the centroid */
	ZERO,
	MIXED, /* lengths over twelve orders of magnitude */
	HUGE_ROWS,
	TINY,
	TINIEST, /* their squares vanish in float32 */
	DENORMAL,
	KINDS
} Kind;

typedef enum Asked
{
	ANY,
	OPPOSITE,
	CENTROID,
	NEAR_CENTROID,
	ROW,
	NEAR_ROW,
	THROUGH_ROW, /* from the centroid to a row and beyond */
	NOTHING,
	LONG,
	SHORT,
	ASKED
} Asked;

typedef struct Case
{
	Metric metric;
	int dim;
	CodeShape shape;
	bool rotated;
	float plain[ROWS][WIDE]; /* what the table has */
	float x[ROWS][WIDE];     /* prepared and rotated */
	float r[ROWS][WIDE];
	float centroid[WIDE]; /* rotated */
	float packed[CODE_LANES * WIDE];
	Cell cell;
	int rows;
	CodeRow code[ROWS];
	uint8_t codes[ROWS][WIDE];
	uint8_t block[ROWS / CODE_LANES][CODE_LANES * (WIDE + 32)];
} Case;

static Rng rng;
static float rotation[ROTATED_DIM * (ROTATED_DIM + CODE_LANES)]; /* packed */
static double exact[ROTATED_DIM][ROTATED_DIM];                   /* the same */
static long checked, admitted, loose[3], refused, flips, unseen;

/* a random orthogonal matrix */
static void
make_rotation(int dim)
{
	double *a = malloc(sizeof(double) * dim * dim);
	double *work = malloc(sizeof(double) * 3 * dim);
	float *rows = malloc(sizeof(float) * dim * dim);

	for (int i = 0; i < dim; i++)
		for (int j = 0; j <= i; j++)
			a[i * dim + j] = a[j * dim + i] = rng_normal(&rng);
	CHECK(eigen_sym(a, dim, work, work + dim));
	for (int i = 0; i < dim * dim; i++)
	{
		rows[i] = (float) a[i];
		exact[i / dim][i % dim] = rows[i];
	}
	code_pack(rows, dim, dim, rotation);
	free(a);
	free(work);
	free(rows);
}

static double
length_of(const float *v, int dim)
{
	return sqrt(vec_squares_double(v, dim));
}

static void
random_direction(float *v, int dim)
{
	double length;

	for (int i = 0; i < dim; i++)
		v[i] = (float) rng_normal(&rng);
	length = length_of(v, dim);
	for (int i = 0; i < dim; i++)
		v[i] = (float) (v[i] / length);
}

/* as the index stores it: normalised for cosine, rotated */
static void
prepare(const Case *c, const float *v, float *out)
{
	static float plain[WIDE];
	double scale = c->metric == COSINE ? 1 / length_of(v, c->dim) : 1;

	for (int i = 0; i < c->dim; i++)
		plain[i] = (float) (v[i] * scale);
	if (c->rotated)
		code_pack_dots(plain, rotation, (c->dim + CODE_LANES - 1) / CODE_LANES,
					   c->dim, out);
	else
		memcpy(out, plain, sizeof(float) * c->dim);
}

static double
scale_of(Kind kind)
{
	switch (kind)
	{
		case HUGE_ROWS:
			return 1e13;
		case TINY:
			return 1e-10;
		case TINIEST:
			return 1e-25;
		case DENORMAL:
			return 1e-40;
		default:
			return 1;
	}
}

static void
fill_row(Kind kind, const float *middle, float *v, int dim)
{
	double scale = scale_of(kind);
	double far = kind == FAR ? 1e-3 : kind == FLAT ? middle[0] * sqrt(dim) : 1;
	static float direction[WIDE];

	random_direction(direction, dim);
	for (int i = 0; i < dim; i++)
		switch (kind)
		{
			case AT_ZERO:
				v[i] = direction[i];
				break;
			case LINE:
				v[i] = (float) (middle[i] * (1 + 0.1 * rng_normal(&rng)));
				break;
			case DUPLICATES:
				v[i] = middle[i];
				break;
			case ZERO:
				v[i] = 0;
				break;
			default:
				v[i] = (float) (middle[i] + far * scale * direction[i]);
		}
	if (kind == MIXED)
	{
		double by = pow(10, 12 * rng_uniform(&rng) - 6);

		for (int i = 0; i < dim; i++)
			v[i] = (float) (v[i] * by);
	}
}

static void
encode(Case *c, int row)
{
	CodeRow *code = &c->code[row];

	code->codes = c->codes[row];
	code_encode(&c->shape, c->r[row], code);
	code_block_put(&c->shape, c->block[row / CODE_LANES], row % CODE_LANES,
				   code);
}

/* the row offered at place c->rows: kept when it may be */
static void
offer(Case *c)
{
	int row = c->rows;

	if (c->metric == COSINE && length_of(c->plain[row], c->dim) <= 1e-12)
		return;
	prepare(c, c->plain[row], c->x[row]);
	for (int i = 0; i < c->dim; i++)
		c->r[row][i] = c->x[row][i] - c->centroid[i];
	if (row >= BUILT && !cell_admits(&c->cell, c->metric == L2, c->x[row],
									 c->r[row], c->centroid, c->dim))
		return;
	if (row < BUILT)
		cell_widen(&c->cell, c->x[row], c->r[row], c->centroid, c->dim);
	else
		admitted++;
	encode(c, row);
	c->rows++;
}

/* false: there is no such row under cosine */
static bool
make_case(Case *c, Kind kind)
{
	static float middle[WIDE];
	int dim = c->dim;

	random_direction(middle, dim);
	for (int i = 0; kind == FLAT && i < dim; i++)
		middle[i] = (float) (i == 0 ? 0.05 + rng_uniform(&rng) : middle[0]);
	for (int i = 0; i < dim; i++)
		middle[i] = kind == AT_ZERO || kind == ZERO
						? 0
						: (float) (middle[i] * scale_of(kind));
	if (c->metric == COSINE && length_of(middle, dim) <= 1e-12)
		return false;
	prepare(c, middle, c->centroid);
	code_pack(c->centroid, 1, dim, c->packed);
	cell_begin(&c->cell, c->centroid, dim);
	c->rows = 0;
	for (int i = 0; i < BUILT; i++)
	{
		fill_row(kind, middle, c->plain[i], dim);
		if (c->metric == COSINE && length_of(c->plain[i], dim) <= 1e-12)
			memcpy(c->plain[i], middle, sizeof(float) * dim);
		offer(c);
	}
	cell_close(&c->cell, dim);
	for (int i = 0; i < 2 * BUILT && c->rows < ROWS; i++)
	{
		/* between two rows, or a row, or another */
		const float *a = c->plain[i % BUILT], *b = c->plain[(i * 7) % BUILT];

		fill_row(kind, middle, c->plain[c->rows], dim);
		for (int j = 0; i % 4 > 0 && j < dim; j++)
			c->plain[c->rows][j] = i % 4 == 1 ? a[j] : a[j] / 2 + b[j] / 2;
		offer(c);
	}
	return true;
}

/* a query (dim); not rotated */
static void
fill_query(const Case *c, Asked asked, const float *middle, float *q)
{
	const float *row = c->plain[rng_below(&rng, c->rows)];
	double by = pow(10, -6 * rng_uniform(&rng)), size = length_of(row, c->dim);

	random_direction(q, c->dim);
	for (int i = 0; i < c->dim; i++)
		switch (asked)
		{
			case ANY:
				q[i] = (float) (q[i] * (size > 1e-15 ? size : 1));
				break;
			case OPPOSITE:
				q[i] = -row[i];
				break;
			case CENTROID:
				q[i] = middle[i];
				break;
			case NEAR_CENTROID:
				q[i] = (float) (middle[i] + by * size * q[i]);
				break;
			case ROW:
				q[i] = row[i];
				break;
			case NEAR_ROW:
				q[i] = (float) (row[i] + by * size * q[i]);
				break;
			case THROUGH_ROW:
				q[i] = (float) (middle[i] + 3 * by * (row[i] - middle[i]));
				break;
			case NOTHING:
				q[i] = 0;
				break;
			case LONG:
				q[i] = (float) (q[i] * 1e14);
				break;
			default:
				q[i] = (float) (q[i] * 1e-20);
		}
}

typedef struct Scores
{
	double exact;    /* in double */
	double operator; /* by float32 kernels, as the index turns it round */
} Scores;

static Scores
score(const Case *c, const float *q, const float *x)
{
	int n = c->dim;
	double s = 0, qq = vec_squares_double(q, n), scale;
	float ab, aa, bb;

	if (c->metric == L2)
	{
		for (int i = 0; i < n; i++)
			s -= ((double) q[i] - x[i]) * ((double) q[i] - x[i]);
		scale = sqrt((double) vec_l2_squared(x, q, n));
		return (Scores){s, -scale * scale};
	}
	s = vec_dot_double(q, x, n);
	if (c->metric == IP)
	{
		scale = qq > 0 ? 1 / sqrt(qq) : 1;
		return (Scores){s * scale, vec_dot(q, x, n) * scale};
	}
	vec_cosine_sums(x, q, n, &ab, &aa, &bb);
	return (Scores){s / sqrt(qq * vec_squares_double(x, n)),
					ab / sqrt((double) aa * bb)};
}

/* the three bounds of every row, as ann_search.c has them, against its scores */
static void
check_query(Case *c, const float *plain)
{
	static uint8_t room[9 * WIDE + 999];
	static float q[WIDE], turned[WIDE], w[WIDE];
	const CodeShape *shape = &c->shape;
	const Cell *cell = &c->cell;
	bool l2 = c->metric == L2;
	double norm = length_of(plain, c->dim), scale = norm > 0 ? 1 / norm : 1;
	double q_norm, tiny, base = 0, d = 0, bound, slack;
	float dots[CODE_LANES], level1[CODE_LANES], added[CODE_LANES] = {0};
	CodeQuery query;

	if (norm > 1e15 || (c->metric == COSINE && norm <= 1e-12))
		return; /* the index looks at every row then */
	tiny = c->dim * 1e-44 * (c->metric == IP ? 1 + scale : 1);
	if (l2)
		scale = 1;
	for (int i = 0; i < c->dim; i++)
		q[i] = (float) (plain[i] * scale);
	q_norm = norm * scale * (1 + 1e-6);
	if (c->rotated)
		code_pack_dots(q, rotation, (c->dim + CODE_LANES - 1) / CODE_LANES,
					   c->dim, turned);
	else
		memcpy(turned, q, sizeof(float) * c->dim);
	code_pack_dots(turned, c->packed, 1, c->dim, dots);
	bound = cell_bound(cell, l2, c->dim, dots[0], q_norm, 1) +
			cell_slack(l2, c->dim, q_norm, tiny, cell->length + cell->norm,
					   q_norm + cell->norm, cell->r_max);
	base = dots[0];
	for (int i = 0; l2 && i < c->dim; i++)
	{
		w[i] = turned[i] - c->centroid[i];
		base = i == 0 ? 0 : base;
		d += (double) w[i] * w[i];
		base = -d;
	}
	d = sqrt(d);
	code_query_init(&query, shape, room);
	code_query_set(&query, shape, l2 ? w : turned, l2 ? 2 : 1, 1);
	slack = cell_slack(l2, c->dim, q_norm, tiny, cell->length + cell->norm, d,
					   cell->r_max) +
			(double) query.rounding * cell->r_max * 1.001;
	for (int i = 0; i < c->rows; i++)
	{
		const CodeRow *code = &c->code[i];
		Scores s = score(c, plain, c->plain[i]);
		double high = fmax(s.exact, s.operator),
			   low = fmin(s.exact, s.operator);
		float est, wide;

		if (i % CODE_LANES == 0)
			code_block_bounds(shape, &query, c->block[i / CODE_LANES],
							  (float) base + (float) slack, level1, added);
		est = level1[i % CODE_LANES] - code->head_scale * query.head_error -
			  query.tail_norm * code->rest - (float) slack -
			  added[i % CODE_LANES] +
			  query.tail_unit * code->tail_scale *
				  code_tail_dot(&query, code->codes + code_head_padded(shape));
		wide = query.norm * code->error + (float) slack;
		loose[0] += !(high <= bound);
		loose[1] += !(high <= level1[i % CODE_LANES]);
		loose[2] += !(high <= est + wide && low >= est - wide);
		checked++;
	}
}

/* the residual of a row to the centroid, in double but for the normalising */
static double
true_residual(const Case *c, int row, double *r)
{
	const float *v = c->plain[row];
	double scale = c->metric == COSINE ? 1 / length_of(v, c->dim) : 1;

	for (int i = 0; i < c->dim; i++)
	{
		double sum = 0;

		for (int j = 0; c->rotated && j < c->dim; j++)
			sum += exact[i][j] * (float) (v[j] * scale);
		r[i] = (c->rotated ? sum : (float) (v[i] * scale)) - c->centroid[i];
	}
	return code_off(c->dim, length_of(v, c->dim) * scale +
								length_of(c->centroid, c->dim));
}

/*
 * What code_holds and cell_holds say of each row: true; and of a code that was
 * changed afterwards: false, or what the row promises is still so.
 */
static void
check_holds(Case *c)
{
	static double r[WIDE];
	bool l2 = c->metric == L2;

	for (int i = 0; i < c->rows; i++)
	{
		double off = true_residual(c, i, r), error = 0;
		CodeRow code = c->code[i];
		int at = (int) rng_below(&rng, c->dim), to;
		uint8_t *byte;

		refused +=
			!code_holds(&c->shape, r, off, &code) ||
			!cell_holds(&c->cell, l2, c->x[i], c->r[i], c->centroid, c->dim);
		to = at < c->shape.head
				 ? at
				 : code_head_padded(&c->shape) + at - c->shape.head;
		byte = code.codes + to;
		*byte ^= 1 << rng_below(&rng, 8);
		for (int j = 0; j < c->dim; j++)
		{
			bool head = j < c->shape.head;
			int k = head ? j : code_head_padded(&c->shape) + j - c->shape.head;
			double d = r[j] - (code.codes[k] - 128) *
								  (head ? code.head_scale : code.tail_scale);

			error += d * d;
		}
		flips++;
		if (code_holds(&c->shape, r, off, &code))
		{
			unseen++;
			refused += sqrt(error) > code.error * (1 + 1e-6) + off;
		}
		code_encode(&c->shape, c->r[i], &code);
		if (code.rest > 100 * off)
		{
			code.rest *= 0.9F;
			refused += code_holds(&c->shape, r, off, &code);
			code.rest /= 0.9F;
		}
		if (code.error > 100 * off)
		{
			code.error *= 0.9F;
			refused += code_holds(&c->shape, r, off, &code);
			code.error = NAN;
			refused += code_holds(&c->shape, r, off, &code);
		}
	}
}

static void
check_kind(Case *c, Kind kind)
{
	static float q[WIDE];
	float middle[WIDE];
	long before[3] = {loose[0], loose[1], loose[2]};

	if (!make_case(c, kind))
		return;
	/* the middle in the table's coordinates: a mean of rows does */
	for (int i = 0; i < c->dim; i++)
	{
		double sum = 0;

		for (int r = 0; r < BUILT; r++)
			sum += c->plain[r][i];
		middle[i] = (float) (sum / BUILT);
	}
	for (int asked = 0; asked < ASKED; asked++)
	{
		fill_query(c, asked, middle, q);
		check_query(c, q);
	}
	check_holds(c);
	if (loose[0] > before[0] || loose[1] > before[1] || loose[2] > before[2])
		printf("metric %d, kind %d, dim %d, head %d%s: %ld cell, %ld level-1, "
			   "%ld level-2 bounds too low\n",
			   c->metric, kind, c->dim, c->shape.head,
			   c->rotated ? ", rotated" : "", loose[0] - before[0],
			   loose[1] - before[1], loose[2] - before[2]);
}

static void
check_dim(int dim, int turns)
{
	static Case c;
	const CodeKernels *kernels[CODE_MAX_VARIANTS];
	int variants = code_variants(kernels);

	if (dim <= ROTATED_DIM)
		make_rotation(dim);
	for (int turn = 0; turn < turns; turn++)
	{
		code_kernels = kernels[turn % variants];
		for (int metric = 0; metric < METRICS; metric++)
			for (int kind = 0; kind < KINDS; kind++)
			{
				int head = 4 << turn % 4 < dim ? 4 << turn % 4 : dim;

				c.metric = metric;
				c.dim = dim;
				c.rotated = dim <= ROTATED_DIM && turn % 3 > 0;
				c.shape = (CodeShape){dim, head, metric == L2, turn % 5 < 3};
				check_kind(&c, kind);
			}
	}
}

/* no row, one row, two sets of rows */
static void
check_ranges(void)
{
	float centroid[2] = {3, 4}, x[2] = {6, 8}, r[2] = {3, 4}, at[2] = {0, 0};
	Cell a, b;

	cell_begin(&a, centroid, 2);
	CHECK(a.norm == 5 && a.rows == 0);
	b = a;
	CHECK(cell_widen(&a, x, r, centroid, 2) == 5);
	CHECK(a.rows == 1 && a.along_min == 10 && a.along_max == 10 &&
		  a.across < 1e-3 && a.length == 10 && a.r_min == 5 && a.r_max == 5);
	cell_widen(&b, centroid, at, centroid, 2);
	cell_merge(&a, &b);
	CHECK(a.rows == 2 && a.along_min == 5 && a.along_max == 10 &&
		  a.length == 10 && a.r_min == 0 && a.r_max == 5);
	cell_close(&a, 2);
	CHECK(a.along_min < 5 && a.along_max > 10 && a.length > 10 && a.r_max > 5 &&
		  a.r_min == 0);
	CHECK(cell_admits(&a, false, centroid, at, centroid, 2));
	CHECK(!cell_admits(&a, false, x, r, centroid, 2));
	CHECK(cell_may_admit(&a, false, 25, 5) && cell_may_admit(&a, true, 25, 5));
	CHECK(!cell_may_admit(&a, false, 75, 15));
	CHECK(cell_bound(&a, false, 2, 5, 1, 1) >= 10);
	CHECK(cell_bound(&a, true, 2, 25, 5, 1) == 0);
	cell_begin(&b, centroid, 2);
	cell_close(&b, 2);
	CHECK(!cell_admits(&b, false, x, r, centroid, 2));
}

int
main(void)
{
	static const int dims[] = {1, 2, 3, 8, 17, 32, 64, 128, 320, 2000};
	static const int turns[] = {90, 90, 90, 72, 60, 48, 36, 18, 6, 8};

	rng_init(&rng, 3, 1);
	check_ranges();
	for (int i = 0; i < 10; i++)
		check_dim(dims[i], turns[i]);
	printf("%ld rows against three bounds, %ld admitted later\n", checked,
		   admitted);
	printf("%ld changed codes, %ld of them as good as before\n", flips, unseen);
	CHECK(refused == 0 && flips > 200000 && unseen < flips / 3);
	CHECK(checked > 2000000 && admitted > 20000);
	for (int i = 0; i < 3; i++)
		CHECK(loose[i] == 0);
	return check_summary();
}
