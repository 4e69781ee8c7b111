/*
 * ann_train.c
 *		From a sample of rows to cells, rotation and calibrated factors.
 */
#include "postgres.h"

#include <math.h>

#include "index/ann_build.h"
#include "math/eigen_sym.h"
#include "math/vec.h"
#include "miscadmin.h"
#include "pg/pg_hooks.h"
#include "utils/memutils.h"

#define SAMPLE_MAX 200000
#define SAMPLE_MIN 256
#define ROTATE_MAX_DIM 512
#define MOMENT_ROWS 20000 /* rows whose residuals make the rotation */
#define CALIBRATE_QUERIES 256
#define CALIBRATE_TOP 10
#define MIN_SAMPLE 12 /* sampled rows that make a cell */

void
ann_train_begin(AnnBuild *build)
{
	Size row = sizeof(float) * build->dim + 24;

	build->sample_room =
		(int) Min(SAMPLE_MAX, Max(build->memory / 2 / row, SAMPLE_MIN));
	build->sample = MemoryContextAllocHuge(
		build->context, sizeof(float) * (Size) build->sample_room * build->dim);
}

/* one more row for the sample, by reservoir sampling */
void
ann_train_offer(AnnBuild *build, Datum value)
{
	Pointer copy;
	const float *x = ann_datum(value, build->dim, &copy);
	int at = build->sampled;

	if (ann_prepare(build->metric, x, build->dim, build->scratch))
	{
		build->seen++;
		if (at >= build->sample_room)
			at = (int) Min(rng_below(&build->rng, (uint64) build->seen),
						   (uint64) build->sample_room);
		else
			build->sampled++;
		if (at < build->sample_room)
			memcpy(build->sample + (Size) at * build->dim, build->scratch,
				   sizeof(float) * build->dim);
	}
	if (copy != NULL)
		pfree(copy);
}

/*
 * Rows of a cell: a scan scores every centroid and reads a few cells, so
 * the square root balances both; a leaf should be well filled.
 */
static int
target_rows(const AnnBuild *build)
{
	double target = 0.4 * sqrt(build->total);

	return (int) Max(Min(target, 4096), Min(build->layout.rows, 176));
}

/* a little more than the rows, since kernels write whole registers */
Size
ann_centroids_size(const AnnBuild *build)
{
	return sizeof(float) * ((Size) build->cells * build->dim + CODE_LANES);
}

Size
ann_rotation_size(const AnnBuild *build)
{
	int blocks = (build->dim + CODE_LANES - 1) / CODE_LANES;

	return build->rotation == NULL
			   ? 0
			   : sizeof(float) * CODE_LANES * (Size) build->dim * blocks;
}

/* centroids as means of the sample's rows; owner (sampled): their cells */
static void
find_centroids(AnnBuild *build, int32 *owner)
{
	int dim = build->dim;
	int32 *count = palloc0(sizeof(int32) * build->cells);

	build->centroid =
		MemoryContextAllocHuge(build->context, ann_centroids_size(build));
	memset(build->centroid, 0, ann_centroids_size(build));
	for (int i = 0; i < build->sampled; i++)
	{
		const float *x = build->sample + (Size) i * dim;
		float *c;

		if (i % 1024 == 0)
			CHECK_FOR_INTERRUPTS();
		owner[i] = partition_assign(&build->part, x);
		c = build->centroid + (Size) owner[i] * dim;
		count[owner[i]]++;
		for (int j = 0; j < dim; j++)
			c[j] += x[j];
	}
	for (int c = 0; c < build->cells; c++)
		for (int j = 0; count[c] > 0 && j < dim; j++)
			build->centroid[(Size) c * dim + j] /= count[c];
	pfree(count);
}

