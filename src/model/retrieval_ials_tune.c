/*
 * retrieval_ials_tune.c
 *		Hyperparameters of implicit ALS by short trainings.
 *
 * A walk over a grid of lambda and alpha0 (steps of 3, then of sqrt 3) in few
 * dimensions, then whether weighting zeros by activity and ones by rating
 * helps.
 */
#include <math.h>

#include "model/retrieval_ials.h"

#define TUNE_FULL 500000 /* up to so many interactions use all dimensions */
#define LONG_WALK 20     /* trials */
#define ACTIVITY 0.75f   /* exponent of a user's interactions */
#define ACTIVITY_DOUBT 0.995f /* and it does as often */
/* lambda alpha0 n_items from which on few interactions say little */
#define PLAIN 10
#define DENSE 0.03 /* share of all pairs */
#define WIDER_TRIALS 7
#define WIDER_GAIN 1.03  /* what twice the dimensions must gain */
#define FIRST_GAIN 1.015 /* where they take the room of an average of two */
#define DOUBT 1.01       /* what a step must gain: trials are noisy */

static bool
is_dense(const Dataset *ds)
{
	return (double) ds->n / ds->n_users / ds->n_items >= DENSE;
}

/* how many trainings the search may cost */
static int
most_trials(const Dataset *ds)
{
	int64_t n = ds->n;

	if (n <= 100000)
		return 32;
	if (n <= 500000)
		return is_dense(ds) ? 30 : 24;
	if (n <= 3000000)
		return 14;
	return n <= 10000000 ? 6 : 1;
}

static IalsConfig
config_at(const IalsRun *run, int lambda, int alpha0)
{
	IalsConfig c = run->base;

	c.lambda *= (float) pow(3, 0.5 * lambda);
	c.alpha0 *= (float) pow(3, 0.5 * alpha0);
	return c;
}

/* no time for one more trial and a training, where one was done already */
static RsStatus
too_late(IalsRun *run, int32_t *late)
{
	bool some = run->n_trials > 0 || run->n_known > 0 || run->slope != 0 ||
				run->activity != 0;

	*late = some && retrieval_late(run->r, 2 * run->trial_seconds);
	if (!isfinite(run->r->limit))
		return RS_OK;
	return retrieval_agree(run->r, late);
}

/*
 * Train and judge one point of the grid, unless that was done before; *value
 * -1: it was not
 */
static RsStatus
try_point(IalsRun *run, int lambda, int alpha0, double *value)
{
	IalsConfig c = config_at(run, lambda, alpha0);
	IalsTrial *t;
	double ndcg = 0;
	double seconds;
	int32_t late;
	RsStatus st;

	*value = -1;
	for (int k = 0; k < run->n_trials; k++)
		if (run->trial[k].lambda == lambda && run->trial[k].alpha0 == alpha0 &&
			run->trial[k].to_zero == run->to_zero)
		{
			*value = run->trial[k].value;
			return RS_OK;
		}
	st = too_late(run, &late);
	if (st != RS_OK || late)
		return st;
	if (run->n_trials >= run->most_trials || run->n_trials >= IALS_MAX_TRIALS ||
		(lambda != 0 && run->fix_lambda) || (alpha0 != 0 && run->fix_alpha0))
		return RS_OK;
	t = &run->trial[run->n_trials];
	if (c.dim > TUNE_DIM && run->r->ds->n > TUNE_FULL && !run->wide)
		c.dim = TUNE_DIM;
	seconds = retrieval_seconds(run->r);
	if ((st = ials_restart(run->r->team, &run->als, &c)) != RS_OK)
		return st;
	st = ials_train(
		run, run->epochs < IALS_TUNE_EPOCHS ? run->epochs : IALS_TUNE_EPOCHS, 1,
		false, false);
	if (st == RS_OK)
		st = ials_validate(run, value, &ndcg);
	/* a point that cannot be solved is only a bad point */
	if (st == RS_DIVERGED)
		st = team_barrier(run->r->team);
	*t = (IalsTrial){lambda, alpha0, run->to_zero, *value, ndcg};
	seconds = retrieval_seconds(run->r) - seconds;
	run->trial_seconds = fmax(run->trial_seconds, seconds);
	run->n_trials++;
	return st;
}

/* from the best point in steps of the given size until nothing is better */
static RsStatus
climb(IalsRun *run, int step, IalsTrial *best)
{
	static const int moves[6][2] = {{-1, 0}, {0, -1}, {1, 0},
									{0, 1},  {1, -1}, {-1, 1}};
	bool better = true;
	int32_t late = 0;

	while (better && !late)
	{
		IalsTrial from = *best;

		better = false;
		for (int m = 0; m < 6; m++)
		{
			int l = from.lambda + moves[m][0] * step;
			int a = from.alpha0 + moves[m][1] * step;
			double value;
			RsStatus st = try_point(run, l, a, &value);

			if (st != RS_OK)
				return st;
			if (value > best->value && value > from.value * DOUBT)
			{
				*best = (IalsTrial){l, a, run->to_zero, value, 0};
				better = true;
			}
			if ((st = too_late(run, &late)) != RS_OK)
				return st;
			/* a clear gain is followed at once */
			if (late || (better && value > from.value * 1.03))
				break;
		}
	}
	return RS_OK;
}

