/*
 * retrieval_ials.c
 *		Implicit ALS with its hyperparameters chosen on held-out interactions.
 *
 *	tune	short trainings of few dimensions over a grid of lambda and alpha0
 *			(steps of 3, then of sqrt 3), each judged by NDCG@20 of held-out
 *			interactions; then whether weighting by rating helps
 *	train	on the training part; the best epoch and the report's metrics
 *	refit	so many epochs on all interactions
 *
 * Nothing here looks at the clock unless max_seconds is set, so that the
 * result depends on data, configuration and seed alone.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "math/dense.h"
#include "model/retrieval_prior.h"

#define TUNE_DIM 32
#define TUNE_FULL 500000 /* up to so many interactions use all dimensions */
#define TUNE_EPOCHS 5
#define TUNE_USERS 8000
#define SMALL 300000 /* interactions */
#define LARGE 3000000
#define WEIGHT_SLOPE 0.12f  /* of a rating's standard score */
#define WEIGHT_DOUBT 0.998f /* ratings nearly always help a little */
#define WEIGHT_MOST 5000000 /* interactions: weights cost 8 bytes each */
#define DOUBT 1.01          /* what a step must gain: trials are noisy */
#define STARTS_MOST 300000  /* interactions: average over two starts */
#define EPOCHS 8
#define MAX_TRIALS 40

typedef struct Trial
{
	int lambda; /* in steps of sqrt 3 from the start */
	int alpha0;
	double value;
} Trial;

typedef struct IalsRun
{
	Retrieval *r;
	Ials als;
	IalsConfig base; /* start of the search */
	Trial trial[MAX_TRIALS];
	int n_trials;
	int most_trials;
	bool fix_lambda;
	bool fix_alpha0;
	int starts; /* models whose scores are averaged */
	float *u;   /* (n_users, starts * dim) */
	float *v;   /* (n_items, starts * dim) */
	RetrievalPrior user_prior;
	RetrievalPrior item_prior;
	float slope;        /* of the weights, 0: none */
	float *user_weight; /* (n), NULL without ratings */
	float *item_weight;
	double rating_mean;
	double rating_std;
	float *fold_in; /* lambda, alpha0, starts: the parameter "ials" */
} IalsRun;

static int
auto_dim(const JobInput *in)
{
	int32_t least = in->n_users < in->n_items ? in->n_users : in->n_items;

	if (least < 64)
		return 16;
	if (least < 400)
		return 32;
	return in->n > 5000000 ? 128 : 64;
}

/* where the search starts: published values for data of such a size */
static void
ials_config(const JobConfig *config, const JobInput *in, IalsConfig *c)
{
	c->dim = config->dim > 0 ? config->dim : auto_dim(in);
	c->alpha0 = in->n > LARGE ? 0.1f : 0.2f;
	c->lambda = in->n > LARGE ? 0.003f : in->n > SMALL ? 0.008f : 0.02f;
	if (config->alpha0 > 0)
		c->alpha0 = config->alpha0;
	if (config->regularization > 0)
		c->lambda = config->regularization;
	c->nu = 1;
	c->seed = config->seed;
}

static bool
wants_weights(const JobInput *input)
{
	return input->rating != 0 && input->n <= WEIGHT_MOST;
}

/* floats of a row of factors, and of a prior */
static int
round_dim(int dim)
{
	return ((dim > TUNE_DIM ? dim : TUNE_DIM) + 15) / 16 * 16;
}

/* small data: the average over two random starts is better than each */
static int
count_starts(const JobConfig *config, const JobInput *in)
{
	return config->dim == 0 && in->n <= STARTS_MOST ? 2 : 1;
}

