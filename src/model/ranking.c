/*
 * ranking.c
 *		The ranking stage: which learner runs, and how good it is.
 */
#include "model/ranking.h"

#include <math.h>
#include <string.h>

#include "model/rank_common.h"
#include "model/rank_gibbs.h"
#include "model/rank_mlp.h"

static JobLoss
choose(const JobConfig *config)
{
	if (config->ranking_loss != LOSS_AUTO)
		return config->ranking_loss;
	return config->preset == PRESET_TFRS ? LOSS_MSE : LOSS_GIBBS;
}

size_t
ranking_arena_size(const JobConfig *config, const JobInput *input, int workers)
{
	size_t size = rank_common_size(input) + 4096;
	size_t learner = 0;

	switch (choose(config))
	{
		case LOSS_GIBBS:
		case LOSS_ORDINAL:
			learner = rank_gibbs_size(config, input, workers);
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
	switch (choose(&run->job->config))
	{
		case LOSS_GIBBS:
		case LOSS_ORDINAL:
			return rank_gibbs_run(run, bias);
		default:
			return rank_mlp_run(run, bias);
	}
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
	if (run->job->config.ranking_loss == LOSS_BINARY)
		rank_add_metric(run, "log_loss", ours.log_loss, base.log_loss);
	else
	{
		rank_add_metric(run, "rmse", ours.rmse, base.rmse);
		rank_add_metric(run, "mae", ours.mae, base.mae);
	}
	return RS_OK;
}

RsStatus
ranking_run(Team *team, JobShared *job, Arena *arena, const Dataset *ds)
{
	RankRun run = {.team = team,
				   .job = job,
				   .arena = arena,
				   .ds = ds,
				   .started = rank_clock()};
	RankBias bias;
	RsStatus st;

	if (ds->rating == NULL || rank_n_train(&run) < 1)
		return RS_NO_DATA;
	if (team->rank == 0)
		strcpy(job->progress.phase, "ranking");
	if ((st = rank_common_init(&run, &bias)) != RS_OK ||
		(st = rank_bias_fit(&run, &bias)) != RS_OK ||
		(st = run_learner(&run, &bias)) != RS_OK ||
		(st = add_metrics(&run, &bias)) != RS_OK)
		return st;
	return team_barrier(team);
}