/* the second moment of residuals over a part of the sample */
static void
residual_moment(AnnBuild *build, const int32 *owner, double *moment)
{
	int dim = build->dim;
	int used = Min(build->sampled, MOMENT_ROWS);
	float *r = palloc(sizeof(float) * dim);

	memset(moment, 0, sizeof(double) * dim * dim);
	for (int u = 0; u < used; u++)
	{
		int i = (int) ((int64) build->sampled * u / used);
		const float *x = build->sample + (Size) i * dim;
		const float *c = build->centroid + (Size) owner[i] * dim;

		if (u % 256 == 0)
			CHECK_FOR_INTERRUPTS();
		for (int j = 0; j < dim; j++)
			r[j] = x[j] - c[j];
		for (int j = 0; j < dim; j++)
			for (int k = 0; k <= j; k++)
				moment[(Size) j * dim + k] += (double) r[j] * r[k];
	}
	for (int j = 0; j < dim; j++)
		for (int k = 0; k < j; k++)
			moment[(Size) k * dim + j] = moment[(Size) j * dim + k];
	pfree(r);
}

/*
 * The rotation that puts the residuals' energy into the first coordinates.
 * No rotation where it would not pay or not fit; the codes are as right
 * without.
 */
static void
find_rotation(AnnBuild *build, const int32 *owner)
{
	int dim = build->dim;
	Size bytes = sizeof(double) * dim * dim;
	double *moment, *w;
	float *rows;

	build->rotation = NULL;
	if (build->layout.tail_size == 0 || dim > ROTATE_MAX_DIM ||
		build->sampled < 2 || 3 * bytes > Max(build->memory / 2, 512 * 1024))
		return;
	moment = palloc(bytes);
	w = palloc(sizeof(double) * dim * 3);
	residual_moment(build, owner, moment);
	if (eigen_sym(moment, dim, w, w + dim))
	{
		int blocks = (dim + CODE_LANES - 1) / CODE_LANES;

		rows = palloc(sizeof(float) * dim * dim);
		for (int i = 0; i < dim; i++)
			for (int j = 0; j < dim; j++)
				rows[(Size) i * dim + j] = (float) moment[(Size) j * dim + i];
		build->rotation = MemoryContextAllocZero(
			build->context, sizeof(float) * blocks * CODE_LANES * dim);
		code_pack(rows, dim, dim, build->rotation);
		pfree(rows);
	}
	pfree(moment);
	pfree(w);
}

/* n vectors in place, into rotated coordinates */
static void
rotate_all(AnnBuild *build, float *v, int n)
{
	int dim = build->dim;
	int blocks = (dim + CODE_LANES - 1) / CODE_LANES;

	for (int i = 0; build->rotation != NULL && i < n; i++)
	{
		if (i % 1024 == 0)
			CHECK_FOR_INTERRUPTS();
		code_pack_dots(v + (Size) i * dim, build->rotation, blocks, dim,
					   build->scratch);
		memcpy(v + (Size) i * dim, build->scratch, sizeof(float) * dim);
	}
}

void
ann_train_begin_cells(AnnBuild *build)
{
	build->cell = MemoryContextAllocHuge(
		build->context, sizeof(AnnCell) * (Size) (build->cells + 1));
	memset(build->cell, 0, sizeof(AnnCell) * (Size) (build->cells + 1));
	for (int c = 0; c < build->cells; c++)
	{
		const float *v = build->centroid + (Size) c * build->dim;

		cell_begin(build->cell + c, v, build->dim);
	}
}

void
ann_train(AnnBuild *build)
{
	MemoryContext old = MemoryContextSwitchTo(build->context);
	PartitionPlan plan;
	RsStatus status;
	int32 *owner;

	plan.by_norm = build->metric == ANN_IP;
	plan.per_row = build->sampled > 0 ? build->total / build->sampled : 1;
	plan.target = target_rows(build);
	plan.min_sample = MIN_SAMPLE;
	plan.seed = 1;
	status = partition_train(&build->part, build->sample, build->sampled,
							 build->dim, &plan);
	if (status != RS_OK)
		pg_throw_status(status, "could not divide the rows into cells", NULL);
	build->cells = build->sampled > 0 ? build->part.cells : 0;
	owner = MemoryContextAllocHuge(build->context,
								   sizeof(int32) * (build->sampled + 1));
	find_centroids(build, owner);
	find_rotation(build, owner);
	rotate_all(build, build->centroid, build->cells);
	ann_train_begin_cells(build);
	pfree(owner);
	MemoryContextSwitchTo(old);
}

