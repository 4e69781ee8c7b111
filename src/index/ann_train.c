/*
 * ann_train.c
 *		From a sample of rows to cells and rotation.
 */
#include "postgres.h"

#include <math.h>

#include "index/ann_build.h"
#include "math/rotation.h"
#include "math/vec.h"
#include "miscadmin.h"
#include "pg/pg_hooks.h"
#include "utils/memutils.h"

#define SAMPLE_MAX 200000
#define SAMPLE_MIN 256
#define MIN_SAMPLE 12     /* sampled rows that make a cell */
#define TRIAL_SAMPLE 8192 /* rows by which signs are chosen */
#define SIGNS_REST 0.45 /* of residuals outside the head, from which they pay */

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
	return build->rotation == NULL
			   ? 0
			   : rotation_size(build->dim, build->layout.shape.head);
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

/*
 * The rotation that puts the residuals' energy into the first coordinates, by the
 * sample's first `fit` rows. None where it would not pay or not fit; the codes are as right without.
 */
static void
find_rotation(AnnBuild *build, const int32 *owner, int fit)
{
	int dim = build->dim, head = build->layout.shape.head;
	RotationRows rows = {build->sample, build->centroid, owner, fit, dim};
	RsStatus status;
	bool found;

	build->rotation = NULL;
	if (build->layout.tail_size == 0 ||
		rotation_scratch(dim, head) > Max(build->memory / 2, 512 * 1024))
		return;
	build->rotation =
		MemoryContextAlloc(build->context, rotation_size(dim, head));
	status = rotation_find(&rows, head, build->rotation, &found);
	if (status != RS_OK)
		pg_throw_status(status, "could not find a rotation", NULL);
	if (!found)
	{
		pfree(build->rotation);
		build->rotation = NULL;
	}
}

void
ann_train_rotate(AnnBuild *build, float *v, int n)
{
	int dim = build->dim;

	for (int i = 0; build->rotation != NULL && i < n; i++)
	{
		if (i % 1024 == 0)
			CHECK_FOR_INTERRUPTS();
		rotation_apply(build->rotation, dim, build->layout.shape.head,
					   v + (Size) i * dim, build->scratch);
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

/*
 * Of the residuals' energy what lies outside the head, by the sample's rows from `from`
 * on: those by which the rotation was found have less there. 0 to 1
 */
static double
rest_of_residuals(AnnBuild *build, const int32 *owner, int from)
{
	int dim = build->dim, head = build->layout.shape.head;
	float *r = palloc(sizeof(float) * dim);
	double all = 0, inside = 0;

	for (int i = from; i < build->sampled; i++)
	{
		const float *x = build->sample + (Size) i * dim;
		const float *c = build->centroid + (Size) owner[i] * dim;

		for (int j = 0; j < dim; j++)
			r[j] = x[j] - c[j];
		ann_train_rotate(build, r, 1);
		for (int j = 0; j < dim; j++)
		{
			all += (double) r[j] * r[j];
			inside += j < head ? (double) r[j] * r[j] : 0;
		}
	}
	pfree(r);
	return all > 0 ? 1 - inside / all : 0;
}

/* cells, centroids and rotation from the sample, the rotation by its first `fit`
 * rows; owner (sampled): the rows' cells */
static void
divide(AnnBuild *build, int32 *owner, int fit)
{
	PartitionPlan plan;
	RsStatus status;

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
	find_centroids(build, owner);
	find_rotation(build, owner, fit);
}

/* undo divide */
static void
forget(AnnBuild *build)
{
	partition_free(&build->part);
	pfree(build->centroid);
	if (build->rotation != NULL)
		pfree(build->rotation);
	build->rotation = NULL;
}

/* n of the sample's rows, chosen at random, to its front */
static void
shuffle(AnnBuild *build, int n)
{
	Size size = sizeof(float) * build->dim;

	for (int i = 0; i < n; i++)
	{
		float *a = build->sample + (Size) i * build->dim;
		float *b = a + rng_below(&build->rng, build->sampled - i) * build->dim;

		memcpy(build->scratch, a, size);
		memmove(a, b, size);
		memcpy(b, build->scratch, size);
	}
}

/*
 * Level 1 has signs where the first coordinates alone say too little. That is chosen
 * before the cells, since how many rows a leaf takes enters into their size; by cells
 * of a part of the sample, which are larger than those to come.
 */
static void
choose_signs(AnnBuild *build, int32 *owner)
{
	int sampled = build->sampled;
	int trial = Min(sampled, TRIAL_SAMPLE), fit = trial / 4 * 3;

	/* by L2 each cell has a query of its own, and tables of signs take too long */
	if (build->dim < ANN_SIGNS_DIM || build->metric == ANN_L2)
		return;
	shuffle(build, trial);
	build->sampled = trial;
	divide(build, owner, fit);
	ann_build_layout(build,
					 build->rotation != NULL &&
						 rest_of_residuals(build, owner, fit) > SIGNS_REST);
	forget(build);
	build->sampled = sampled;
}

void
ann_train(AnnBuild *build)
{
	MemoryContext old = MemoryContextSwitchTo(build->context);
	int32 *owner = MemoryContextAllocHuge(build->context,
										  sizeof(int32) * (build->sampled + 1));

	choose_signs(build, owner);
	divide(build, owner, build->sampled);
	ann_train_rotate(build, build->centroid, build->cells);
	ann_train_begin_cells(build);
	pfree(owner);
	MemoryContextSwitchTo(old);
}
