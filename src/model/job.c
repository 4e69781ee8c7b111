/*
 * job.c
 *		What a training does, from interactions to vectors.
 *
 * Data set -> split -> retrieval -> ranking; the stages are in retrieval.c
 * and ranking.c. Every member of the team runs all of it.
 */
#include "model/job.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "math/arena.h"
#include "math/dense.h"
#include "model/clock.h"
#include "model/dataset.h"
#include "model/ranking.h"
#include "model/retrieval.h"
#include "model/split.h"

/* what the data set of all stages must have; whether ranking needs its own */
static bool
dataset_options(const JobConfig *config, const JobInput *in,
				DatasetOptions *opt)
{
	bool filtered = config->positive_kind != POSITIVE_ALL && in->rating != 0;
	/* the ranking stage takes every occasion, retrieval a pair once */
	bool shared = config->ranking && !filtered && in->context.n_cols == 0;

	memset(opt, 0, sizeof(*opt));
	retrieval_dataset_options(config, in, opt);
	opt->times = config->split != SPLIT_RANDOM || shared || config->history > 0;
	opt->ratings = opt->ratings || shared;
	opt->rows = shared;
	opt->sources = in->context.n_cols > 0 || config->history > 0;
	opt->consume = !config->ranking || shared;
	return !config->retrieval || !shared;
}

static void
ranking_options(const JobConfig *config, const JobInput *in,
				DatasetOptions *opt)
{
	memset(opt, 0, sizeof(*opt));
	opt->ratings = opt->times = opt->rows = true;
	opt->consume = true;
	opt->sources = in->context.n_cols > 0;
	opt->repeats = config->preset == PRESET_TFRS || in->context.n_cols > 0;
}

bool
job_wants_network(const JobConfig *config)
{
	JobLoss loss = config->ranking_loss;

	if (loss == LOSS_MSE)
		return true;
	if (loss != LOSS_AUTO && loss != LOSS_BINARY)
		return false;
	if (config->preset == PRESET_TFRS || config->cross_layers > 0)
		return true;
	if (loss == LOSS_AUTO)
		return !config->retrieval && config->n_hidden >= 0;
	return config->n_hidden >= 0 || config->optimizer != OPTIMIZER_AUTO ||
		   config->batch_size > 0 || isfinite(config->learning_rate);
}

bool
job_reads_ratings(const JobConfig *config, const JobInput *input)
{
	DatasetOptions opt;

	dataset_options(config, input, &opt);
	return config->ranking || opt.ratings ||
		   config->positive_kind != POSITIVE_ALL;
}

bool
job_reads_times(const JobConfig *config, const JobInput *input)
{
	DatasetOptions opt;

	dataset_options(config, input, &opt);
	/* of several ratings, or contexts, the newest counts */
	return config->ranking || opt.times || opt.ratings ||
		   input->context.n_cols > 0;
}

static size_t
add_size(size_t a, size_t b)
{
	return a > SIZE_MAX / 4 || b > SIZE_MAX / 4 ? SIZE_MAX / 2 : a + b;
}

size_t
job_arena_size(const JobConfig *config, const JobInput *input, int workers)
{
	DatasetOptions opt;
	DatasetOptions rank_opt;
	size_t scratch = dataset_scratch(input);
	size_t size = 64 * 1024;
	size_t stage = 0;
	bool own;

	if (input->n_users <= 0 || input->n_items <= 0 || input->n <= 0)
		return size;
	size += arena_need((size_t) input->n_items, sizeof(int32_t)) +
			arena_need((size_t) input->n_users, sizeof(int32_t));
	own = dataset_options(config, input, &opt);
	ranking_options(config, input, &rank_opt);
	if (config->retrieval)
	{
		stage = retrieval_arena_size(config, input, workers);
		size += dataset_size(input, &opt);
		size = add_size(size, stage > scratch ? stage : scratch);
	}
	if (!config->ranking)
		return size;
	if (own)
		size += dataset_size(input, &rank_opt);
	stage = ranking_arena_size(config, input, workers);
	return add_size(size, own && stage < scratch ? scratch : stage);
}

void
job_log(JobShared *job, const char *stage, int epoch, double loss,
		const char *metric, double value, double seconds)
{
	JobLog *log;

	if (job->n_log >= JOB_MAX_LOG)
		return;
	log = &job->log[job->n_log];
	memset(log, 0, sizeof(*log));
	strncpy(log->stage, stage, sizeof(log->stage) - 1);
	log->epoch = epoch;
	log->train_loss = loss;
	strncpy(log->metric, metric, sizeof(log->metric) - 1);
	log->value = value;
	log->seconds = seconds;
	__atomic_store_n(&job->n_log, job->n_log + 1, __ATOMIC_RELEASE);
}

/* interactions of users and items, for popularity and for the tables */
static RsStatus
count_both(Team *team, JobShared *job, Arena *arena, const Dataset *ds)
{
	int32_t *items;
	int32_t *users;

	items = arena_alloc(arena, (size_t) ds->n_items, sizeof(int32_t));
	users = arena_alloc(arena, (size_t) ds->n_users, sizeof(int32_t));
	if (items == NULL || users == NULL)
		return RS_NO_MEMORY;
	if (team->rank == 0)
	{
		for (int32_t i = 0; i < ds->n_items; i++)
			items[i] = (int32_t) (ds->item_ptr[i + 1] - ds->item_ptr[i]);
		for (int32_t u = 0; u < ds->n_users; u++)
			users[u] = (int32_t) (ds->user_ptr[u + 1] - ds->user_ptr[u]);
		job->output.n_interactions = ds->n;
		job->output.n_duplicates = ds->n_duplicates;
		job->output.item_count = job_offset(job, items);
		job->output.user_count = job_offset(job, users);
	}
	return RS_OK;
}