/* query number i of the calibration, into q (dim), original coordinates */
static void
sample_query(AnnBuild *build, int i, float *q)
{
	int dim = build->dim;
	const float *x;

	if (build->query != NULL)
	{
		memcpy(q,
			   build->query +
				   (Size) rng_below(&build->rng, build->queries) * dim,
			   sizeof(float) * dim);
		return;
	}

	/*
	 * A held-out row. For inner products every other query is a difference
	 * of two rows, since users lie where no item does: measured, the factors
	 * that users need are between those of both kinds or close to them.
	 */
	x = build->sample + (Size) rng_below(&build->rng, build->sampled) * dim;
	memcpy(q, x, sizeof(float) * dim);
	if (build->metric != ANN_IP || i % 2 == 0)
		return;
	x = build->sample + (Size) rng_below(&build->rng, build->sampled) * dim;
	for (int j = 0; j < dim; j++)
		q[j] -= x[j];
}

typedef struct Near
{
	float score;
	int row;
} Near;

static int
compare_float(const void *a, const void *b)
{
	float x = *(const float *) a, y = *(const float *) b;

	return x < y ? -1 : x > y;
}

/* the best rows of the sample for q; rows the same as q do not count */
static int
best_of_sample(AnnBuild *build, const float *q, Near *best)
{
	int dim = build->dim, n = 0;

	for (int i = 0; i < build->sampled; i++)
	{
		const float *x = build->sample + (Size) i * dim;
		float s = build->metric == ANN_L2 ? -vec_l2_squared(q, x, dim)
										  : vec_dot(q, x, dim);
		int at;

		if (i % 4096 == 0)
			CHECK_FOR_INTERRUPTS();
		if (n == CALIBRATE_TOP && s <= best[n - 1].score)
			continue;
		if (memcmp(q, x, sizeof(float) * dim) == 0)
			continue;
		at = n < CALIBRATE_TOP ? n++ : n - 1;
		for (; at > 0 && best[at - 1].score < s; at--)
			best[at] = best[at - 1];
		best[at].score = s;
		best[at].row = i;
	}
	return n;
}

/*
 * The least factor z at which row x's cell is opened in time, that is,
 * before the score of x itself would be returned.
 */
static float
needed_factor(AnnBuild *build, const float *q, const float *x, double score,
			  int cell)
{
	const AnnCell *c = build->cell + cell;
	const float *v = build->centroid + (Size) cell * build->dim;
	AnnCache one;
	AnnCell own = *c;
	double qq = vec_dot(q, q, build->dim);
	float dot = vec_dot(q, v, build->dim);
	float low = 0, high = 1;

	memset(&one, 0, sizeof(one));
	one.metric = build->metric;
	one.dim = build->dim;
	one.cell = &own;
	if (ann_cell_bound(&one, 0, dot, sqrt(qq), 0) >= score)
		return 0;
	for (int i = 0; i < 10; i++)
	{
		float z = (low + high) / 2;

		if (ann_cell_bound(&one, 0, dot, sqrt(qq), z) >= score)
			high = z;
		else
			low = z;
	}
	return high;
}

/*
 * The least share of |w_tail| t by which row x's level-1 bound reaches its
 * score: the cosine between the tails.
 */
