/*
 * train_config.c
 *		What was asked of a training, as jsonb in recsys_model, and back.
 *
 * The config has what the options have (train_options.c) and the arguments
 * that say how to train, features included: enough to train the model
 * again. recsys_tune does that.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/namespace.h"
#include "common/shortest_dec.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/varlena.h"

#include "pg/pg_json.h"
#include "train/train.h"

static const char *const presets[] = {"default", "tfrs", "best"};
static const char *const splits[] = {"random", "time", "last"};

void
train_config_default(JobConfig *c)
{
	memset(c, 0, sizeof(*c));
	c->n_hidden = c->cross_layers = c->history = -1;
	c->valid_fraction = c->learning_rate = NAN;
	c->temperature = c->regularization = c->alpha0 = NAN;
	c->min_rating = c->max_rating = c->positive_value = NAN;
	c->negatives = c->hard_negatives = c->patience = -1;
	c->logq = c->accidental = c->normalize = c->refit = c->implicit = -1;
}

void
train_config_hidden(int n, const int *units, JobConfig *config)
{
	if (n > JOB_MAX_HIDDEN)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("hidden may have at most %d layers, not %d",
							   JOB_MAX_HIDDEN, n)));
	config->n_hidden = n;
	for (int i = 0; i < n; i++)
	{
		if (units[i] < 1 || units[i] > 4096)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("a hidden layer must have between 1 and "
								   "4096 units, not %d",
								   units[i])));
		config->hidden[i] = units[i];
	}
}

/* ---- to jsonb ---- */

static void
append_names(StringInfo json, const char *key, const NameData *names, int n)
{
	StringInfoData list;

	if (n == 0)
		return;
	initStringInfo(&list);
	for (int i = 0; i < n; i++)
	{
		appendStringInfoString(&list, i == 0 ? "[" : ", ");
		escape_json(&list, NameStr(names[i]));
	}
	appendStringInfoChar(&list, ']');
	pg_json_text(json, key, list.data);
}

static void
append_hidden(StringInfo json, const JobConfig *config)
{
	StringInfoData list;

	if (config->n_hidden < 0)
		return;
	initStringInfo(&list);
	appendStringInfoChar(&list, '[');
	for (int i = 0; i < config->n_hidden; i++)
		appendStringInfo(&list, "%s%d", i == 0 ? "" : ", ", config->hidden[i]);
	appendStringInfoChar(&list, ']');
	pg_json_text(json, "hidden", list.data);
}

static void
append_table(StringInfo json, const char *key, Oid table)
{
	/* in the background it may have been dropped meanwhile */
	if (OidIsValid(table) && get_rel_name(table) != NULL)
		pg_json_string(json, key,
					   quote_qualified_identifier(
						   get_namespace_name(get_rel_namespace(table)),
						   get_rel_name(table)));
}

/* as it can be written in a call, without losing a digit */
static void
append_positive(StringInfo json, const JobConfig *config)
{
	char number[FLOAT_SHORTEST_DECIMAL_LEN];

	if (config->positive_kind == POSITIVE_ALL)
		return;
	float_to_shortest_decimal_buf(config->positive_value, number);
	pg_json_string(
		json, "positive",
		psprintf("%s %s", job_comparisons[config->positive_kind], number));
}

Jsonb *
train_config_json(const TrainArgs *args)
{
	const JobConfig *config = &args->config;
	StringInfoData json;

	pg_json_begin(&json);
	pg_json_string(&json, "preset", presets[config->preset]);
	pg_json_string(&json, "split", splits[config->split]);
	pg_json_string(&json, "seed", psprintf("%lld", (long long) config->seed));
	if (!isnan(config->valid_fraction))
		pg_json_number(&json, "test_fraction", config->valid_fraction);
	append_positive(&json, config);
	append_hidden(&json, config);
	train_options_json(&json, config);
	append_table(&json, "users", args->users);
	append_table(&json, "items", args->items);
	append_names(&json, "user_features", args->user_features,
				 args->n_user_features);
	append_names(&json, "item_features", args->item_features,
				 args->n_item_features);
	append_names(&json, "context_features", args->context_features,
				 args->n_context_features);
	return pg_json_end(&json);
}

/* ---- and back ---- */

static char *
text_of(const JsonbValue *v)
{
	return v->type == jbvString ? pnstrdup(v->val.string.val, v->val.string.len)
								: pstrdup("");
}