size_t
retrieval_ials_size(const JobConfig *config, const JobInput *input)
{
	IalsConfig c;
	IalsConfig tune;
	size_t size;
	size_t other;
	int ld;

	ials_config(config, input, &c);
	tune = c;
	tune.dim = TUNE_DIM;
	size = ials_size(&c, input->n_users, input->n_items);
	other = ials_size(&tune, input->n_users, input->n_items);
	size = size > other ? size : other;
	if (wants_weights(input))
		size += 2 * arena_need((size_t) input->n, sizeof(float)) +
				arena_need((size_t) input->n, sizeof(int64_t));
	ld = round_dim(c.dim);
	c.dim *= count_starts(config, input);
	size += retrieval_prior_size(&input->users, ld, c.dim) +
			retrieval_prior_size(&input->items, ld, c.dim);
	return size +
		   arena_need((size_t) input->n_users * (size_t) c.dim, sizeof(float)) +
		   arena_need((size_t) input->n_items * (size_t) c.dim, sizeof(float)) +
		   arena_need(3, sizeof(float));
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
static RsStatus
fill_weights(IalsRun *run)
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

static RsStatus
alloc_weights(IalsRun *run)
{
	Dataset *ds = run->r->ds;
	Arena *arena = run->r->arena;

	if (!wants_weights(&run->r->job->input) || ds->rating == NULL)
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

static void
sides(const IalsRun *run, bool all, IalsSide *users, IalsSide *items)
{
	bool weighted = run->slope != 0;

	*users = (IalsSide){dataset_users(run->r->ds, all),
						weighted ? run->user_weight : NULL, NULL};
	*items = (IalsSide){dataset_items(run->r->ds, all),
						weighted ? run->item_weight : NULL, NULL};
}

/*
 * Held-out interactions against the vectors as the learner has them. *value
 * is what the search goes by: a high alpha0 favours the first places
 * (NDCG@10), a low one the whole list (recall@20), and the sum wants both.
 */
static RsStatus
validate(IalsRun *run, double *value, double *ndcg)
{
	MetricsSpec spec = {true, 2, {10, 20}, TUNE_USERS};
	MetricsResult result;
	Retrieval *r = run->r;
	RsStatus st = metrics_run(r->team, r->arena, r->ds, &spec, run->als.w,
							  run->als.h, run->als.ld, &result);

	*value = st == RS_OK ? result.recall[1] + result.ndcg[0] : 0;
	*ndcg = st == RS_OK ? result.ndcg[1] : 0;
	return st;
}

static RsStatus
epoch(IalsRun *run, IalsSide *users, IalsSide *items)
{
	Ials *als = &run->als;
	Team *team = run->r->team;
	RsStatus st =
		retrieval_prior_fit(run->r, &run->user_prior, als, users, als->w);

	if (st == RS_OK)
		st = ials_half(team, als, users, als->w, als->h);
	if (st == RS_OK)
		st = retrieval_prior_fit(run->r, &run->item_prior, als, items, als->h);
	return st == RS_OK ? ials_half(team, als, items, als->h, als->w) : st;
}

static RsStatus
train(IalsRun *run, int epochs, bool all, bool log)
{
	IalsSide users;
	IalsSide items;
	RsStatus st = RS_OK;
	Retrieval *r = run->r;
	double value = 0;
	double ndcg = 0;
	int32_t late;

	sides(run, all, &users, &items);
	for (int e = 1; e <= epochs && st == RS_OK; e++)
	{
		if (r->team->rank == 0)
			r->job->progress.epoch = e;
		st = epoch(run, &users, &items);
		if (st == RS_OK && r->job->config.max_seconds > 0)
		{
			late = retrieval_late(r);
			if ((st = retrieval_agree(r, &late)) == RS_OK && late)
				epochs = e;
		}
		if (!log || st != RS_OK)
			continue;
		if (!all && r->ds->n_held > 0)
			st = validate(run, &value, &ndcg);
		if (st == RS_OK && r->team->rank == 0)
		{
			r->job->progress.loss = run->als.loss;
			r->job->progress.rate =
				(double) r->ds->n * e / (retrieval_seconds(r) + 1e-9);
			job_log(r->job, "retrieval", e, run->als.loss,
					!all && r->ds->n_held > 0 ? "ndcg@20" : "", ndcg,
					retrieval_seconds(r));
		}
	}
	return st;
}

static IalsConfig
config_at(const IalsRun *run, int lambda, int alpha0)
{
	IalsConfig c = run->base;

	c.lambda *= (float) pow(3, 0.5 * lambda);
	c.alpha0 *= (float) pow(3, 0.5 * alpha0);
	return c;
}

/* train and judge one point of the grid, unless that was done before */
static RsStatus
try_point(IalsRun *run, int lambda, int alpha0, double *value)
{
	IalsConfig c = config_at(run, lambda, alpha0);
	Trial *t = &run->trial[run->n_trials];
	double ndcg;
	RsStatus st;

	*value = -1;
	for (int k = 0; k < run->n_trials; k++)
		if (run->trial[k].lambda == lambda && run->trial[k].alpha0 == alpha0)
		{
			*value = run->trial[k].value;
			return RS_OK;
		}
	if (run->n_trials >= run->most_trials || (lambda != 0 && run->fix_lambda) ||
		(alpha0 != 0 && run->fix_alpha0))
		return RS_OK;
	if (c.dim > TUNE_DIM && run->r->ds->n > TUNE_FULL)
		c.dim = TUNE_DIM;
	if ((st = ials_restart(run->r->team, &run->als, &c)) != RS_OK)
		return st;
	st = train(run, TUNE_EPOCHS, false, false);
	if (st == RS_OK)
		st = validate(run, value, &ndcg);
	/* a point that cannot be solved is only a bad point */
	if (st == RS_DIVERGED)
		st = team_barrier(run->r->team);
	*t = (Trial){lambda, alpha0, *value};
	run->n_trials++;
	return st;
}

/* from the best point in steps of the given size until nothing is better */
static RsStatus
climb(IalsRun *run, int step, Trial *best)
{
	static const int moves[6][2] = {{-1, 0}, {0, -1}, {1, 0},
									{0, 1},  {1, -1}, {-1, 1}};
	bool better = true;
	int32_t late = 0;

	while (better && !late)
	{
		Trial from = *best;

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
				*best = (Trial){l, a, value};
				better = true;
			}
			if (run->r->job->config.max_seconds > 0)
			{
				late = retrieval_late(run->r);
				if ((st = retrieval_agree(run->r, &late)) != RS_OK)
					return st;
			}
			/* a clear gain is followed at once */
			if (late || (better && value > from.value * 1.03))
				break;
		}
	}
	return RS_OK;
}

