/*
 * retrieval_ials.c
 *		Implicit ALS with its hyperparameters chosen on held-out interactions.
 *
 *	tune	short trainings of few dimensions over a grid of lambda and alpha0
 *			(steps of 3, then of sqrt 3), each judged by recall@20 + NDCG@10 of
 *			held-out interactions; then whether weighting zeros by activity and
 *			ones by rating helps
 *	train	on the training part, to the best epoch or as long as each gains
 *			much; the report's metrics
 *	refit	so many epochs on all interactions
 *
 * Nothing here looks at the clock unless max_seconds is set, so that the
 * result depends on data, configuration and seed alone.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/fold_in.h"
#include "model/retrieval_ials.h"

#define LATE_EPOCHS 3  /* that are trained when max_seconds are over */
#define LAST_PART 0.15 /* of the time, that a training takes when it is late */
#define SMALL 300000   /* interactions */
#define LARGE 3000000
#define STARTS_MOST 300000 /* interactions: average over two starts */
#define EPOCHS 8
#define MOST_EPOCHS 24
#define EPOCH_DOUBT 1.01 /* what fewer epochs, or one more, must gain: noise */
#define MOST_EXACT 128   /* dimensions; above, long rows by blocks */
#define BLOCK 64
#define MOST_DIM 256         /* that the search may come to */
#define MOST_FLOATS 32000000 /* of all vectors with them */
/* where users have such a share of so few items, 64 say most */
#define FULL 0.03
#define FULL_ITEMS 2000

static int
auto_dim(const JobInput *in)
{
	int32_t least = in->n_users < in->n_items ? in->n_users : in->n_items;

	if (least < 64)
		return 16;
	if (least < 400)
		return 32;
	return job_pairs(in) > 5000000 ? 128 : 64;
}

/* up to MOST_EXACT rows are solved for exactly, above by blocks */
void
ials_set_dim(IalsConfig *c, int dim)
{
	c->dim = dim;
	c->block = dim > MOST_EXACT ? BLOCK : 0;
}

/* where the search starts: published values for data of such a size */
static void
ials_config(const JobConfig *config, const JobInput *in, IalsConfig *c)
{
	int64_t n = job_pairs(in);

	c->dim = config->dim > 0 ? config->dim : auto_dim(in);
	c->alpha0 = n > LARGE ? 0.1f : 0.2f;
	c->lambda = n > LARGE ? 0.003f : n > SMALL ? 0.008f : 0.02f;
	if (config->alpha0 > 0)
		c->alpha0 = config->alpha0;
	if (config->regularization > 0)
		c->lambda = config->regularization;
	c->nu = 1;
	c->seed = config->seed;
	ials_set_dim(c, c->dim);
}

/*
 * How many dimensions the search may come to; the memory for them is taken
 * before.
 */
static int
most_dim(const JobConfig *config, const JobInput *in)
{
	int d = config->dim > 0 ? config->dim : auto_dim(in);
	int64_t n = job_pairs(in);
	int64_t rows = (int64_t) in->n_users + in->n_items;
	int32_t least = in->n_users < in->n_items ? in->n_users : in->n_items;

	if (config->dim > 0 || d != 64 || n > LARGE ||
		(in->n_items < FULL_ITEMS &&
		 (double) n / in->n_users / in->n_items >= FULL))
		return d;
	while (2 * d <= MOST_DIM && 4 * d <= least && rows * 2 * d <= MOST_FLOATS)
		d *= 2;
	return d;
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
	return config->dim == 0 && job_pairs(in) <= STARTS_MOST ? 2 : 1;
}

/* whether the factors, as they lie in memory, are the result */
static bool
needs_copy(const IalsConfig *c, int starts)
{
	return starts > 1 || c->dim % 16 != 0;
}

static size_t
copy_size(const IalsConfig *c, int starts, const JobInput *in)
{
	size_t d = (size_t) c->dim * (size_t) starts;

	if (!needs_copy(c, starts))
		return 0;
	return arena_need((size_t) in->n_users * d, sizeof(float)) +
		   arena_need((size_t) in->n_items * d, sizeof(float));
}

size_t
retrieval_ials_size(const JobConfig *config, const JobInput *input)
{
	IalsConfig c;
	int starts = count_starts(config, input);
	int most = most_dim(config, input);
	int width;
	size_t size;

	ials_config(config, input, &c);
	size = copy_size(&c, starts, input);
	width = c.dim * starts > most ? c.dim * starts : most;
	/* trials may have more dimensions than the model */
	c.dim = most > TUNE_DIM ? most : TUNE_DIM;
	size += ials_size(&c, input->n_users, input->n_items);
	if (retrieval_ials_weighs(input))
		size += 2 * arena_need((size_t) input->n, sizeof(float)) +
				arena_need((size_t) input->n, sizeof(int64_t));
	size += arena_need((size_t) input->n_users, sizeof(float));
	size += retrieval_prior_size(&input->users, round_dim(most), width) +
			retrieval_prior_size(&input->items, round_dim(most), width);
	return size + retrieval_mean_size(round_dim(most)) +
		   arena_need((size_t) (FOLD_IN_MEAN + width + FOLD_IN_ZEROS),
					  sizeof(float));
}