/* mild ones, which stars nearly always like; then strong ones, as counts do */
static RsStatus
try_weights(IalsRun *run, IalsTrial *best)
{
	static const float slope[2] = {0.12f, 0.4f};
	static const float doubt[2] = {0.998f, 1.002f};
	int n = run->n_trials;
	float chosen = 0;
	int32_t late = 0;
	RsStatus st = RS_OK;

	if (run->user_weight == NULL || run->rating_std < 1e-6)
		return RS_OK;
	for (int k = 0; k < 2 && st == RS_OK && !late; k++)
	{
		double value;

		run->slope = slope[k];
		if ((st = ials_fill_weights(run)) != RS_OK)
			return st;
		run->n_trials = 0;
		st = try_point(run, best->lambda, best->alpha0, &value);
		if (st != RS_OK || value <= best->value * doubt[k])
			break;
		best->value = value;
		chosen = slope[k];
		st = too_late(run, &late);
	}
	run->n_trials = n;
	run->slope = chosen;
	if (st == RS_OK && chosen > 0)
		st = ials_fill_weights(run);
	return st;
}

/* whether what active users have not chosen should count for more */
static RsStatus
try_activity(IalsRun *run, IalsTrial *best)
{
	int n = run->n_trials;
	double value;
	RsStatus st;

	run->activity = ACTIVITY;
	run->n_trials = 0;
	st = try_point(run, best->lambda, best->alpha0, &value);
	run->n_trials = n;
	if (st == RS_OK && value > best->value * ACTIVITY_DOUBT)
		best->value = value;
	else
		run->activity = 0;
	return st;
}

/*
 * Where a walk begins: at the usual values, or far from them, where noisy
 * data has its optimum, or where that of very sparse data is, or of dense; in
 * between there are valleys, and plains: with the usual values a user of five
 * interactions among 30,000 items is hardly more than the mean user, and no
 * step from there helps; there its point is tried first, since time may be
 * short. Where a user has much of all items, popularity is on a plain, too, and
 * above the usual values. A walk of few steps is better off near these.
 */
static RsStatus
begin(IalsRun *run, IalsTrial *at)
{
	static const int usual[2] = {0, 0};
	static const int noisy[2] = {2, -4};
	static const int sparse[2] = {-2, -6};
	static const int dense[3][2] = {{0, 2}, {0, 4}, {-2, 6}};
	const Dataset *ds = run->r->ds;
	double ridge = run->base.lambda * run->base.alpha0 * ds->n_items;
	const int *point[6];
	int n = 0;
	RsStatus st = RS_OK;

	if (ridge >= PLAIN && most_trials(ds) >= LONG_WALK)
		point[n++] = sparse;
	point[n++] = usual;
	if (most_trials(ds) >= LONG_WALK)
	{
		point[n++] = noisy;
		if (is_dense(ds))
		{
			point[n++] = dense[0];
			point[n++] = dense[1];
			point[n++] = dense[2];
		}
	}
	for (int k = 0; k < n && st == RS_OK; k++)
	{
		IalsTrial t = {point[k][0], point[k][1], at->to_zero, -1, 0};

		st = try_point(run, t.lambda, t.alpha0, &t.value);
		if (k == 0 || (t.value > 0 && t.value > at->value * DOUBT))
			*at = t;
	}
	return st;
}

/*
 * The walk once with users pulled to their mean and once to zero. Which is
 * better differs from data to data by several percent either way, and the
 * best point of one is seldom that of the other.
 */
static RsStatus
climb_both(IalsRun *run, IalsTrial *best)
{
	IalsTrial zero = {0, 0, true, -1, 0};
	int most = run->most_trials;
	bool has_mean = run->user_prior.fp.n_rows == 0;
	RsStatus st = RS_OK;

	for (int k = 0; k < (has_mean ? 2 : 1) && st == RS_OK; k++)
	{
		IalsTrial *at = k == 0 ? best : &zero;

		run->to_zero = k == 1;
		if (has_mean)
			run->most_trials = run->n_known + most * (k + 1) / 2;
		st = begin(run, at);
		if (st == RS_OK)
			st = climb(run, 2, at);
	}
	run->to_zero = has_mean && zero.value > best->value * DOUBT;
	if (run->to_zero)
		*best = zero;
	return st;
}

/*
 * Twice the dimensions, as long as held-out interactions want them: data of
 * many small groups do. More dimensions want other values beside. Where the
 * walk had few dimensions, all are tried first; what follows has the
 * dimensions that *best was found with.
 */