static RsStatus
try_weights(IalsRun *run, Trial *best)
{
	int n = run->n_trials;
	double value;
	RsStatus st;

	if (run->user_weight == NULL || run->rating_std < 1e-6)
		return RS_OK;
	run->slope = WEIGHT_SLOPE;
	if ((st = fill_weights(run)) != RS_OK)
		return st;
	run->n_trials = 0;
	st = try_point(run, best->lambda, best->alpha0, &value);
	run->n_trials = n;
	if (st == RS_OK && value > best->value * WEIGHT_DOUBT)
		best->value = value;
	else
		run->slope = 0;
	return st;
}

/* how many trainings the search may cost */
static int
most_trials(int64_t n)
{
	if (n <= 500000)
		return 24;
	if (n <= 3000000)
		return 14;
	return n <= 10000000 ? 6 : 1;
}

static RsStatus
tune(IalsRun *run, IalsConfig *config)
{
	Trial best = {0, 0, -1};
	RsStatus st;

	run->most_trials = most_trials(run->r->ds->n);
	if (run->r->ds->n_held == 0 || run->most_trials <= 1 ||
		(run->fix_lambda && run->fix_alpha0))
		return RS_OK;
	retrieval_phase(run->r, "tuning", 0);
	st = try_point(run, 0, 0, &best.value);
	if (st == RS_OK)
		st = climb(run, 2, &best);
	/* the usual values are fine already when no large step helps */
	if (st == RS_OK && (best.lambda != 0 || best.alpha0 != 0))
		st = climb(run, 1, &best);
	run->most_trials = MAX_TRIALS;
	if (st == RS_OK)
		st = try_weights(run, &best);
	*config = config_at(run, best.lambda, best.alpha0);
	return st;
}

/* what features alone say, and who has nothing else */
static RsStatus
finish(IalsRun *run, bool all, int k)
{
	const Ials *als = &run->als;
	IalsSide users;
	IalsSide items;
	RsStatus st;

	sides(run, all, &users, &items);
	st = retrieval_prior_finish(run->r, &run->user_prior, als, &users, als->w,
								1.0f / (float) run->starts, k, run->starts,
								run->u);
	return st == RS_OK
			   ? retrieval_prior_finish(run->r, &run->item_prior, als, &items,
										als->h, 1, k, run->starts, run->v)
			   : st;
}

/* models from all starts, side by side in u and v */
static RsStatus
train_starts(IalsRun *run, const IalsConfig *config, int epochs, bool all)
{
	Retrieval *r = run->r;
	RsStatus st = RS_OK;

	for (int k = 0; k < run->starts && st == RS_OK; k++)
	{
		IalsConfig c = *config;

		c.seed += (uint64_t) k;
		st = ials_restart(r->team, &run->als, &c);
		if (st == RS_OK)
			st = train(run, epochs, all, k == 0);
		if (st != RS_OK)
			break;
		ials_copy(r->team, &run->als, run->als.w, r->ds->n_users, run->u, k,
				  run->starts, 1.0f / (float) run->starts);
		ials_copy(r->team, &run->als, run->als.h, r->ds->n_items, run->v, k,
				  run->starts, 1);
		st = team_barrier(r->team);
		if (st == RS_OK)
			st = finish(run, all, k);
	}
	return st;
}

