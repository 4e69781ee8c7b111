/*
 * ranking.c
 *		The ranking stage: which learner runs, and how good it is.
 */
#include "model/ranking.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/rank_common.h"
#include "model/rank_gibbs.h"
#include "model/rank_mlp.h"
#include "model/rank_sgd.h"

#define RANK_GREATEST 1e30f
#define CHECK_EVERY 65536 /* rows between two looks at the stop flag */
#define SGD_RATINGS 8000000
#define SGD_ROWS 300000 /* users and items */
#define QUICK 0.25 /* of the time, until a run for the metrics alone ends */
#define LATE 0.8   /* until the last one does */

static JobLoss
choose(const JobConfig *config, const JobInput *input)
{
	JobLoss loss = config->ranking_loss;

	if (job_wants_network(config))
		return loss == LOSS_BINARY ? loss : LOSS_MSE;
	if (loss != LOSS_AUTO && loss != LOSS_BINARY)
		return loss;
	/* beyond, Gibbs sampling would take many minutes or gigabytes */
	if (config->preset != PRESET_BEST &&
		(input->n > SGD_RATINGS ||
		 (int64_t) input->n_users + input->n_items > SGD_ROWS))
		return loss == LOSS_BINARY ? loss : LOSS_SGD;
	return LOSS_ORDINAL;
}

size_t
ranking_arena_size(const JobConfig *config, const JobInput *input, int workers)
{
	size_t size = rank_common_size(input) + 4096;
	size_t learner = 0;

	switch (choose(config, input))
	{
		case LOSS_GIBBS:
		case LOSS_ORDINAL:
			learner = rank_gibbs_size(config, input, workers);
			break;
		case LOSS_SGD:
			learner = rank_sgd_size(config, input, workers);
			break;
		default:
			learner = rank_mlp_size(config, input, workers);
			break;
	}
	return learner > SIZE_MAX - size ? SIZE_MAX : size + learner;
}

static RsStatus
run_learner(RankRun *run, RankBias *bias)
{
	const JobConfig *config = &run->job->config;
	const JobInput *in = &run->job->input;
	int takes = JOB_TAKES_REFIT;
	int blind = 0;
	RsStatus st;

	if (!run->binary)
		takes |= JOB_TAKES_CLAMP;
	switch (choose(config, in))
	{
		case LOSS_GIBBS:
		case LOSS_ORDINAL:
			takes |= JOB_TAKES_IMPLICIT;
			st = rank_gibbs_run(run, bias);
			break;
		case LOSS_SGD:
			takes |= JOB_TAKES_RATE | JOB_TAKES_RIDGE;
			if (in->users.n_rows > 0 || in->items.n_rows > 0)
				blind = JOB_BLIND_RANKING;
			st = rank_sgd_run(run, bias);
			break;
		default:
			takes |= JOB_TAKES_RATE | JOB_TAKES_BATCH | JOB_TAKES_OPTIMIZER |
					 JOB_TAKES_HIDDEN | JOB_TAKES_CROSS | JOB_TAKES_PATIENCE;
			if (config->preset == PRESET_TFRS)
				takes &= ~JOB_TAKES_CLAMP;
			st = rank_mlp_run(run, bias);
	}
	if (run->team->rank == 0)
	{
		run->job->output.takes |= takes;
		run->job->output.blind |= blind;
	}
	return st;
}

/* errors on the held-out rows beside those of the damped biases */
static RsStatus
add_metrics(RankRun *run, RankBias *bias)
{
	RankError base;
	RankError ours;
	RsStatus st;

	if (run->ds->n_held == 0)
		return RS_OK;
	if ((st = rank_error(run, rank_bias_predict, bias, &base)) != RS_OK ||
		(st = rank_output_error(run, &ours)) != RS_OK)
		return st;
	if (run->binary)
	{
		rank_add_metric(run, "auc", ours.auc, base.auc);
		rank_add_metric(run, "log_loss", ours.log_loss, base.log_loss);
	}
	else
	{
		rank_add_metric(run, "rmse", ours.rmse, base.rmse);
		rank_add_metric(run, "mae", ours.mae, base.mae);
	}
	return RS_OK;
}

static bool
all_finite(const float *x, size_t n)
{
	for (size_t k = 0; k < n; k++)
		if (!isfinite(x[k]))
			return false;
	return true;
}