static void
sides(const IalsRun *run, bool all, IalsSide *users, IalsSide *items)
{
	bool weighted = run->slope != 0;

	*users = (IalsSide){dataset_users(run->r->ds, all),
						weighted ? run->user_weight : NULL,
						.row_zeros = run->activity > 0 ? run->zeros : NULL};
	*items = (IalsSide){dataset_items(run->r->ds, all),
						weighted ? run->item_weight : NULL,
						.col_zeros = run->activity > 0 ? run->zeros : NULL};
}

RsStatus
ials_validate(IalsRun *run, double *value, double *ndcg)
{
	MetricsSpec spec = {true, 2, {10, 20}, RETRIEVAL_VALID_USERS};
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

	if (st == RS_OK && run->user_prior.fp.n_rows == 0 && !run->to_zero)
	{
		st = retrieval_mean_fit(run->r, &run->user_mean, als, users, als->w);
		users->prior = run->user_mean.mean;
		users->one_prior = true;
	}
	if (st == RS_OK)
		st = ials_half(team, als, users, als->w, als->h);
	if (st == RS_OK)
		st = retrieval_prior_fit(run->r, &run->item_prior, als, items, als->h);
	return st == RS_OK ? ials_half(team, als, items, als->h, als->w) : st;
}

/* q of all users by their interactions, of mean 1 */
static RsStatus
fill_zeros(IalsRun *run, bool all)
{
	DatasetSide users = dataset_users(run->r->ds, all);
	double p = run->activity;
	double sum = 0;
	int32_t some = 0;

	if (run->activity <= 0)
		return RS_OK;
	for (int32_t u = 0; u < users.n_rows; u++)
	{
		sum += pow((double) (users.end[u] - users.ptr[u]), p);
		some += users.end[u] > users.ptr[u];
	}
	run->usual = (float) pow(sum / some, 1 / p);
	if (run->r->team->rank == 0)
		for (int32_t u = 0; u < users.n_rows; u++)
			run->zeros[u] = (float) pow(
				(double) (users.end[u] - users.ptr[u]) / run->usual, p);
	return team_barrier(run->r->team);
}

RsStatus
ials_train(IalsRun *run, int epochs, int least, bool all, bool log)
{
	IalsSide users;
	IalsSide items;
	RsStatus st = RS_OK;
	Retrieval *r = run->r;
	double value = 0;
	double ndcg = 0;
	int32_t late = 0;
	bool judged;

	st = fill_zeros(run, all);
	sides(run, all, &users, &items);
	for (int e = 1; e <= epochs && st == RS_OK; e++)
	{
		if (r->team->rank == 0)
			r->job->progress.epoch = e;
		st = epoch(run, &users, &items);
		if (st == RS_OK && isfinite(r->limit))
		{
			late =
				e >= least && retrieval_late(r, -LAST_PART * retrieval_room(r));
			if ((st = retrieval_agree(r, &late)) == RS_OK && late)
				epochs = e;
			if (late && log)
				run->epochs = e;
		}
		if (!log || st != RS_OK)
			continue;
		judged = !all && r->ds->n_held > 0 &&
				 (!isfinite(r->limit) || (e == epochs && !late));
		if (judged)
		{
			st = ials_validate(run, &value, &ndcg);
			/* still gaining much: go on */
			if (st == RS_OK && !late && e == epochs && e == run->epochs &&
				e < MOST_EPOCHS && r->job->config.epochs <= 0 &&
				value > run->last_value * EPOCH_DOUBT)
				epochs = ++run->epochs;
			run->last_value = value;
			if (e == 1 || value > run->best_value)
			{
				run->best_value = value;
				run->best_epoch = e;
			}
		}
		if (st == RS_OK && r->team->rank == 0)
		{
			r->job->progress.loss = run->als.loss;
			r->job->progress.rate =
				(double) r->ds->n * e / (retrieval_seconds(r) + 1e-9);
			job_log(r->job, "retrieval", e, run->als.loss,
					judged ? "ndcg@20" : "", ndcg, retrieval_seconds(r));
		}
	}
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
	st = retrieval_mean_fit(run->r, &run->user_mean, als, &users, als->w);
	if (st != RS_OK)
		return st;
	if (run->r->team->rank == 0)
	{
		size_t d = (size_t) als->config.dim;
		float *mean = run->fold_in + FOLD_IN_MEAN + (size_t) k * d;

		for (size_t j = 0; j < d; j++)
			mean[j] = run->to_zero ? 0 : run->user_mean.mean[j];
	}
	st = retrieval_prior_finish(run->r, &run->user_prior, als, &users, als->w,
								1.0f / (float) run->starts, k, run->starts,
								run->u);
	return st == RS_OK
			   ? retrieval_prior_finish(run->r, &run->item_prior, als, &items,
										als->h, 1, k, run->starts, run->v)
			   : st;
}

