/*
 * train_tune.c
 *		The SQL function recsys_tune: options chosen by successive halving.
 *
 * Trials are combinations of options out of a space; trial 0 is what the
 * model has now, trained to its end, which also says how many epochs an end
 * is. The others start with a small share of the epochs; the best third of
 * each rung goes on to the next with three times as many (Jamieson,
 * Talwalkar 2016), from the start again, so that a learner whose step
 * depends on the number of epochs is judged rightly. Whatever comes to the
 * last rung has had all its epochs and is compared with trial 0. All see
 * the same validation rows, held out of the model's ratings, and all read
 * under the caller's snapshot, or with wait => false each under its own. The
 * best is trained on all rows and becomes the model's next version. A trial
 * that diverges, does not fit into memory or has not the metric comes to
 * nothing, with a WARNING, and the others go on.
 */
#include "postgres.h"

#include <math.h>

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "pg/pg_hooks.h"
#include "pg/pg_module.h"
#include "store/store_publish.h"
#include "train/train_tune.h"

#define MAX_TRIALS 1000
#define REDUCTION 3 /* of the trials from rung to rung */
#define MAX_RUNGS 4
#define MAX_METRICS 16

typedef struct Tune
{
	TrainArgs args; /* of the model as it was trained */
	TuneSpace space;
	int n; /* trials, trial 0 among them */
	TuneTrial *trial;
	const char *metric;
	bool smaller; /* the smaller the metric the better */
	int full;     /* epochs of trial 0 */
	int takes;    /* what the learners of the others took, as in JobOutput */
	TimestampTz started;
	TimestampTz deadline;
	int n_log;
	int max_log;
	JobLog *log;
} Tune;

static bool
is_error(const char *metric)
{
	return strcmp(metric, "rmse") == 0 || strcmp(metric, "mae") == 0 ||
		   strcmp(metric, "log_loss") == 0;
}

static bool
is_of_ranking(const char *metric)
{
	return is_error(metric) || strcmp(metric, "auc") == 0;
}

/* the arguments that the model was trained with, from the catalog */
static void
args_of_model(const char *name, TrainArgs *args)
{
	StoreModel model;
	Jsonb *config;

	store_get(name, &model);
	memset(args, 0, sizeof(*args));
	args->schema = model.schema;
	args->name = model.name;
	args->ratings = model.ratings;
	if (get_rel_name(args->ratings) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("the ratings of model \"%s\" are not there any more",
						NameStr(model.name)),
				 errhint("Train it anew by recsys_train.")));
	args->user_col = model.user_col;
	args->item_col = model.item_col;
	args->rating_col = model.rating_col;
	args->time_col = model.time_col;
	train_config_default(&args->config);
	config = store_config(&model);
	if (config != NULL)
		train_config_read(config, args);
	args->config.retrieval = model.dim > 0;
	args->config.ranking = model.ranking != RANKING_NONE;
	args->max_seconds = recsys_max_train_time;
	store_check_target(args->schema, NameStr(args->name));
	train_columns_check(args);
}

static const char *
default_metric(const JobConfig *config)
{
	if (config->retrieval)
		return "ndcg@10";
	return config->ranking_loss == LOSS_BINARY ? "log_loss" : "rmse";
}

/* those that trainings of this model tell; returns how many */
static int
known_metrics(const JobConfig *config, const char **to)
{
	/* as in model/retrieval.c and model/ranking.c */
	static const char *const retrieval[] = {
		"ndcg@10",      "ndcg@20",      "recall@10",   "recall@20",
		"precision@10", "precision@20", "accuracy@1",  "accuracy@5",
		"accuracy@10",  "accuracy@20",  "accuracy@50", "accuracy@100",
		"mrr"};
	bool binary = config->ranking_loss == LOSS_BINARY;
	int n = 0;

	for (int i = 0; config->retrieval && i < (int) lengthof(retrieval); i++)
		to[n++] = retrieval[i];
	if (config->ranking)
	{
		to[n++] = binary ? "log_loss" : "rmse";
		to[n++] = binary ? "auc" : "mae";
	}
	Assert(n <= MAX_METRICS);
	return n;
}

/* do trainings by this config tell the metric? */
static bool
has_metric(const JobConfig *config, const char *metric)
{
	const char *known[MAX_METRICS];
	int n = known_metrics(config, known);

	for (int i = 0; i < n; i++)
		if (strcmp(known[i], metric) == 0)
			return true;
	return false;
}

