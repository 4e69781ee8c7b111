/*
 * retrieval_ials_weights.c
 *		Weights of implicit ALS by rating: a high one counts for more.
 */
#include <math.h>

#include "model/retrieval_ials.h"

#define WEIGHT_MOST 5000000 /* interactions: weights cost 8 bytes each */

bool
retrieval_ials_weighs(const JobInput *input)
{
	return input->rating != 0 && input->n <= WEIGHT_MOST;
}

static void
rating_moments(IalsRun *run)
{
	const Dataset *ds = run->r->ds;
	double sum = 0;
	double square = 0;

	for (int64_t k = 0; k < ds->n; k++)
		sum += ds->rating[k];
	run->rating_mean = sum / (double) ds->n;
	for (int64_t k = 0; k < ds->n; k++)
		square += (ds->rating[k] - run->rating_mean) *
				  (ds->rating[k] - run->rating_mean);
	run->rating_std = sqrt(square / (double) ds->n);
}

/* c of all interactions, by user and by item */
RsStatus
ials_fill_weights(IalsRun *run)
{
	const Dataset *ds = run->r->ds;
	int64_t from;
	int64_t to;

	team_range(run->r->team, ds->n, &from, &to);
	for (int64_t k = from; k < to; k++)
	{
		double z = (ds->rating[k] - run->rating_mean) / run->rating_std;
		double c = 1 + run->slope * z;

		run->user_weight[k] = (float) (c < 0.25 ? 0.25 : c > 4 ? 4 : c);
	}
	if (team_barrier(run->r->team) != RS_OK)
		return team_stopped(run->r->team);
	for (int64_t k = from; k < to; k++)
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
	rating_moments(run);
	return dataset_by_item(run->r->team, ds);
}