/* share of rows to hold out; presets differ */
static double
valid_fraction(const JobConfig *config, int64_t n)
{
	if (!isnan(config->valid_fraction))
		return config->valid_fraction;
	if (config->preset == PRESET_TFRS || n < 50)
		return 0;
	return 0.1;
}

static RsStatus
split(Team *team, JobShared *job, Dataset *ds)
{
	const JobConfig *config = &job->config;
	double fraction = valid_fraction(config, ds->n);

	if (fraction <= 0 && config->split != SPLIT_LAST)
		return RS_OK;
	if (config->split != SPLIT_RANDOM && ds->time == NULL && team->rank == 0)
		strcpy(job->output.problem, "the split needs a time column");
	return dataset_split(team, ds, config->split, fraction, config->seed);
}

static RsStatus
run_ranking(Team *team, JobShared *job, Arena *arena, Dataset *ds, bool own,
			double limit)
{
	DatasetOptions opt;
	RsStatus st = RS_OK;

	if (own)
	{
		ranking_options(&job->config, &job->input, &opt);
		st = dataset_build(team, arena, job, &opt, ds);
		if (st == RS_OK)
			st = split(team, job, ds);
	}
	if (st == RS_OK && !job->config.retrieval)
		st = count_both(team, job, arena, ds);
	return st == RS_OK ? ranking_run(team, job, arena, ds, limit) : st;
}

static RsStatus
run_stages(Team *team, JobShared *job)
{
	double start = clock_seconds();
	DatasetOptions opt;
	Dataset ds;
	Arena arena;
	/* the second stage has what the first one leaves, half at least */
	double limit = job->config.max_seconds > 0 ? start + job->config.max_seconds
											   : INFINITY;
	bool ranking_own = dataset_options(&job->config, &job->input, &opt);
	RsStatus st = RS_OK;

	arena_init(&arena, job_at(job, job->arena), job->size - job->arena);
	if (team->rank == 0)
		strcpy(job->progress.phase, "building");
	if (job->config.retrieval)
	{
		st = dataset_build(team, &arena, job, &opt, &ds);
		if (st == RS_OK && ds.n == 0)
			st = RS_NO_DATA;
		if (st == RS_OK)
			st = split(team, job, &ds);
		if (st == RS_OK)
			st = count_both(team, job, &arena, &ds);
		if (st == RS_OK)
			st = retrieval_run(team, job, &arena, &ds, start,
							   job->config.ranking ? (start + limit) / 2
												   : limit);
		if (st == RS_OK && team->rank == 0)
			job->output.retrieval_epochs = job->output.epochs;
	}
	if (st == RS_OK && job->config.ranking)
		st = run_ranking(team, job, &arena, &ds, ranking_own, limit);
	return st;
}

const char *const job_comparisons[7] = {"", ">=", ">", "<=", "<", "=", "<>"};

/* *p moves behind the operator; a number alone means "at least" */
static JobPositive
comparison(const char **p)
{
	JobPositive found = POSITIVE_GE;
	size_t longest = 0;

	if (strncmp(*p, "!=", 2) == 0)
	{
		*p += 2;
		return POSITIVE_NE;
	}
	for (int k = POSITIVE_GE; k <= POSITIVE_NE; k++)
	{
		size_t n = strlen(job_comparisons[k]);

		if (n > longest && strncmp(*p, job_comparisons[k], n) == 0)
		{
			found = (JobPositive) k;
			longest = n;
		}
	}
	*p += longest;
	return found;
}

bool
job_positive_read(const char *text, JobConfig *config)
{
	char *end;

	config->positive_kind = comparison(&text);
	config->positive_value = strtof(text, &end);
	return end != text && end[strspn(end, " ")] == '\0' &&
		   isfinite(config->positive_value);
}

static const char *
explain(RsStatus st)
{
	switch (st)
	{
		case RS_CANCELLED:
			return "the training was cancelled";
		case RS_NO_MEMORY:
			return "not enough memory for the training";
		case RS_DIVERGED:
			return "the loss is not finite any more";
		case RS_NO_DATA:
			return "there are no interactions to learn from";
		case RS_INVALID:
			return "the options and the data do not fit together";
		default:
			return "the training failed";
	}
}

/* options that ask for nothing: every learner takes them */
static int
takes_nothing(const JobConfig *config)
{
	return (config->n_hidden <= 0 ? JOB_TAKES_HIDDEN : 0) |
		   (config->cross_layers <= 0 ? JOB_TAKES_CROSS : 0) |
		   (config->hard_negatives <= 0 ? JOB_TAKES_HARD : 0);
}

RsStatus
job_run(Team *team, JobShared *job)
{
	const JobInput *in = &job->input;
	RsStatus st;

	dense_init(-1);
	if (team->rank == 0)
		job->output.takes = takes_nothing(&job->config);
	if (in->n <= 0 || in->n_users <= 0 || in->n_items <= 0)
		st = RS_NO_DATA;
	else
		st = run_stages(team, job);
	if (st != RS_OK)
		team_stop(team, st);
	else
		st = team_barrier(team);
	/* the first reason counts, the others only followed */
	if (st != RS_OK)
		st = (RsStatus) __atomic_load_n(&team->shared->stop, __ATOMIC_ACQUIRE);
	if (st != RS_OK && team->rank == 0 && job->output.problem[0] == '\0')
		snprintf(job->output.problem, sizeof(job->output.problem), "%s",
				 explain(st));
	return st;
}