/*
 * With weak regularization many dimensions overfit within few epochs: where
 * that is clear, the training ends with the best one.
 */
static RsStatus
shorten(IalsRun *run, const IalsConfig *c)
{
	int32_t late = retrieval_late(run->r, 0);
	RsStatus st = retrieval_agree(run->r, &late);

	if (st != RS_OK || late || run->r->job->config.epochs > 0 ||
		run->best_epoch >= run->epochs ||
		run->best_value <= run->last_value * EPOCH_DOUBT)
		return st;
	run->epochs = run->best_epoch;
	st = ials_restart(run->r->team, &run->als, c);
	return st == RS_OK ? ials_train(run, run->epochs, run->epochs, false, false)
					   : st;
}

/* models from all starts, side by side in u and v */
static RsStatus
train_starts(IalsRun *run, bool all)
{
	const IalsConfig *config = &run->chosen;
	Retrieval *r = run->r;
	RsStatus st = RS_OK;

	for (int k = 0; k < run->starts && st == RS_OK; k++)
	{
		IalsConfig c = *config;

		c.seed += (uint64_t) k;
		st = ials_restart(r->team, &run->als, &c);
		if (st == RS_OK)
			st = ials_train(run, run->epochs,
							k == 0 && !all ? LATE_EPOCHS : run->epochs, all,
							k == 0);
		if (st == RS_OK && k == 0 && !all)
			st = shorten(run, &c);
		if (st != RS_OK)
			break;
		if (run->u != run->als.w)
		{
			ials_copy(r->team, &run->als, run->als.w, r->ds->n_users, run->u, k,
					  run->starts, 1.0f / (float) run->starts);
			ials_copy(r->team, &run->als, run->als.h, r->ds->n_items, run->v, k,
					  run->starts, 1);
		}
		st = team_barrier(r->team);
		if (st == RS_OK)
			st = finish(run, all, k);
	}
	return st;
}

static void
say(const IalsRun *run)
{
	const IalsConfig *c = &run->chosen;
	Retrieval *r = run->r;
	JobOutput *out = &r->job->output;
	char how[120] = "";

	out->dim = c->dim * run->starts;
	out->epochs = run->epochs;
	out->user_vector = job_offset(r->job, run->u);
	out->item_vector = job_offset(r->job, run->v);
	out->user_map = job_offset(r->job, run->user_prior.map);
	out->item_map = job_offset(r->job, run->item_prior.map);
	if (run->n_trials > 0)
		snprintf(how, sizeof(how),
				 ", the best of %d trials on %lld held-out interactions",
				 run->n_trials + run->n_wider, (long long) r->ds->n_held);
	snprintf(out->choice, sizeof(out->choice),
			 "implicit ALS, %d%s dimensions, regularization %.3g, alpha0 "
			 "%.3g%s%s%s%s",
			 c->dim, run->starts > 1 ? " x 2" : "", c->lambda, c->alpha0,
			 run->to_zero ? "" : ", around the mean user",
			 run->activity > 0 ? ", unseen items by activity" : "",
			 run->slope == 0             ? ""
			 : r->job->input.rating != 0 ? ", weighted by rating"
										 : ", weighted by count",
			 how);
}

/*
 * What serving needs to solve for somebody new, besides the items' vectors:
 * lambda, alpha0, the number of models side by side, the mean user (width),
 * how the zeros of a user count by his activity.
 */
static void
put_fold_in(const IalsRun *run)
{
	const IalsConfig *c = &run->chosen;
	JobShared *job = run->r->job;
	JobOutput *out = &job->output;
	JobParam *p;

	run->fold_in[0] = c->lambda;
	run->fold_in[1] = c->alpha0;
	run->fold_in[2] = (float) run->starts;
	run->fold_in[FOLD_IN_MEAN + c->dim * run->starts] = run->activity;
	run->fold_in[FOLD_IN_MEAN + c->dim * run->starts + 1] = run->usual;
	if (out->n_params >= JOB_MAX_PARAMS)
		return;
	p = &out->params[out->n_params++];
	memset(p, 0, sizeof(*p));
	strcpy(p->name, "ials");
	p->ndim = 1;
	p->shape[0] = FOLD_IN_MEAN + c->dim * run->starts + FOLD_IN_ZEROS;
	p->data = job_offset(job, run->fold_in);
}

