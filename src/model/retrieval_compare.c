/*
 * retrieval_compare.c
 *		Towers or implicit ALS: what held-out interactions say.
 *
 * Which of them is better on large sparse data differs by a quarter either
 * way and cannot be told from the counts. So where nobody asked for one:
 *
 *	probe	half a search of implicit ALS by short trainings in few
 *			dimensions: a bound from below for what it reaches
 *	towers	given up after a quarter or half of their epochs when the probe
 *			is out of their reach
 *	contest	after their last epoch, unless they are far above the probe, with
 *			more dimensions too: all of implicit ALS on the same interactions,
 *			and the better one stays
 *
 * When max_seconds come to their end, towers below the probe are up against an
 * implicit ALS of few epochs; when they are over too soon, there are no towers (an
 * epoch of them takes about as long as a trial).
 *
 * The whole search knows the trials of the probe, so the contest costs the
 * rest of it and one training.
 */
#include <math.h>
#include <string.h>

#include "model/retrieval_ials.h"

#define QUARTER 0.65   /* what towers have by a quarter of their epochs */
#define HALF 0.9       /* at least, of what they reach in the end */
#define CLEAR 1.25     /* more than a whole search makes of a probe */
#define LEAST_EPOCHS 6 /* of towers, or they are not begun: about a quarter */
#define CONTEST_USERS 20000 /* RETRIEVAL_VALID_USERS where time is short */

bool
retrieval_hopeless(const Rival *rival, int epoch)
{
	double best = rival->towers;

	if (4 * epoch < rival->epochs)
		return false;
	if (2 * epoch < rival->epochs)
		return best < QUARTER * rival->probe;
	/* popularity is no bound from below that something else improves on */
	return best < rival->popular || best < HALF * rival->probe;
}

/* the first trials of the search stay in run */
static RsStatus
probe(Retrieval *r, IalsRun *run, Rival *rival)
{
	MetricsSpec spec = {true, 1, {20}, RETRIEVAL_VALID_USERS};
	MetricsResult popular;
	RsStatus st = retrieval_popularity(r, &spec, &popular);

	if (st != RS_OK)
		return st;
	rival->popular = popular.ndcg[0];
	return ials_probe(run, &rival->probe);
}

static RsStatus
judge(Retrieval *r, const float *u, const float *v, int dim, double *value)
{
	MetricsSpec spec = {true,
						1,
						{20},
						isfinite(r->limit) ? RETRIEVAL_VALID_USERS
										   : CONTEST_USERS};
	MetricsResult result;
	RsStatus st =
		metrics_run(r->team, r->arena, r->ds, &spec, u, v, dim, &result);

	*value = st == RS_OK ? result.ndcg[0] : 0;
	return st;
}

RsStatus
retrieval_contest(Retrieval *r, Rival *rival, const float *u, const float *v,
				  int dim)
{
	IalsRun *run = r->ials;
	size_t mark = arena_mark(r->arena);
	int64_t *row = r->ds->row;
	int32_t late = retrieval_late(r, 0);
	RsStatus st = retrieval_agree(r, &late);

	if (st != RS_OK || !rival->asked || (late && rival->towers >= rival->probe))
		return st;
	/* many small groups want many dimensions */
	if (rival->towers > CLEAR * rival->probe)
		st = ials_probe_wide(run, &rival->probe);
	if (st != RS_OK || rival->towers > CLEAR * rival->probe)
		return st;
	st = ials_first(run);
	if (st == RS_OK)
		st = judge(r, u, v, dim, &rival->towers);
	if (st == RS_OK)
		st = judge(r, run->u, run->v, run->chosen.dim * run->starts,
				   &rival->full);
	if (st != RS_OK)
		return st;
	rival->lost = rival->full > rival->towers;
	if (rival->lost)
		return ials_finish(run);
	arena_reset(r->arena, mark);
	r->ds->row = row;
	return RS_OK;
}

static RsStatus
compare(Retrieval *r, IalsRun *run, Rival *rival)
{
	size_t mark = arena_mark(r->arena);
	int32_t late;
	RsStatus st = RS_OK;

	memset(rival, 0, sizeof(*rival));
	rival->asked = r->ds->n_held > 0 &&
				   retrieval_loss(&r->job->config, &r->job->input) == LOSS_AUTO;
	if (rival->asked)
		st = probe(r, run, rival);
	late = rival->asked && retrieval_late(r, LEAST_EPOCHS * run->trial_seconds);
	if (st == RS_OK)
		st = retrieval_agree(r, &late);
	rival->hurried = late != 0;
	if (st == RS_OK && late)
	{
		st = ials_first(run);
		return st == RS_OK ? ials_finish(run) : st;
	}
	if (st == RS_OK)
		st = retrieval_towers(r, rival);
	if (st != RS_OK || rival->epoch == 0)
		return st;
	arena_reset(r->arena, mark);
	st = ials_first(run);
	if (st == RS_OK)
		st = judge(r, run->u, run->v, run->chosen.dim * run->starts,
				   &rival->full);
	return st == RS_OK ? ials_finish(run) : st;
}

RsStatus
retrieval_compare(Retrieval *r, Rival *rival)
{
	IalsRun run = {.r = r};
	RsStatus st;

	r->ials = &run;
	st = compare(r, &run, rival);
	r->ials = NULL;
	return st;
}
