/*
 * feature_prior.c
 *		Ridge regression of factors on features, by conjugate gradients.
 *
 * A member owns a range of rows and one of columns. Products with F^T scan
 * all rows and take the member's own columns.
 */
#include "model/feature_prior.h"

#include <math.h>
#include <string.h>

#include "math/vec.h"

#define CHECK_ROWS 1024 /* between two looks at the stop flag */
#define STEPS 15
#define RIDGE 30.0 /* in mean weights of a row */

size_t
feature_prior_size(const JobFeatures *f, int ld)
{
	size_t rows = (size_t) f->n_rows;
	size_t cols = (size_t) f->n_cols + 1;
	size_t d = (size_t) ld;

	if (f->n_rows == 0)
		return 0;
	return arena_need(rows, sizeof(float)) +
		   2 * arena_need(rows * d, sizeof(float)) +
		   4 * arena_need(cols * d, sizeof(float)) +
		   arena_need(cols, sizeof(float)) + arena_need(3 * d, sizeof(double));
}

RsStatus
feature_prior_init(Arena *arena, const JobShared *job, const JobFeatures *f,
				   int ld, FeaturePrior *fp)
{
	size_t rows = (size_t) f->n_rows;
	size_t cols = (size_t) f->n_cols + 1;
	size_t d = (size_t) ld;

	memset(fp, 0, sizeof(*fp));
	fp->n_rows = f->n_rows;
	fp->n_cols = f->n_cols + 1;
	fp->ld = ld;
	fp->ptr = job_at(job, f->ptr);
	fp->col = job_at(job, f->col);
	fp->val = job_at(job, f->val);
	fp->weight = arena_alloc(arena, rows, sizeof(float));
	fp->prior = arena_alloc(arena, rows * d, sizeof(float));
	fp->y = arena_alloc(arena, rows * d, sizeof(float));
	fp->a = arena_alloc(arena, cols * d, sizeof(float));
	fp->r = arena_alloc(arena, cols * d, sizeof(float));
	fp->p = arena_alloc(arena, cols * d, sizeof(float));
	fp->q = arena_alloc(arena, cols * d, sizeof(float));
	fp->diag = arena_alloc(arena, cols, sizeof(float));
	fp->rho = arena_alloc(arena, 3 * d, sizeof(double));
	return fp->weight != NULL && fp->prior != NULL && fp->y != NULL &&
				   fp->a != NULL && fp->r != NULL && fp->p != NULL &&
				   fp->q != NULL && fp->diag != NULL && fp->rho != NULL
			   ? RS_OK
			   : RS_NO_MEMORY;
}

/* the team is to stop, by row r; the next barrier says so to all */
static bool
stopped(Team *team, int64_t r)
{
	return r % CHECK_ROWS == 0 && team_stopped(team) != RS_OK;
}

static float *
row_of(float *x, int64_t r, int ld)
{
	return x + (size_t) r * (size_t) ld;
}

/* out (rows) = F x, for this member's rows */
static void
times(Team *team, const FeaturePrior *fp, int ld, float *x, float *out)
{
	int64_t from;
	int64_t to;

	team_range(team, fp->n_rows, &from, &to);
	for (int64_t r = from; r < to && !stopped(team, r); r++)
	{
		float *o = row_of(out, r, ld);

		memcpy(o, row_of(x, fp->n_cols - 1, ld), sizeof(float) * (size_t) ld);
		for (int64_t k = fp->ptr[r]; k < fp->ptr[r + 1]; k++)
			vec_axpy(fp->val[k], row_of(x, fp->col[k], ld), o, ld);
	}
}

/* out (columns) = F^T (weight x), for this member's columns */
static RsStatus
times_transposed(Team *team, const FeaturePrior *fp, int ld, const float *x,
				 float *out)
{
	int64_t from;
	int64_t to;

	team_range(team, fp->n_cols, &from, &to);
	memset(row_of(out, from, ld), 0,
		   sizeof(float) * (size_t) (to - from) * (size_t) ld);
	for (int32_t r = 0; r < fp->n_rows; r++)
	{
		const float *in = x + (size_t) r * (size_t) ld;

		for (int64_t k = fp->ptr[r]; k < fp->ptr[r + 1]; k++)
			if (fp->col[k] >= from && fp->col[k] < to)
				vec_axpy(fp->weight[r] * fp->val[k], in,
						 row_of(out, fp->col[k], ld), ld);
		if (to == fp->n_cols)
			vec_axpy(fp->weight[r], in, row_of(out, fp->n_cols - 1, ld), ld);
		if (stopped(team, r))
			return team_stopped(team);
	}
	return RS_OK;
}

/* the diagonal of F^T W F, for this member's columns; the ridge is added */
static double
diagonal(Team *team, FeaturePrior *fp)
{
	int64_t from;
	int64_t to;
	double total = 0;

	team_range(team, fp->n_cols, &from, &to);
	for (int32_t r = 0; r < fp->n_rows; r++)
		total += fp->weight[r];
	total = RIDGE * total / fp->n_rows + 1e-9;
	for (int64_t c = from; c < to; c++)
		fp->diag[c] = (float) total;
	for (int32_t r = 0; r < fp->n_rows && !stopped(team, r); r++)
	{
		for (int64_t k = fp->ptr[r]; k < fp->ptr[r + 1]; k++)
			if (fp->col[k] >= from && fp->col[k] < to)
				fp->diag[fp->col[k]] += fp->weight[r] * fp->val[k] * fp->val[k];
		if (to == fp->n_cols)
			fp->diag[fp->n_cols - 1] += fp->weight[r];
	}
	return total;
}

