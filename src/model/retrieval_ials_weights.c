/*
 * retrieval_ials_weights.c
 *		Weights of implicit ALS by rating, or without ratings by how often a
 *		pair occurs: a high one counts for more.
 */
#include <math.h>

#include "model/retrieval_ials.h"

#define WEIGHT_MOST 5000000 /* interactions: weights cost 8 bytes each */
#define CHECK_EVERY 65536 /* interactions between two looks at the stop flag */
#define LONG_TAIL 0.6 /* deviation beside mean from which logarithms count */

bool
retrieval_ials_weighs(const JobInput *input)
{
	return input->n <= WEIGHT_MOST;
}

static double
value_of(const IalsRun *run, int64_t k)
{
	double rating = run->r->ds->rating[k];

	return run->rating_log ? log(rating) : rating;
}

/* the team is to stop, by interaction k; what was begun is of no use then */
static bool
stopped(const IalsRun *run, int64_t k)
{
	return (k & (CHECK_EVERY - 1)) == 0 && team_stopped(run->r->team) != RS_OK;
}

static void
rating_moments(IalsRun *run)
{
	int64_t n = run->r->ds->n;
	double sum = 0;
	double square = 0;

	for (int64_t k = 0; k < n && !stopped(run, k); k++)
		sum += value_of(run, k);
	run->rating_mean = sum / (double) n;
	for (int64_t k = 0; k < n && !stopped(run, k); k++)
	{
		double d = value_of(run, k) - run->rating_mean;

		square += d * d;
	}
	run->rating_std = sqrt(square / (double) n);
}

/* counts and sums of money are told apart by their order of size */
static void
measure_ratings(IalsRun *run)
{
	const Dataset *ds = run->r->ds;
	bool positive = true;

	for (int64_t k = 0; k < ds->n && positive && !stopped(run, k); k++)
		positive = ds->rating[k] > 0;
	run->rating_log = false;
	rating_moments(run);
	if (!positive || run->rating_std <= LONG_TAIL * run->rating_mean)
		return;
	run->rating_log = true;
	rating_moments(run);
}

/* c of all interactions, by user and by item */
RsStatus
ials_fill_weights(IalsRun *run)
{
	const Dataset *ds = run->r->ds;
	int64_t from;
	int64_t to;

	team_range(run->r->team, ds->n, &from, &to);
	for (int64_t k = from; k < to && !stopped(run, k); k++)
	{
		double z = (value_of(run, k) - run->rating_mean) / run->rating_std;
		double c = 1 + run->slope * z;

		run->user_weight[k] = (float) (c < 0.25 ? 0.25 : c > 4 ? 4 : c);
	}
	if (team_barrier(run->r->team) != RS_OK)
		return team_stopped(run->r->team);
	for (int64_t k = from; k < to && !stopped(run, k); k++)
		run->item_weight[k] = run->user_weight[ds->row[k]];
	return team_barrier(run->r->team);
}

RsStatus
ials_alloc_weights(IalsRun *run)
{
	Dataset *ds = run->r->ds;
	Arena *arena = run->r->arena;

	if (!retrieval_ials_weighs(&run->r->job->input) || ds->rating == NULL)
		return RS_OK;
	if (ds->row == NULL)
	{
		ds->row = arena_alloc(arena, (size_t) ds->n, sizeof(int64_t));
		if (ds->row == NULL)
			return RS_NO_MEMORY;
	}
	run->user_weight = arena_alloc(arena, (size_t) ds->n, sizeof(float));
	run->item_weight = arena_alloc(arena, (size_t) ds->n, sizeof(float));
	if (run->user_weight == NULL || run->item_weight == NULL)
		return RS_NO_MEMORY;
	measure_ratings(run);
	return dataset_by_item(run->r->team, ds);
}