static bool
context_finite(const RankRun *run, size_t map, int dim)
{
	return map == 0 || all_finite(job_at(run->job, map),
								  (size_t) run->context->n_cols * (size_t) dim);
}

/* nothing that is not finite leaves this stage */
static RsStatus
check_output(RankRun *run)
{
	const JobOutput *out = &run->job->output;
	const Dataset *ds = run->ds;
	bool ok;

	ok = all_finite(job_at(run->job, out->user_ranking),
					(size_t) ds->n_users * (size_t) out->user_ranking_dim) &&
		 all_finite(job_at(run->job, out->item_ranking),
					(size_t) ds->n_items * (size_t) out->item_ranking_dim) &&
		 context_finite(run, out->context_user_map, out->user_ranking_dim) &&
		 context_finite(run, out->context_item_map, out->item_ranking_dim);
	for (int k = 0; k < out->n_params && ok; k++)
	{
		const JobParam *p = &out->params[k];
		size_t n = (size_t) p->shape[0];

		if (p->ndim > 1)
			n *= (size_t) p->shape[1];
		ok = all_finite(job_at(run->job, p->data), n);
	}
	if (!ok)
		team_stop(run->team, RS_DIVERGED);
	return team_barrier(run->team);
}

/* again on all rows, once the metrics are known */
static bool
wants_refit(const JobConfig *config, const Dataset *ds)
{
	if (ds->n_held == 0)
		return false;
	if (config->refit >= 0)
		return config->refit > 0;
	return config->preset != PRESET_TFRS;
}

/* by rank 0 alone, so that nobody stops it before it has said why */
static RsStatus
check_ratings(RankRun *run)
{
	const Dataset *ds = run->ds;
	JobOutput *out = &run->job->output;

	for (int64_t r = 0; r < ds->n && run->team->rank == 0; r++)
	{
		if ((r & (CHECK_EVERY - 1)) == 0 && team_stopped(run->team) != RS_OK)
			break;
		if (!(fabsf(ds->rating[r]) <= RANK_GREATEST))
		{
			snprintf(out->problem, sizeof(out->problem),
					 "rating %g is too large to learn from, the greatest "
					 "magnitude is %g",
					 (double) ds->rating[r], (double) RANK_GREATEST);
			team_stop(run->team, RS_INVALID);
			break;
		}
	}
	return team_barrier(run->team);
}

static RsStatus
train_once(RankRun *run, RankBias *bias)
{
	RsStatus st;

	if (run->team->rank == 0)
	{
		run->job->output.n_params = run->first_param;
		strcpy(run->job->progress.phase, run->quick ? "validating" : "ranking");
	}
	if ((st = team_barrier(run->team)) != RS_OK ||
		(st = rank_bias_fit(run, bias)) != RS_OK ||
		(st = run_learner(run, bias)) != RS_OK)
		return st;
	return check_output(run);
}

RsStatus
ranking_run(Team *team, JobShared *job, Arena *arena, const Dataset *ds,
			double limit)
{
	RankRun run = {.team = team,
				   .job = job,
				   .arena = arena,
				   .ds = ds,
				   .binary = job->config.ranking_loss == LOSS_BINARY,
				   .started = rank_clock(),
				   .first_param = job->output.n_params};
	RankBias bias;
	Context context;
	size_t mark;
	RsStatus st;

	if (ds->rating == NULL || rank_n_train(&run) < 1)
		return RS_NO_DATA;
	run.quick = wants_refit(&job->config, ds);
	run.limit =
		run.started + (limit - run.started) * (run.quick ? QUICK : LATE);
	if ((st = check_ratings(&run)) != RS_OK ||
		(st = rank_common_init(&run, &bias)) != RS_OK)
		return st;
	if (job->input.context.n_cols > 0)
	{
		context_find(job, ds, &context);
		run.context = &context;
	}
	mark = arena_mark(arena);
	if ((st = train_once(&run, &bias)) != RS_OK ||
		(st = add_metrics(&run, &bias)) != RS_OK)
		return st;
	if (!run.quick)
		return RS_OK;
	arena_reset(arena, mark);
	run.all = true;
	run.quick = false;
	run.limit = run.started + (limit - run.started) * LATE;
	run.best_epoch = job->output.epochs;
	if ((st = team_barrier(team)) != RS_OK)
		return st;
	return train_once(&run, &bias);
}
