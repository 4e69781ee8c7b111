/*
 * context.c
 *		Features of the occasion: time, place, device of an interaction.
 */
#include "model/context.h"

#include <math.h>
#include <string.h>

#include "math/hooks.h"

void
context_find(const JobShared *job, const Dataset *ds, Context *c)
{
	const JobFeatures *f = &job->input.context;

	memset(c, 0, sizeof(*c));
	c->n_cols = f->n_cols;
	c->n_groups = f->n_groups;
	c->group_start = f->group_start;
	c->ptr = job_at(job, f->ptr);
	c->col = job_at(job, f->col);
	c->val = job_at(job, f->val);
	c->source = ds->source;
}

/* ---- by column ---- */

bool
context_columns_layout(ContextColumns *by, Arena *arena, const JobFeatures *f)
{
	by->ptr = arena_alloc(arena, (size_t) f->n_cols + 2, sizeof(*by->ptr));
	by->row = arena_alloc(arena, (size_t) f->nnz, sizeof(*by->row));
	by->val = arena_alloc(arena, (size_t) f->nnz, sizeof(*by->val));
	return by->ptr != NULL && by->row != NULL && by->val != NULL;
}

static int64_t
end_of(const Dataset *ds, int32_t u, bool all)
{
	return all ? ds->user_ptr[u + 1] : ds->user_end[u];
}

void
context_columns_fill(ContextColumns *by, const Context *c, const Dataset *ds,
					 bool all)
{
	memset(by->ptr, 0, sizeof(*by->ptr) * ((size_t) c->n_cols + 2));
	for (int32_t u = 0; u < ds->n_users; u++)
		for (int64_t r = ds->user_ptr[u]; r < end_of(ds, u, all); r++)
			for (int64_t e = context_from(c, r); e < context_to(c, r); e++)
				by->ptr[c->col[e] + 2]++;
	for (int32_t k = 2; k < c->n_cols + 2; k++)
		by->ptr[k] += by->ptr[k - 1];
	for (int32_t u = 0; u < ds->n_users; u++)
		for (int64_t r = ds->user_ptr[u]; r < end_of(ds, u, all); r++)
			for (int64_t e = context_from(c, r); e < context_to(c, r); e++)
			{
				int64_t at = by->ptr[c->col[e] + 1]++;

				by->row[at] = (uint32_t) r;
				by->val[at] = c->val[e];
			}
}

/* ---- the mean ---- */

/* the sum of a group's values in every training row, 0 when they differ */
static double
common_sum(const Context *c, const Dataset *ds, bool all, int group, int64_t *n)
{
	int32_t first = c->group_start[group];
	int32_t last = c->group_start[group + 1];
	double common = 0;

	*n = 0;
	for (int32_t u = 0; u < ds->n_users; u++)
		for (int64_t r = ds->user_ptr[u]; r < end_of(ds, u, all); r++)
		{
			double sum = 0;

			for (int64_t e = context_from(c, r); e < context_to(c, r); e++)
				if (c->col[e] >= first && c->col[e] < last)
					sum += c->val[e];
			if (*n > 0 && fabs(sum - common) > 1e-5)
				return 0;
			common = sum;
			++*n;
		}
	return common;
}

void
context_center(const Context *c, const ContextColumns *by, const Dataset *ds,
			   bool all, int dim, float *rows, float *mean)
{
	double *m = math_alloc_array((size_t) dim, sizeof(double));

	for (int g = 0; g < c->n_groups && m != NULL; g++)
	{
		int64_t n;
		double sum = common_sum(c, ds, all, g, &n);

		/* features of several values and vectors have no sum of their own */
		if (!(sum > 1e-3))
			continue;
		memset(m, 0, sizeof(double) * (size_t) dim);
		for (int32_t k = c->group_start[g]; k < c->group_start[g + 1]; k++)
		{
			double share = 0;

			for (int64_t e = by->ptr[k]; e < by->ptr[k + 1]; e++)
				share += by->val[e];
			for (int f = 0; f < dim; f++)
				m[f] += share / (double) n *
						rows[(size_t) k * (size_t) dim + (size_t) f];
		}
		for (int f = 0; f < dim; f++)
			mean[f] += (float) m[f];
		for (int32_t k = c->group_start[g]; k < c->group_start[g + 1]; k++)
			for (int f = 0; f < dim; f++)
				rows[(size_t) k * (size_t) dim + (size_t) f] -=
					(float) (m[f] / sum);
	}
	math_release(m);
}