static double
number_of(const JsonbValue *v)
{
	if (v->type != jbvNumeric)
		return NAN;
	return DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow,
											  NumericGetDatum(v->val.numeric)));
}

/* the elements of an array, at most most; -1 when it is none */
static int
elements_of(const JsonbValue *v, JsonbValue *to, int most)
{
	JsonbContainer *array;
	int n;

	if (v->type != jbvBinary || !JsonContainerIsArray(v->val.binary.data))
		return -1;
	array = v->val.binary.data;
	n = (int) JsonContainerSize(array);
	for (int i = 0; i < n && i < most; i++)
		to[i] = *getIthJsonbValueFromContainer(array, i);
	return n;
}

static void
set_hidden(const JsonbValue *v, JobConfig *config)
{
	JsonbValue layer[JOB_MAX_HIDDEN];
	int units[JOB_MAX_HIDDEN];
	int n = elements_of(v, layer, JOB_MAX_HIDDEN);

	if (n < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("hidden must be an array of numbers of units")));
	for (int i = 0; i < n && i < JOB_MAX_HIDDEN; i++)
	{
		double x = number_of(&layer[i]);

		units[i] = x >= 0 && x <= 1e6 ? (int) x : -1;
	}
	train_config_hidden(n, units, config);
}

void
train_config_set(const char *key, const JsonbValue *v, JobConfig *config)
{
	if (strcmp(key, "hidden") == 0)
		set_hidden(v, config);
	else
		train_option_set(key, v, config);
}

static Oid
table_of(const JsonbValue *v, const char *what)
{
	char *name = text_of(v);
	Oid table =
		RangeVarGetRelid(makeRangeVarFromNameList(
							 textToQualifiedNameList(cstring_to_text(name))),
						 NoLock, true);

	if (!OidIsValid(table))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("%s: the table %s, which the model was trained with, "
						"does not exist any more",
						what, name),
				 errhint("Train the model anew by recsys_train.")));
	return table;
}

static int
names_of(const JsonbValue *v, NameData *to)
{
	JsonbValue name[TRAIN_MAX_FEATURES];
	int n = Min(elements_of(v, name, TRAIN_MAX_FEATURES), TRAIN_MAX_FEATURES);

	for (int i = 0; i < n; i++)
		namestrcpy(&to[i], text_of(&name[i]));
	return Max(n, 0);
}

static int
word_of(const JsonbValue *v, const char *const *words, int n)
{
	char *word = text_of(v);

	for (int i = 0; i < n; i++)
		if (strcmp(word, words[i]) == 0)
			return i;
	return 0;
}

static void
read_member(const char *key, const JsonbValue *v, TrainArgs *args)
{
	JobConfig *c = &args->config;

	if (strcmp(key, "preset") == 0)
		c->preset = (JobPreset) word_of(v, presets, lengthof(presets));
	else if (strcmp(key, "split") == 0)
		c->split = (JobSplit) word_of(v, splits, lengthof(splits));
	else if (strcmp(key, "seed") == 0)
		c->seed = (uint64) strtoll(text_of(v), NULL, 10);
	else if (strcmp(key, "test_fraction") == 0)
		c->valid_fraction = (float) number_of(v);
	else if (strcmp(key, "positive") == 0)
		(void) train_positive_read(text_of(v), NameStr(args->rating_col), c);
	else if (strcmp(key, "users") == 0)
		args->users = table_of(v, key);
	else if (strcmp(key, "items") == 0)
		args->items = table_of(v, key);
	else if (strcmp(key, "user_features") == 0)
		args->n_user_features = names_of(v, args->user_features);
	else if (strcmp(key, "item_features") == 0)
		args->n_item_features = names_of(v, args->item_features);
	else if (strcmp(key, "context_features") == 0)
		args->n_context_features = names_of(v, args->context_features);
	else
		train_config_set(key, v, c);
}

void
train_config_read(Jsonb *json, TrainArgs *args)
{
	JsonbIterator *it = JsonbIteratorInit(&json->root);
	JsonbIteratorToken token;
	JsonbValue v;
	char *key = NULL;

	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			key = pnstrdup(v.val.string.val, v.val.string.len);
		else if (token == WJB_VALUE)
			read_member(key, &v, args);
	}
}