static void
say(const IalsRun *run, const IalsConfig *c, int epochs)
{
	Retrieval *r = run->r;
	JobOutput *out = &r->job->output;
	char how[120] = "";

	out->dim = c->dim * run->starts;
	out->epochs = epochs;
	out->user_vector = job_offset(r->job, run->u);
	out->item_vector = job_offset(r->job, run->v);
	out->user_map = job_offset(r->job, run->user_prior.map);
	out->item_map = job_offset(r->job, run->item_prior.map);
	if (run->n_trials > 0)
		snprintf(how, sizeof(how),
				 ", the best of %d trials on %lld held-out interactions",
				 run->n_trials, (long long) r->ds->n_held);
	snprintf(out->choice, sizeof(out->choice),
			 "implicit ALS, %d%s dimensions, regularization %.3g, alpha0 "
			 "%.3g%s%s",
			 c->dim, run->starts > 1 ? " x 2" : "", c->lambda, c->alpha0,
			 run->slope != 0 ? ", weighted by rating" : "", how);
}

/* what serving needs to solve for somebody new, from item vectors alone */
static void
put_fold_in(const IalsRun *run, const IalsConfig *c)
{
	JobShared *job = run->r->job;
	JobOutput *out = &job->output;
	JobParam *p;

	run->fold_in[0] = c->lambda;
	run->fold_in[1] = c->alpha0;
	run->fold_in[2] = (float) run->starts;
	if (out->n_params >= JOB_MAX_PARAMS)
		return;
	p = &out->params[out->n_params++];
	memset(p, 0, sizeof(*p));
	strcpy(p->name, "ials");
	p->ndim = 1;
	p->shape[0] = 3;
	p->data = job_offset(job, run->fold_in);
}

static RsStatus
prepare(IalsRun *run, const IalsConfig *base)
{
	Retrieval *r = run->r;
	const JobInput *in = &r->job->input;
	IalsConfig most = *base;
	size_t d = (size_t) base->dim * (size_t) run->starts;
	RsStatus st;

	/* trials may have more dimensions than the model */
	if (most.dim < TUNE_DIM)
		most.dim = TUNE_DIM;
	run->u = arena_alloc(r->arena, (size_t) r->ds->n_users * d, sizeof(float));
	run->v = arena_alloc(r->arena, (size_t) r->ds->n_items * d, sizeof(float));
	run->fold_in = arena_alloc(r->arena, 3, sizeof(float));
	if (run->u == NULL || run->v == NULL || run->fold_in == NULL)
		return RS_NO_MEMORY;
	st = ials_init(r->team, r->arena, &most, r->ds->n_users, r->ds->n_items,
				   &run->als);
	if (st == RS_OK)
		st = retrieval_prior_init(r, &in->users, round_dim(base->dim), (int) d,
								  &run->user_prior);
	if (st == RS_OK)
		st = retrieval_prior_init(r, &in->items, round_dim(base->dim), (int) d,
								  &run->item_prior);
	return st == RS_OK ? alloc_weights(run) : st;
}

RsStatus
retrieval_ials(Retrieval *r)
{
	const JobConfig *config = &r->job->config;
	IalsRun run = {.r = r};
	IalsConfig c;
	int epochs = config->epochs > 0 ? config->epochs : EPOCHS;
	RsStatus st;

	ials_config(config, &r->job->input, &c);
	run.base = c;
	run.starts = count_starts(config, &r->job->input);
	run.fix_lambda = config->regularization > 0;
	run.fix_alpha0 = config->alpha0 > 0;
	st = prepare(&run, &c);
	if (st == RS_OK)
		st = tune(&run, &c);
	retrieval_phase(r, "retrieval", epochs);
	if (st == RS_OK)
		st = train_starts(&run, &c, epochs, false);
	if (st == RS_OK)
		st = retrieval_report(r, true, run.u, run.v, c.dim * run.starts);
	if (st == RS_OK && r->ds->n_held > 0 && config->refit != 0)
	{
		retrieval_phase(r, "refit", epochs);
		st = train_starts(&run, &c, epochs, true);
	}
	if (st == RS_OK && r->team->rank == 0)
	{
		say(&run, &c, epochs);
		put_fold_in(&run, &c);
	}
	return st == RS_OK ? team_barrier(r->team) : st;
}
