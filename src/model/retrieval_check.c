/*
 * retrieval_check.c
 *		A last look at what the retrieval stage leaves.
 *
 * A training by gradient can go astray without a loss that is not finite:
 * layers that answer nothing but zero, vectors so long that scores overflow.
 * Such a model must not take the place of the one before.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "math/vec.h"
#include "model/retrieval_int.h"

#define GREATEST 1e30    /* magnitude of a score */
#define CHECK_EVERY 4096 /* rows between two looks at the stop flag */

/* what is seen of the vectors of one side */
typedef struct Rows
{
	double longest; /* squared; NAN when something is not finite */
	bool equal;     /* all of them to the first */
} Rows;

/* false when the team is to stop */
static bool
look(Team *team, const float *x, int64_t n, int dim, Rows *rows)
{
	size_t row = (size_t) dim * sizeof(float);

	rows->longest = 0;
	rows->equal = true;
	for (int64_t r = 0; r < n; r++)
	{
		const float *v = x + (size_t) r * (size_t) dim;
		double sum = 0;

		if (r % CHECK_EVERY == 0 && team_stopped(team) != RS_OK)
			return false;
		for (int c = 0; c < dim; c++)
			sum += (double) v[c] * (double) v[c];
		/* written so that NaN stays */
		if (!(sum <= rows->longest))
			rows->longest = isfinite(sum) ? sum : NAN;
		if (isnan(rows->longest))
			return true;
		rows->equal = rows->equal && memcmp(v, x, row) == 0;
	}
	return true;
}

static bool
map_finite(const JobShared *job, size_t map, int64_t n, int dim)
{
	const float *x = job_at(job, map);

	for (int64_t k = 0; x != NULL && k < n * dim; k++)
		if (!isfinite(x[k]))
			return false;
	return true;
}

/* what vectors of new users and items, and of occasions, are made of */
static bool
rest_finite(const JobShared *job)
{
	const JobInput *in = &job->input;
	const JobOutput *out = &job->output;

	for (int k = 0; k < out->n_params; k++)
	{
		const JobParam *p = &out->params[k];
		int64_t n = 1;

		for (int d = 0; d < p->ndim; d++)
			n *= p->shape[d];
		if (!map_finite(job, p->data, n, 1))
			return false;
	}
	return map_finite(job, out->user_map, in->users.n_cols + 1, out->dim) &&
		   map_finite(job, out->item_map, in->items.n_cols + 1, out->dim) &&
		   map_finite(job, out->context_map, in->context.n_cols, out->dim);
}

/*
 * By rank 0 alone, so that nobody stops the team before it has said why.
 * learnt: vectors that began at random and are equal in the end have come to
 * nothing; those in closed form are equal where the interactions are. In one
 * dimension cosines are all alike.
 */
RsStatus
retrieval_check(Retrieval *r, bool learnt)
{
	JobShared *job = r->job;
	JobOutput *out = &job->output;
	const char *wrong = NULL;
	Rows users;
	Rows items;

	if (r->team->rank != 0)
		return team_barrier(r->team);
	if (!look(r->team, job_at(job, out->user_vector), job->input.n_users,
			  out->dim, &users) ||
		!look(r->team, job_at(job, out->item_vector), job->input.n_items,
			  out->dim, &items))
		return team_stopped(r->team);
	if (!rest_finite(job) ||
		!(sqrt(users.longest) * sqrt(items.longest) <= GREATEST))
		wrong = "the vectors are too long for scores";
	else if (items.longest == 0 || users.longest == 0)
		wrong = "the vectors are all zero";
	else if (learnt && items.equal && job->input.n_items > 1 && out->dim > 1)
		wrong = "the vectors of all items are the same";
	if (wrong != NULL)
	{
		snprintf(out->problem, sizeof(out->problem), "retrieval: %s", wrong);
		team_stop(r->team, RS_DIVERGED);
	}
	return team_barrier(r->team);
}