/* before anything is trained */
static void
check_metric(Tune *t)
{
	const JobConfig *c = &t->args.config;
	const char *known[MAX_METRICS];
	int n = known_metrics(c, known);

	t->smaller = is_error(t->metric);
	if (has_metric(c, t->metric))
		return;
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("trainings of model \"%s\" have no metric \"%s\"",
						   NameStr(t->args.name), t->metric),
					errhint("%s", train_hint(t->metric, known, n))));
}

/* how a trial trains: one stage, on the training part alone */
static void
trial_config(const Tune *t, const TuneTrial *trial, int epochs,
			 JobConfig *config)
{
	*config = t->args.config;
	tune_space_apply(&t->space, trial, config);
	config->retrieval = !is_of_ranking(t->metric);
	config->ranking = !config->retrieval;
	config->refit = 0;
	if (isnan(config->valid_fraction) || config->valid_fraction <= 0)
		config->valid_fraction = 0.1f;
	if (epochs > 0)
		config->epochs = epochs;
}

/* NAN when the training did not tell it */
static double
metric_of(const Tune *t, const JobOutput *out)
{
	for (int i = 0; i < out->n_metrics; i++)
	{
		const JobMetric *m = &out->metrics[i];
		char *name =
			m->k > 0 ? psprintf("%s@%d", m->name, m->k) : pstrdup(m->name);

		if (strcmp(name, t->metric) == 0)
			return m->value;
	}
	return NAN;
}

static void
log_trial(Tune *t, const TuneTrial *trial)
{
	JobLog *log;

	if (t->n_log == t->max_log)
		return;
	log = &t->log[t->n_log++];
	memset(log, 0, sizeof(*log));
	snprintf(log->stage, sizeof(log->stage), "tune %d", trial->number);
	log->epoch = trial->epochs;
	log->train_loss = NAN;
	strlcpy(log->metric, t->metric, sizeof(log->metric));
	log->value = trial->value;
	log->seconds =
		(double) (GetCurrentTimestamp() - t->started) / USECS_PER_SEC;
}

/* the others go on without it; detail may be NULL */
static void
give_up(TuneTrial *trial, int sqlstate, const char *why, const char *detail)
{
	trial->value = NAN;
	trial->sqlstate = sqlstate;
	trial->why = pstrdup(why);
	ereport(WARNING,
			(errmsg("tuning: trial %d came to nothing: %s", trial->number, why),
			 detail != NULL ? errdetail("%s", detail) : 0));
}

/* what a training says that was begun and has come to its end */
static void
judge_trial(Tune *t, TuneTrial *trial, const TrainTeam *team)
{
	RsStatus status = train_team_status(team);
	const JobOutput *out = &team->job->output;

	if (status == RS_OK || status == RS_CANCELLED)
		train_team_check(team);
	trial->value = status == RS_OK ? metric_of(t, out) : NAN;
	trial->epochs = Max(out->epochs, 1);
	if (trial->number > 0)
		t->takes |= out->takes;
	if (status != RS_OK)
		give_up(trial, pg_sqlstate(status),
				out->problem[0] != '\0' ? out->problem : "training failed",
				NULL);
	else if (isnan(trial->value))
		give_up(trial, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
				"there are too few ratings to hold some out", NULL);
}

/*
 * epochs 0: as many as the learner takes by itself. What the model would need
 * in the end, both stages, must fit as well.
 */
static void
run_trial(Tune *t, TuneTrial *trial, int epochs)
{
	TrainArgs args = t->args;
	JobConfig whole = t->args.config;
	TrainTeam team;
	TrainInput input;
	TrainTimes times;
	TrainMisfit misfit;
	TimestampTz started = GetCurrentTimestamp();

	trial->why = NULL;
	tune_space_apply(&t->space, trial, &whole);
	trial_config(t, trial, epochs, &args.config);
	if (!has_metric(&args.config, t->metric))
	{
		give_up(trial, ERRCODE_INVALID_PARAMETER_VALUE,
				psprintf("its trainings have no metric \"%s\"", t->metric),
				NULL);
		return;
	}
	train_begin(&args, &team, &input, &times);
	if (train_segment_misfit(&team, &whole, &input, &misfit) ||
		train_segment_misfit(&team, &args.config, &input, &misfit))
	{
		train_team_abandon(&team);
		give_up(trial, ERRCODE_OUT_OF_MEMORY, misfit.message, misfit.detail);
	}
	else
	{
		train_compute(&args, started, t->deadline, &team, &input, &times);
		judge_trial(t, trial, &team);
		train_team_stop(&team);
	}
	MemoryContextDelete(input.rows.context);
	trial->seconds +=
		(double) (GetCurrentTimestamp() - started) / USECS_PER_SEC;
	if (trial->epochs > 0)
		log_trial(t, trial);
}