static float
needed_share(AnnBuild *build, const float *q, const float *x, int cell)
{
	const float *v = build->centroid + (Size) cell * build->dim;
	bool l2 = build->metric == ANN_L2;
	double dot = 0, ww = 0, rr = 0;

	for (int i = build->layout.shape.head; i < build->dim; i++)
	{
		double r = x[i] - v[i], w = l2 ? q[i] - v[i] : q[i];

		dot += w * r;
		ww += w * w;
		rr += r * r;
	}
	return dot > 0 ? (float) (dot / sqrt(ww * rr)) : 0;
}

/* of n sorted numbers the one that a share of them does not exceed */
static float
quantile(const float *sorted, int n, double share)
{
	return n > 0 ? sorted[Min(n - 1, (int) ceil(share * (n - 1)))] : 1;
}

/* factors needed by near pairs of queries and rows; returns their number */
static int
needed_factors(AnnBuild *build, float *q, const int32 *owner, float *need,
			   float *share)
{
	int dim = build->dim, n = 0;

	for (int i = 0; i < CALIBRATE_QUERIES; i++)
	{
		Near best[CALIBRATE_TOP];
		int found = best_of_sample(build, q + (Size) i * dim, best);

		for (int k = 0; k < found; k++)
		{
			const float *x = build->sample + (Size) best[k].row * dim;
			int cell = owner[best[k].row];

			need[n] = needed_factor(build, q + (Size) i * dim, x, best[k].score,
									cell);
			share[n++] = needed_share(build, q + (Size) i * dim, x, cell);
		}
	}
	qsort(need, n, sizeof(float), compare_float);
	qsort(share, n, sizeof(float), compare_float);
	return n;
}

/*
 * The share of pairs that may be missed in the sample for `rare` of them to
 * be missed in the table. The best rows of the sample are farther down the
 * table's list, and the best of the table need larger factors: of 10M rows
 * with a sample of about 120,000 twice as many were missed as were allowed.
 * The form of the correction is a guess between that and none at all.
 */
static double
cautious(const AnnBuild *build, double rare)
{
	double ratio = Max(build->total / build->sampled, 1);

	return rare / (1 + log10(ratio) / 2);
}

/*
 * Find for each recall level the factors that reach it on sample queries
 * (called when the sample and the centroids are known and the cells' ranges
 * closed). A row counts as found only if its cell's bound reaches its own
 * score, while scans open cells down to the score of the last row wanted: so
 * z errs to the side of recall, which leaves room for what share loses.
 * Rotates the sample.
 */
void
ann_calibrate(AnnBuild *build)
{
	int dim = build->dim, n;
	Size pairs = CALIBRATE_QUERIES * CALIBRATE_TOP;
	float *need = palloc(sizeof(float) * pairs);
	float *share = palloc(sizeof(float) * pairs);
	float *q = palloc(sizeof(float) * CALIBRATE_QUERIES * dim);
	int32 *owner;

	for (int i = 0; i < ANN_RECALLS; i++)
		build->meta.z[i] = build->meta.share[i] = 1;
	if (build->sampled < 2 * CALIBRATE_TOP || build->cells < 2)
		return;
	owner =
		MemoryContextAllocHuge(build->context, sizeof(int32) * build->sampled);
	for (int i = 0; i < CALIBRATE_QUERIES; i++)
		sample_query(build, i, q + (Size) i * dim);
	for (int i = 0; i < build->sampled; i++)
		owner[i] =
			partition_assign(&build->part, build->sample + (Size) i * dim);
	rotate_all(build, build->sample, build->sampled);
	rotate_all(build, q, CALIBRATE_QUERIES);
	n = needed_factors(build, q, owner, need, share);
	for (int i = 0; i < ANN_RECALLS; i++)
	{
		double rare = cautious(build, 1 - ann_recalls[i]);

		build->meta.z[i] = quantile(need, n, 1 - rare);
		build->meta.share[i] = quantile(share, n, 1 - rare / 4);
	}
	pfree(need);
	pfree(share);
	pfree(q);
	pfree(owner);
}
