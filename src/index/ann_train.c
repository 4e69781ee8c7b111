/*
 * ann_train.c
 *		From a sample of rows to cells and rotation.
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
#define MIN_SAMPLE 12     /* sampled rows that make a cell */

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