/* out (ld) = column sums of x * y * scale, scale NULL: 1; rank 0 */
static void
dots(Team *team, const FeaturePrior *fp, int ld, const float *x, const float *y,
	 bool by_diag, double *out)
{
	memset(out, 0, sizeof(double) * (size_t) ld);
	for (int32_t c = 0; c < fp->n_cols && !stopped(team, c); c++)
		for (int k = 0; k < ld; k++)
		{
			double v = (double) x[(size_t) c * (size_t) ld + (size_t) k] *
					   y[(size_t) c * (size_t) ld + (size_t) k];

			out[k] += by_diag ? v / fp->diag[c] : v;
		}
}

/* a and r move along p; this member's columns */
static void
move(Team *team, FeaturePrior *fp, int ld, const double *rho, const double *pq)
{
	int64_t from;
	int64_t to;

	team_range(team, fp->n_cols, &from, &to);
	for (int64_t c = from; c < to && !stopped(team, c); c++)
		for (int k = 0; k < ld; k++)
		{
			size_t at = (size_t) c * (size_t) ld + (size_t) k;
			float alpha = pq[k] > 1e-30 ? (float) (rho[k] / pq[k]) : 0;

			fp->a[at] += alpha * fp->p[at];
			fp->r[at] -= alpha * fp->q[at];
		}
}

/* p = r / diag + beta p; this member's columns */
static void
turn(Team *team, FeaturePrior *fp, int ld, const double *now,
	 const double *before)
{
	int64_t from;
	int64_t to;

	team_range(team, fp->n_cols, &from, &to);
	for (int64_t c = from; c < to && !stopped(team, c); c++)
		for (int k = 0; k < ld; k++)
		{
			size_t at = (size_t) c * (size_t) ld + (size_t) k;
			float beta = before != NULL && before[k] > 1e-30
							 ? (float) (now[k] / before[k])
							 : 0;

			fp->p[at] = fp->r[at] / fp->diag[c] +
						(before != NULL ? beta * fp->p[at] : 0);
		}
}

static RsStatus
step(Team *team, FeaturePrior *fp, int ld, double ridge, double *now,
	 double *next, double *pq)
{
	int64_t from;
	int64_t to;
	RsStatus st;

	times(team, fp, ld, fp->p, fp->y);
	if ((st = team_barrier(team)) != RS_OK)
		return st;
	if ((st = times_transposed(team, fp, ld, fp->y, fp->q)) != RS_OK)
		return st;
	team_range(team, fp->n_cols, &from, &to);
	/* row by row: all of them can be more floats than an int counts */
	for (int64_t c = from; c < to; c++)
		vec_axpy((float) ridge, row_of(fp->p, c, ld), row_of(fp->q, c, ld), ld);
	if ((st = team_barrier(team)) != RS_OK)
		return st;
	if (team->rank == 0)
		dots(team, fp, ld, fp->p, fp->q, false, pq);
	if ((st = team_barrier(team)) != RS_OK)
		return st;
	move(team, fp, ld, now, pq);
	if ((st = team_barrier(team)) != RS_OK)
		return st;
	if (team->rank == 0)
		dots(team, fp, ld, fp->r, fp->r, true, next);
	if ((st = team_barrier(team)) != RS_OK)
		return st;
	turn(team, fp, ld, next, now);
	return team_barrier(team);
}

RsStatus
feature_prior_fit(Team *team, FeaturePrior *fp, int ld, const float *factors)
{
	double *rho[2] = {fp->rho, fp->rho + ld};
	double *pq = fp->rho + 2 * ld;
	double ridge = diagonal(team, fp);
	int64_t from;
	int64_t to;
	RsStatus st;

	team_range(team, fp->n_cols, &from, &to);
	memset(row_of(fp->a, from, ld), 0,
		   sizeof(float) * (size_t) (to - from) * (size_t) ld);
	if ((st = times_transposed(team, fp, ld, factors, fp->r)) != RS_OK)
		return st;
	turn(team, fp, ld, NULL, NULL);
	if ((st = team_barrier(team)) != RS_OK)
		return st;
	if (team->rank == 0)
		dots(team, fp, ld, fp->r, fp->r, true, rho[0]);
	if ((st = team_barrier(team)) != RS_OK)
		return st;
	for (int k = 0; k < STEPS && st == RS_OK; k++)
		st = step(team, fp, ld, ridge, rho[k & 1], rho[(k + 1) & 1], pq);
	if (st != RS_OK)
		return st;
	times(team, fp, ld, fp->a, fp->prior);
	return team_barrier(team);
}

void
feature_prior_map(Team *team, const FeaturePrior *fp, int ld, int dim,
				  float scale, float *map, int k, int blocks)
{
	int64_t from;
	int64_t to;

	team_range(team, fp->n_cols, &from, &to);
	for (int64_t c = from; c < to && !stopped(team, c); c++)
	{
		const float *a = fp->a + (size_t) c * (size_t) ld;
		float *out =
			map + ((size_t) c * (size_t) blocks + (size_t) k) * (size_t) dim;

		for (int j = 0; j < dim; j++)
			out[j] = a[j] * scale;
	}
}

void
feature_prior_place(Team *team, const FeaturePrior *fp, const DatasetSide *side,
					const float *map, int width, float *rows)
{
	size_t w = (size_t) width;
	int64_t from;
	int64_t to;

	team_range(team, fp->n_rows, &from, &to);
	for (int64_t r = from; r < to && !stopped(team, r); r++)
	{
		float *out = rows + (size_t) r * w;

		if (side->end[r] > side->ptr[r])
			continue;
		memcpy(out, map + (size_t) (fp->n_cols - 1) * w, sizeof(float) * w);
		for (int64_t e = fp->ptr[r]; e < fp->ptr[r + 1]; e++)
			vec_axpy(fp->val[e], map + (size_t) fp->col[e] * w, out, width);
	}
}
