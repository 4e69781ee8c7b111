/*
 * context.c
 *		Features of the occasion: time, place, device of an interaction.
 */
#include "model/context.h"

#include <math.h>
#include <string.h>

#include "math/hooks.h"

#define CHECK_EVERY 65536 /* rows between two looks at the stop flag */

size_t
context_size(const JobInput *in)
{
	return in->context.n_cols > 0 ? arena_need((size_t) in->n, sizeof(uint32_t))
								  : 0;
}

/* where item is in item[from .. to-1], which rises; -1: nowhere */
static int64_t
find_item(const int32_t *item, int64_t from, int64_t to, int32_t wanted)
{
	int64_t end = to;

	while (from < to)
	{
		int64_t mid = from + (to - from) / 2;

		if (item[mid] < wanted)
			from = mid + 1;
		else
			to = mid;
	}
	return from < end && item[from] == wanted ? from : -1;
}

/* the interaction that the data set has of this pair */
static int64_t
find_pair(const Dataset *ds, int32_t user, int32_t item)
{
	int64_t r =
		find_item(ds->item, ds->user_ptr[user], ds->user_end[user], item);

	return r >= 0 ? r
				  : find_item(ds->item, ds->user_end[user],
							  ds->user_ptr[user + 1], item);
}

/* input rows of users from .. to-1, in input order: the latest one stays */
static RsStatus
find_sources(Team *team, const JobShared *job, const Dataset *ds,
			 JobPositive kind, float value, int32_t from, int32_t to,
			 uint32_t *source)
{
	const JobInput *in = &job->input;
	const int32_t *user = job_at(job, in->user);
	const int32_t *item = job_at(job, in->item);
	const float *rating = job_at(job, in->rating);
	const double *time = job_at(job, in->time);

	for (int64_t k = ds->user_ptr[from]; k < ds->user_ptr[to]; k++)
		source[k] = CONTEXT_NONE;
	for (int64_t k = 0; k < in->n; k++)
	{
		int64_t r;

		if ((k & (CHECK_EVERY - 1)) == 0 && team_stopped(team) != RS_OK)
			return team_stopped(team);
		if (user[k] < from || user[k] >= to ||
			(rating != NULL && !job_is_positive(kind, value, rating[k])))
			continue;
		r = find_pair(ds, user[k], item[k]);
		if (r >= 0 && (source[r] == CONTEXT_NONE || time == NULL ||
					   time[k] >= time[source[r]]))
			source[r] = (uint32_t) k;
	}
	return RS_OK;
}

RsStatus
context_find(Team *team, Arena *arena, const JobShared *job, const Dataset *ds,
			 JobPositive kind, float value, Context *c)
{
	const JobFeatures *f = &job->input.context;
	int64_t from;
	int64_t to;
	RsStatus st;

	memset(c, 0, sizeof(*c));
	c->n_cols = f->n_cols;
	c->n_groups = f->n_groups;
	c->group_start = f->group_start;
	c->ptr = job_at(job, f->ptr);
	c->col = job_at(job, f->col);
	c->val = job_at(job, f->val);
	c->source = arena_alloc(arena, (size_t) job->input.n, sizeof(*c->source));
	if (c->source == NULL || job->input.n >= (int64_t) CONTEXT_NONE)
		return RS_NO_MEMORY;
	team_range(team, ds->n_users, &from, &to);
	st = find_sources(team, job, ds, kind, value, (int32_t) from, (int32_t) to,
					  c->source);
	if (st != RS_OK)
		team_stop(team, st);
	return team_barrier(team);
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