static bool
is_better(const Tune *t, const TuneTrial *a, const TuneTrial *b)
{
	if (isnan(a->value) || isnan(b->value))
		return !isnan(a->value) && isnan(b->value);
	return t->smaller ? a->value < b->value : a->value > b->value;
}

static void
swap_trials(TuneTrial *a, TuneTrial *b)
{
	TuneTrial c = *a;

	*a = *b;
	*b = c;
}

/* the best n of m trials first; those of equal value in their order */
static void
best_first(const Tune *t, TuneTrial *trial, int n)
{
	for (int i = 1; i < n; i++)
		for (int j = i; j > 0 && is_better(t, &trial[j], &trial[j - 1]); j--)
			swap_trials(&trial[j], &trial[j - 1]);
}

/* those that came to something */
static int
count_alive(const TuneTrial *trial, int n)
{
	int alive = 0;

	for (int i = 0; i < n; i++)
		alive += !isnan(trial[i].value);
	return alive;
}

/* so many of the trials are left in the last rung */
static int
rungs_for(int trials, int full)
{
	int rungs = 1;

	while (rungs < MAX_RUNGS && trials > REDUCTION && full >= 2 * REDUCTION)
	{
		trials = (trials + REDUCTION - 1) / REDUCTION;
		full /= REDUCTION;
		rungs++;
	}
	return rungs;
}

/* epochs of a trial in a rung, 0 in the last one */
static int
budget(const Tune *t, const TuneTrial *trial, int rungs_left)
{
	JobConfig config;
	int epochs;

	trial_config(t, trial, 0, &config);
	epochs = config.epochs > 0 ? config.epochs : t->full;
	if (rungs_left == 0)
		return 0;
	for (int i = 0; i < rungs_left; i++)
		epochs = (epochs + REDUCTION - 1) / REDUCTION;
	return epochs;
}

/*
 * Options of the space that made no difference, since no learner knew them. What
 * a trial that came to nothing would have taken is not known.
 */
static void
tell_inert(const Tune *t)
{
	JobConfig config;
	char *unused;

	for (int i = 1; i < t->n; i++)
		if (t->trial[i].why != NULL)
			return;
	train_config_default(&config);
	tune_space_apply(&t->space, &t->trial[t->n - 1], &config);
	unused = train_options_unused(&config, t->takes);
	if (unused != NULL)
		train_tell(
			NOTICE,
			psprintf("tuning: the learners that were tried take no %s", unused),
			NULL, "loss and ranking_loss in the space choose others.");
}

/* trials are ordered afterwards: those of the last rung, best first, ... */
static void
run_rungs(Tune *t)
{
	TuneTrial *trial = t->trial;
	int alive = t->n - 1;
	int rungs;

	run_trial(t, &trial[0], 0);
	t->full = trial[0].epochs;
	rungs = rungs_for(alive, t->full);
	for (int r = 0; r < rungs && alive > 0; r++)
	{
		ereport(NOTICE, (errmsg("tuning: rung %d of %d, %d trials", r + 1,
								rungs, alive)));
		for (int i = 1; i <= alive; i++)
			run_trial(t, &trial[i], budget(t, &trial[i], rungs - 1 - r));
		best_first(t, trial + 1, alive);
		if (r < rungs - 1)
			alive = Min((alive + REDUCTION - 1) / REDUCTION,
						count_alive(trial + 1, alive));
	}
	tell_inert(t);
	/* trial 0 among those that had all epochs */
	best_first(t, trial, alive + 1);
}

static void
answer_trials(FunctionCallInfo fcinfo, const Tune *t)
{
	ReturnSetInfo *set = (ReturnSetInfo *) fcinfo->resultinfo;

	for (int i = 0; i < t->n; i++)
	{
		const TuneTrial *trial = &t->trial[i];
		Datum v[7];
		bool nulls[7] = {false};

		v[0] = Int32GetDatum(trial->number);
		v[1] = JsonbPGetDatum(tune_space_params(&t->space, trial));
		v[2] = Int32GetDatum(trial->epochs);
		v[3] = CStringGetTextDatum(t->metric);
		v[4] = Float8GetDatum(trial->value);
		nulls[4] = isnan(trial->value);
		v[5] = Float8GetDatum(trial->seconds);
		v[6] = BoolGetDatum(i == 0);
		tuplestore_putvalues(set->setResult, set->setDesc, v, nulls);
	}
}