static RsStatus
grow(IalsRun *run, IalsTrial *best)
{
	IalsTrial walked = *best;
	int32_t late;
	int tried = run->n_trials;
	int start = run->base.dim;
	RsStatus st = too_late(run, &late);

	run->wide = 2 * start <= run->most_dim;
	if (run->wide && run->r->ds->n > TUNE_FULL && st == RS_OK && !late)
	{
		run->n_trials = 0;
		st = try_point(run, best->lambda, best->alpha0, &best->value);
		run->n_wider++;
		if (st == RS_OK)
			st = too_late(run, &late);
	}
	while (st == RS_OK && !late && 2 * run->base.dim <= run->most_dim)
	{
		IalsTrial wide = {best->lambda, best->alpha0, best->to_zero, -1, 0};
		int dim = run->base.dim;

		ials_set_dim(&run->base, 2 * dim);
		run->n_trials = 0;
		run->most_trials = WIDER_TRIALS;
		st = try_point(run, wide.lambda, wide.alpha0, &wide.value);
		if (st == RS_OK && wide.value > best->value)
			st = climb(run, 1, &wide);
		run->n_wider += run->n_trials;
		if (st == RS_OK)
			st = too_late(run, &late);
		if (wide.value <
			best->value * (run->starts > 1 ? FIRST_GAIN : WIDER_GAIN))
		{
			ials_set_dim(&run->base, dim);
			break;
		}
		*best = wide;
		/* in place of the average of two */
		run->starts = 1;
		run->u = run->als.w;
		run->v = run->als.h;
	}
	run->wide = run->base.dim > start;
	if (!run->wide)
		*best = walked;
	run->n_trials = tried;
	return st;
}

RsStatus
ials_tune(IalsRun *run, IalsConfig *config)
{
	IalsTrial best = {0, 0, false, -1, 0};
	RsStatus st;
	int32_t late;

	run->to_zero = false;
	run->most_trials = most_trials(run->r->ds);
	if (run->r->ds->n_held == 0 || run->most_trials <= 1 ||
		(run->fix_lambda && run->fix_alpha0))
	{
		/* a probe has tried to zero after the mean, in this order */
		run->to_zero = run->n_known > 1 &&
					   run->trial[1].value > run->trial[0].value * DOUBT;
		run->n_trials = 0;
		return RS_OK;
	}
	retrieval_phase(run->r, "tuning", 0);
	st = too_late(run, &late);
	if (st != RS_OK || late)
	{
		for (int k = 0; k < run->n_known; k++)
			if (run->trial[k].value > best.value)
				best = run->trial[k];
		run->n_trials = run->n_known;
		run->to_zero = best.to_zero;
		*config = config_at(run, best.lambda, best.alpha0);
		return st;
	}
	st = climb_both(run, &best);
	/* the usual values are fine already when no large step helps */
	if (st == RS_OK && (best.lambda != 0 || best.alpha0 != 0))
		st = climb(run, 1, &best);
	if (st == RS_OK)
		st = grow(run, &best);
	run->most_trials = IALS_MAX_TRIALS;
	if (st == RS_OK)
		st = try_activity(run, &best);
	if (st == RS_OK)
		st = try_weights(run, &best);
	*config = config_at(run, best.lambda, best.alpha0);
	return st;
}

RsStatus
ials_tune_half(IalsRun *run, double *ndcg)
{
	IalsTrial best = {0, 0, false, -1, 0};
	int most = most_trials(run->r->ds) / 2;
	RsStatus st = RS_OK;

	run->most_trials = most > 2 ? most : 2;
	for (int k = 0; k < 2 && st == RS_OK; k++)
	{
		IalsTrial at = {0, 0, k == 1, -1, 0};

		run->to_zero = k == 1;
		st = begin(run, &at);
		if (at.value > best.value)
			best = at;
	}
	run->to_zero = best.to_zero;
	if (st == RS_OK)
		st = climb(run, 2, &best);
	*ndcg = 0;
	for (int k = 0; k < run->n_trials; k++)
		if (run->trial[k].value >= best.value)
			*ndcg = run->trial[k].ndcg;
	run->n_known = run->n_trials;
	return st;
}

RsStatus
ials_tune_wide(IalsRun *run, double *ndcg)
{
	IalsTrial first = run->trial[0];
	IalsTrial best = first;
	int known = run->n_trials;
	int most = run->most_trials;
	int dim = run->base.dim;
	bool to_zero = run->to_zero;
	int32_t late = 0;
	RsStatus st = RS_OK;

	for (int k = 1; k < known; k++)
		if (run->trial[k].value > best.value)
			best = run->trial[k];
	run->to_zero = best.to_zero;
	run->most_trials = 1;
	run->wide = true;
	*ndcg = best.ndcg;
	while (st == RS_OK && !late && 2 * run->base.dim <= run->most_dim)
	{
		double value;

		ials_set_dim(&run->base, 2 * run->base.dim);
		run->n_trials = 0;
		st = try_point(run, best.lambda, best.alpha0, &value);
		run->n_wider++;
		if (st != RS_OK || value < best.value * FIRST_GAIN)
			break;
		best.value = value;
		*ndcg = run->trial[0].ndcg;
		st = too_late(run, &late);
	}
	ials_set_dim(&run->base, dim);
	run->trial[0] = first;
	run->n_trials = known;
	run->most_trials = most;
	run->to_zero = to_zero;
	run->wide = false;
	return st;
}