static RsStatus
prepare(IalsRun *run)
{
	Retrieval *r = run->r;
	const JobConfig *config = &r->job->config;
	const JobInput *in = &r->job->input;
	IalsConfig most;
	size_t d;
	size_t widest;
	int ld;
	RsStatus st;

	ials_config(config, in, &run->base);
	run->chosen = most = run->base;
	run->epochs = config->epochs > 0 ? config->epochs : EPOCHS;
	run->starts = count_starts(config, in);
	run->fix_lambda = config->regularization > 0;
	run->fix_alpha0 = config->alpha0 > 0;
	d = (size_t) most.dim * (size_t) run->starts;
	run->most_dim = most_dim(config, in);
	ld = round_dim(run->most_dim);
	widest = d > (size_t) run->most_dim ? d : (size_t) run->most_dim;
	/* trials may have more dimensions than the model */
	most.dim = run->most_dim < TUNE_DIM ? TUNE_DIM : run->most_dim;
	st = ials_init(r->arena, &most, r->ds->n_users, r->ds->n_items, &run->als);
	run->u = run->als.w;
	run->v = run->als.h;
	if (st == RS_OK && needs_copy(&run->base, run->starts))
	{
		run->u =
			arena_alloc(r->arena, (size_t) r->ds->n_users * d, sizeof(float));
		run->v =
			arena_alloc(r->arena, (size_t) r->ds->n_items * d, sizeof(float));
	}
	run->fold_in = arena_alloc(r->arena, FOLD_IN_MEAN + widest + FOLD_IN_ZEROS,
							   sizeof(float));
	run->zeros = arena_alloc(r->arena, (size_t) r->ds->n_users, sizeof(float));
	if (run->u == NULL || run->v == NULL || run->fold_in == NULL ||
		run->zeros == NULL)
		return RS_NO_MEMORY;
	if (st == RS_OK)
		st = retrieval_mean_init(r, ld, &run->user_mean);
	if (st == RS_OK)
		st = retrieval_prior_init(r, &in->users, ld, (int) widest,
								  &run->user_prior);
	if (st == RS_OK)
		st = retrieval_prior_init(r, &in->items, ld, (int) widest,
								  &run->item_prior);
	return st == RS_OK ? ials_alloc_weights(run) : st;
}

static RsStatus
probe(IalsRun *run, RsStatus (*trials)(IalsRun *, double *), double *ndcg)
{
	Retrieval *r = run->r;
	size_t mark = arena_mark(r->arena);
	int64_t *row = r->ds->row;
	RsStatus st = prepare(run);

	retrieval_phase(r, "tuning", 0);
	if (st == RS_OK)
		st = trials(run, ndcg);
	arena_reset(r->arena, mark);
	/* what the weights needed went with the arena */
	r->ds->row = row;
	return st;
}

RsStatus
ials_probe(IalsRun *run, double *ndcg)
{
	return probe(run, ials_tune_half, ndcg);
}

RsStatus
ials_probe_wide(IalsRun *run, double *ndcg)
{
	return probe(run, ials_tune_wide, ndcg);
}

RsStatus
ials_first(IalsRun *run)
{
	RsStatus st = prepare(run);

	if (st == RS_OK)
		st = ials_tune(run, &run->chosen);
	retrieval_phase(run->r, "retrieval", run->epochs);
	run->seconds = -retrieval_seconds(run->r);
	if (st == RS_OK)
		st = train_starts(run, false);
	run->seconds += retrieval_seconds(run->r);
	return st;
}

RsStatus
ials_finish(IalsRun *run)
{
	Retrieval *r = run->r;
	/* a second training takes as long as the first, and must not be cut off */
	int32_t again = r->ds->n_held > 0 && r->job->config.refit != 0 &&
					retrieval_seconds(r) + run->seconds < retrieval_room(r);
	RsStatus st = retrieval_agree(r, &again);

	if (st == RS_OK)
		st = retrieval_report(r, true, run->u, run->v,
							  run->chosen.dim * run->starts);
	if (st == RS_OK && again)
	{
		retrieval_phase(r, "refit", run->epochs);
		st = train_starts(run, true);
	}
	if (st == RS_OK && r->team->rank == 0)
	{
		say(run);
		put_fold_in(run);
	}
	return st == RS_OK ? team_barrier(r->team) : st;
}

RsStatus
retrieval_ials(Retrieval *r)
{
	IalsRun run = {.r = r};
	RsStatus st = ials_first(&run);

	return st == RS_OK ? ials_finish(&run) : st;
}