static void
read_arguments(FunctionCallInfo fcinfo, Tune *t)
{
	int most;

	static const char *const names[] = {NULL, NULL,   "trials",
										NULL, "seed", "wait"};

	for (int i = 0; i < (int) lengthof(names); i++)
		if (PG_ARGISNULL(i) && names[i] != NULL)
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("%s must not be NULL", names[i])));
	args_of_model(PG_ARGISNULL(0) ? NULL
								  : text_to_cstring(PG_GETARG_TEXT_PP(0)),
				  &t->args);
	t->metric = PG_ARGISNULL(3) ? default_metric(&t->args.config)
								: text_to_cstring(PG_GETARG_TEXT_PP(3));
	check_metric(t);
	most = PG_GETARG_INT32(2);
	if (most < 1 || most > MAX_TRIALS)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("trials must be between 1 and %d, not %d",
							   MAX_TRIALS, most)));
	tune_space_read(
		PG_ARGISNULL(1)
			? tune_space_default(&t->args.config, is_of_ranking(t->metric))
			: PG_GETARG_JSONB_P(1),
		&t->args.config, &t->space);
	t->n = tune_space_trials(&t->space, &t->args, most,
							 (uint64) PG_GETARG_INT64(4), &t->trial);
}

/* all trials; the best one's options are what the model will be trained by */
static void
choose(Tune *t)
{
	t->max_log = Min(JOB_MAX_LOG, 2 * t->n + MAX_RUNGS);
	t->log = palloc(sizeof(JobLog) * t->max_log);
	t->smaller = is_error(t->metric);
	t->started = GetCurrentTimestamp();
	t->deadline = train_deadline(&t->args, t->started);
	run_rungs(t);
	if (isnan(t->trial[0].value))
		ereport(ERROR,
				(errcode(t->trial[0].sqlstate),
				 errmsg("every trial came to nothing: %s", t->trial[0].why)));
	ereport(NOTICE, (errmsg("tuning: trial %d is the best, %s %.5g",
							t->trial[0].number, t->metric, t->trial[0].value)));
	tune_space_apply(&t->space, &t->trial[0], &t->args.config);
}

/* in a leader in the background, outside of transactions */
int
train_tune_choose(TrainArgs *args, const TrainTune *tune, const char *space,
				  JobLog **log)
{
	Tune *t = palloc0(sizeof(Tune));

	t->args = *args;
	t->metric = tune->metric;
	tune_space_read(
		DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(space))),
		&t->args.config, &t->space);
	t->n = tune_space_trials(&t->space, &t->args, tune->trials, tune->seed,
							 &t->trial);
	choose(t);
	*args = t->args;
	*log = t->log;
	return t->n_log;
}

static void
tune_in_background(FunctionCallInfo fcinfo, const Tune *t)
{
	TrainTune tune = {.trials = PG_GETARG_INT32(2),
					  .seed = (uint64) PG_GETARG_INT64(4)};
	Jsonb *space =
		PG_ARGISNULL(1)
			? tune_space_default(&t->args.config, is_of_ranking(t->metric))
			: PG_GETARG_JSONB_P(1);

	strlcpy(tune.metric, t->metric, sizeof(tune.metric));
	train_async_start(&t->args, &tune,
					  JsonbToCString(NULL, &space->root, VARSIZE(space)));
}

PG_FUNCTION_INFO_V1(recsys_tune);
Datum
recsys_tune(PG_FUNCTION_ARGS)
{
	Tune *t = palloc0(sizeof(Tune));
	TrainResult result = {0};

	PreventCommandIfReadOnly("recsys_tune()");
	PreventCommandDuringRecovery("recsys_tune()");
	read_arguments(fcinfo, t);
	InitMaterializedSRF(fcinfo, 0);
	if (!PG_GETARG_BOOL(5))
	{
		tune_in_background(fcinfo, t);
		return (Datum) 0;
	}
	store_lock(t->args.schema, NameStr(t->args.name), false, true);
	store_reserve(t->args.schema, NameStr(t->args.name));
	choose(t);
	train_here(&t->args, t->log, t->n_log, &result);
	answer_trials(fcinfo, t);
	return (Datum) 0;
}
