/*
 * train_space.c
 *		The space of recsys_tune: options with values, combinations of them.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"

#include "math/rng.h"
#include "train/train_tune.h"

#define MAX_VALUES 1000
#define TRIES 100 /* draws for each trial, at most, to find a new one */

/* the value of key: an array of them, or one; hidden is an array itself */
static void
read_values(const JsonbValue *v, TuneKey *key)
{
	bool is_list =
		v->type == jbvBinary && JsonContainerIsArray(v->val.binary.data);

	if (is_list && strcmp(key->name, "hidden") == 0 &&
		JsonContainerSize(v->val.binary.data) > 0)
		is_list = getIthJsonbValueFromContainer(v->val.binary.data, 0)->type ==
				  jbvBinary;
	key->n = is_list ? (int) JsonContainerSize(v->val.binary.data) : 1;
	if (key->n < 1 || key->n > MAX_VALUES)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("space: \"%s\" must have between 1 and %d "
							   "values, not %d",
							   key->name, MAX_VALUES, key->n)));
	key->value = palloc(sizeof(JsonbValue) * key->n);
	for (int i = 0; i < key->n; i++)
		key->value[i] =
			is_list ? *getIthJsonbValueFromContainer(v->val.binary.data, i)
					: *v;
}

/* every value on a config of its own; those that change it alike count once */
static void
try_values(TuneKey *key, const JobConfig *config)
{
	JobConfig *made = palloc(sizeof(JobConfig) * key->n);
	int n = 0;

	for (int i = 0; i < key->n; i++)
	{
		int same = 0;

		made[n] = *config;
		train_config_set(key->name, &key->value[i], &made[n]);
		while (same < n &&
			   memcmp(&made[same], &made[n], sizeof(JobConfig)) != 0)
			same++;
		if (same == n)
			key->value[n++] = key->value[i];
	}
	key->n = n;
	pfree(made);
}

void
tune_space_read(Jsonb *space, const JobConfig *config, TuneSpace *to)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue v;
	TuneKey *key;

	if (!JB_ROOT_IS_OBJECT(space) || JB_ROOT_COUNT(space) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("space must be a JSON object of options with values"),
				 errhint("For example '{\"dim\": [16, 32], "
						 "\"regularization\": [0.003, 0.01]}'.")));
	to->n_keys = 0;
	to->combinations = 1;
	to->key = palloc0(sizeof(TuneKey) * JB_ROOT_COUNT(space));
	key = to->key;
	it = JsonbIteratorInit(&space->root);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			key->name = pnstrdup(v.val.string.val, v.val.string.len);
		if (token != WJB_VALUE)
			continue;
		read_values(&v, key);
		try_values(key, config);
		to->combinations *= key->n;
		to->n_keys++;
		key++;
	}
}

Jsonb *
tune_space_default(const JobConfig *config, bool ranking)
{
	const char *text;
	bool both = config->retrieval && ranking;

	if (!ranking)
		text = "{\"loss\": [\"ials\"], \"dim\": [16, 32, 64, 128, 256], "
			   "\"regularization\": [0.001, 0.003, 0.01, 0.03], "
			   "\"alpha0\": [0.03, 0.1, 0.3, 1]}";
	/* dim and steps would be the retrieval stage's, too, which nobody measures */
	else if (both && job_wants_network(config))
		text = "{\"cross_layers\": [0, 1, 2, 3]}";
	else if (both && config->ranking_loss == LOSS_BINARY)
		text = "{\"implicit\": [true, false]}";
	else if (both)
		text = "{\"ranking_loss\": [\"gibbs\", \"ordinal\"], "
			   "\"implicit\": [true, false]}";
	else if (job_wants_network(config))
		text = "{\"dim\": [8, 16, 32], \"hidden\": [[64], [256, 64]], "
			   "\"learning_rate\": [0.001, 0.003, 0.01, 0.03]}";
	else if (config->ranking_loss == LOSS_BINARY)
		text = "{\"dim\": [4, 8, 12, 16, 24], \"implicit\": [true, false]}";
	else
		text = "{\"ranking_loss\": [\"gibbs\", \"ordinal\"], "
			   "\"dim\": [4, 8, 12, 16, 24], \"implicit\": [true, false]}";
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
}

/* combination number c, keys as digits, the last one fastest */
static void
take_combination(const TuneSpace *space, int64 c, int *choice)
{
	for (int k = space->n_keys - 1; k >= 0; k--)
	{
		choice[k] = (int) (c % space->key[k].n);
		c /= space->key[k].n;
	}
}

static bool
is_new(const TuneSpace *space, const TuneTrial *trials, int n,
	   const int *choice)
{
	for (int i = 1; i < n; i++)
		if (memcmp(trials[i].choice, choice, sizeof(int) * space->n_keys) == 0)
			return false;
	return true;
}

/* a combination that recsys_train would refuse */
static bool
clashes(const TuneSpace *space, const TrainArgs *model, const TuneTrial *trial,
		TrainClash *clash)
{
	TrainArgs args = *model;
	TrainClash found;

	tune_space_apply(space, trial, &args.config);
	if (!train_args_clash(&args, &found))
		return false;
	*clash = found;
	return true;
}

int
tune_space_trials(const TuneSpace *space, const TrainArgs *model, int most,
				  uint64 seed, TuneTrial **trials)
{
	bool all = space->combinations <= most;
	int room = all ? (int) space->combinations : most;
	int64 tries = all ? room : (int64) room * TRIES;
	TuneTrial *t = palloc0(sizeof(TuneTrial) * (room + 1));
	TrainClash clash = {NULL, NULL};
	int n = 1;
	Rng rng;

	rng_init(&rng, seed, 0);
	for (int64 c = 0; c < tries && n <= room; c++)
	{
		int *choice = t[n].choice;

		CHECK_FOR_INTERRUPTS();
		if (choice == NULL)
			choice = t[n].choice = palloc(sizeof(int) * space->n_keys);
		t[n].number = n;
		if (all)
			take_combination(space, c, choice);
		for (int k = 0; k < space->n_keys && !all; k++)
			choice[k] = (int) rng_below(&rng, (uint64) space->key[k].n);
		if (is_new(space, t, n, choice) &&
			!clashes(space, model, &t[n], &clash))
			n++;
	}
	if (n == 1)
		train_args_refuse(&clash);
	if (clash.message != NULL)
		ereport(NOTICE,
				(errmsg("tuning: combinations that cannot be trained are left "
						"out: %s",
						clash.message)));
	*trials = t;
	return n;
}

void
tune_space_apply(const TuneSpace *space, const TuneTrial *trial,
				 JobConfig *config)
{
	for (int k = 0; k < space->n_keys && trial->choice != NULL; k++)
		train_config_set(space->key[k].name,
						 &space->key[k].value[trial->choice[k]], config);
}

Jsonb *
tune_space_params(const TuneSpace *space, const TuneTrial *trial)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int k = 0; k < space->n_keys && trial->choice != NULL; k++)
	{
		JsonbValue name;

		name.type = jbvString;
		name.val.string.val = space->key[k].name;
		name.val.string.len = (int) strlen(space->key[k].name);
		pushJsonbValue(&state, WJB_KEY, &name);
		pushJsonbValue(&state, WJB_VALUE,
					   &space->key[k].value[trial->choice[k]]);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}
