/*
 * train_args.c
 *		The arguments of recsys_train, taken apart and checked.
 */
#include "postgres.h"

#include <math.h>

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "pg/pg_module.h"
#include "store/store.h"
#include "store/store_publish.h"
#include "train/train.h"

/* positions in the SQL declaration */
enum
{
	ARG_RATINGS,
	ARG_MODEL,
	ARG_USER_COL,
	ARG_ITEM_COL,
	ARG_RATING_COL,
	ARG_TIME_COL,
	ARG_STAGES,
	ARG_USERS,
	ARG_ITEMS,
	ARG_USER_FEATURES,
	ARG_ITEM_FEATURES,
	ARG_CONTEXT_FEATURES,
	ARG_POSITIVE,
	ARG_PRESET,
	ARG_DIM,
	ARG_HIDDEN,
	ARG_EPOCHS,
	ARG_BATCH_SIZE,
	ARG_LEARNING_RATE,
	ARG_TEST_FRACTION,
	ARG_SPLIT,
	ARG_SEED,
	ARG_WORKERS,
	ARG_WAIT,
	ARG_OPTIONS
};

static void
refuse_null(FunctionCallInfo fcinfo, int n, const char *name)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("%s must not be NULL", name)));
}

static char *
text_arg(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n));
}

/* *to stays as it is when the argument is NULL */
static void
int_arg(FunctionCallInfo fcinfo, int n, const char *name, int min, int max,
		int *to)
{
	int x;

	if (PG_ARGISNULL(n))
		return;
	x = PG_GETARG_INT32(n);
	if (x < min || x > max)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s must be between %d and %d, not %d", name,
							   min, max, x)));
	*to = x;
}

static void
float_arg(FunctionCallInfo fcinfo, int n, const char *name, double min,
		  double max, float *to)
{
	double x;

	if (PG_ARGISNULL(n))
		return;
	x = PG_GETARG_FLOAT8(n);
	/* written so that NaN is refused too */
	if (!(x >= min && x <= max))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s must be between %g and %g, not %g", name,
							   min, max, x)));
	*to = (float) x;
}

static int
word_arg(FunctionCallInfo fcinfo, int n, const char *name,
		 const char *const *words, int n_words)
{
	char *word = text_arg(fcinfo, n);

	for (int i = 0; i < n_words; i++)
		if (strcmp(word, words[i]) == 0)
			return i;
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("unknown %s \"%s\"", name, word),
					errhint("%s", train_hint(word, words, n_words))));
}

static int
array_arg(FunctionCallInfo fcinfo, int n, const char *name, Oid type,
		  Datum **values)
{
	ArrayType *array;
	bool *nulls;
	int count;
	int16 len;
	bool byval;
	char align;

	*values = NULL;
	if (PG_ARGISNULL(n))
		return 0;
	array = PG_GETARG_ARRAYTYPE_P(n);
	if (ARR_NDIM(array) > 1)
		ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
						errmsg("%s must have one dimension", name)));
	get_typlenbyvalalign(type, &len, &byval, &align);
	deconstruct_array(array, type, len, byval, align, values, &nulls, &count);
	for (int i = 0; i < count; i++)
		if (nulls[i])
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("%s must not contain NULL", name)));
	return count;
}

static int
names_arg(FunctionCallInfo fcinfo, int n, const char *name, NameData *to)
{
	Datum *values;
	int count = array_arg(fcinfo, n, name, NAMEOID, &values);

	if (count > TRAIN_MAX_FEATURES)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s may have at most %d columns, not %d", name,
							   TRAIN_MAX_FEATURES, count)));
	for (int i = 0; i < count; i++)
	{
		to[i] = *DatumGetName(values[i]);
		for (int j = 0; j < i; j++)
			if (strcmp(NameStr(to[j]), NameStr(to[i])) == 0)
				ereport(ERROR, (errcode(ERRCODE_DUPLICATE_COLUMN),
								errmsg("column \"%s\" appears twice in %s",
									   NameStr(to[i]), name)));
	}
	return count;
}

/* a relation that rows can be selected from */
static Oid
relation_arg(FunctionCallInfo fcinfo, int n, const char *name)
{
	Oid relation;
	HeapTuple tuple;
	char kind;

	if (PG_ARGISNULL(n))
		return InvalidOid;
	relation = PG_GETARG_OID(n);
	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", relation)));
	kind = ((Form_pg_class) GETSTRUCT(tuple))->relkind;
	ReleaseSysCache(tuple);
	if (kind != RELKIND_RELATION && kind != RELKIND_VIEW &&
		kind != RELKIND_MATVIEW && kind != RELKIND_PARTITIONED_TABLE &&
		kind != RELKIND_FOREIGN_TABLE)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("%s: \"%s\" is not a table or view", name,
							   get_rel_name(relation))));
	return relation;
}

static void
column_arg(FunctionCallInfo fcinfo, int n, NameData *to)
{
	memset(to, 0, sizeof(*to));
	if (!PG_ARGISNULL(n))
		*to = *PG_GETARG_NAME(n);
}

static void
hidden_arg(FunctionCallInfo fcinfo, JobConfig *config)
{
	Datum *values;
	int n = array_arg(fcinfo, ARG_HIDDEN, "hidden", INT4OID, &values);

	int *units = palloc(sizeof(int) * (n + 1));

	for (int i = 0; i < n; i++)
		units[i] = DatumGetInt32(values[i]);
	if (!PG_ARGISNULL(ARG_HIDDEN))
		train_config_hidden(n, units, config);
}

/* behind the rating column's name, where the text begins with it */
static const char *
skip_column(const char *p, const char *column)
{
	size_t n = strcspn(p, " <>=!");

	if ((n == strlen(column) && strncmp(p, column, n) == 0) ||
		(n == strlen("rating") && strncmp(p, "rating", n) == 0))
		p += n;
	return p + strspn(p, " ");
}

/*
 * A comparison of the rating with a number: 'rating >= 4', '>= 4', '4'. Not
 * SQL: a leader in the background gets the arguments as plain values, and
 * what needs more than a comparison is better said in a view.
 */
bool
train_positive_read(const char *text, const char *column, JobConfig *config)
{
	return job_positive_read(skip_column(text + strspn(text, " "), column),
							 config);
}

static void
positive_arg(FunctionCallInfo fcinfo, const TrainArgs *args, JobConfig *config)
{
	char *text = text_arg(fcinfo, ARG_POSITIVE);

	if (text == NULL)
		return;
	if (!train_positive_read(text, NameStr(args->rating_col), config))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("positive must be like 'rating >= 4', not '%s'", text),
				 errhint("The word rating stands for the rating column, "
						 "whatever its name. The comparisons are =, <>, <, <=, "
						 "> and >=. For any other condition train from a "
						 "view.")));
	if (NameStr(args->rating_col)[0] == '\0')
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("positive needs a rating column")));
}

static void
stages_arg(FunctionCallInfo fcinfo, const TrainArgs *args, JobConfig *config)
{
	bool has_rating = NameStr(args->rating_col)[0] != '\0';
	static const char *const known[] = {"retrieval", "ranking"};
	Datum *values;
	int n = array_arg(fcinfo, ARG_STAGES, "stages", TEXTOID, &values);

	if (PG_ARGISNULL(ARG_STAGES))
	{
		config->retrieval = true;
		config->ranking = has_rating;
		return;
	}
	for (int i = 0; i < n; i++)
	{
		char *stage = TextDatumGetCString(values[i]);

		if (strcmp(stage, "retrieval") == 0)
			config->retrieval = true;
		else if (strcmp(stage, "ranking") == 0)
			config->ranking = true;
		else
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("unknown stage \"%s\"", stage),
							errhint("%s", train_hint(stage, known, 2))));
	}
	if (n == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("stages must not be empty")));
	if (config->ranking && !has_rating)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the stage ranking needs a rating column"),
						errhint("Name it: rating_col => 'column'.")));
}

static void
config_args(FunctionCallInfo fcinfo, TrainArgs *args)
{
	static const char *const presets[] = {"default", "tfrs", "best"};
	static const char *const splits[] = {"random", "time", "last"};
	JobConfig *c = &args->config;

	train_config_default(c);
	/* arguments go before options of the same name */
	train_options_apply(PG_GETARG_JSONB_P(ARG_OPTIONS), c);
	c->preset = (JobPreset) word_arg(fcinfo, ARG_PRESET, "preset", presets,
									 lengthof(presets));
	int_arg(fcinfo, ARG_DIM, "dim", 1, 15999, &c->dim);
	hidden_arg(fcinfo, c);
	int_arg(fcinfo, ARG_EPOCHS, "epochs", 1, 1000000, &c->epochs);
	int_arg(fcinfo, ARG_BATCH_SIZE, "batch_size", 1, 1 << 20, &c->batch_size);
	float_arg(fcinfo, ARG_LEARNING_RATE, "learning_rate", 1e-12, 1000,
			  &c->learning_rate);
	float_arg(fcinfo, ARG_TEST_FRACTION, "test_fraction", 0, 0.9,
			  &c->valid_fraction);
	if (!PG_ARGISNULL(ARG_SPLIT))
		c->split = (JobSplit) word_arg(fcinfo, ARG_SPLIT, "split", splits,
									   lengthof(splits));
	if (c->split != SPLIT_RANDOM && NameStr(args->time_col)[0] == '\0')
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the split \"%s\" needs a time column",
							   splits[c->split]),
						errhint("Name it: time_col => 'column'.")));
	c->seed = (uint64) PG_GETARG_INT64(ARG_SEED);
	positive_arg(fcinfo, args, c);
	stages_arg(fcinfo, args, c);
}

static void
workers_arg(FunctionCallInfo fcinfo, TrainArgs *args)
{
	int_arg(fcinfo, ARG_WORKERS, "workers", 1, TEAM_MAX, &args->workers);
	if (args->workers > recsys_max_workers)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("workers must be at most %d, not %d",
							   recsys_max_workers, args->workers),
						errhint("The limit is recsys.max_workers.")));
}

static void
feature_args(FunctionCallInfo fcinfo, TrainArgs *args)
{
	args->users = relation_arg(fcinfo, ARG_USERS, "users");
	args->items = relation_arg(fcinfo, ARG_ITEMS, "items");
	args->n_user_features = names_arg(fcinfo, ARG_USER_FEATURES,
									  "user_features", args->user_features);
	args->n_item_features = names_arg(fcinfo, ARG_ITEM_FEATURES,
									  "item_features", args->item_features);
	args->n_context_features =
		names_arg(fcinfo, ARG_CONTEXT_FEATURES, "context_features",
				  args->context_features);
	if (args->n_user_features > 0 && !OidIsValid(args->users))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("user_features needs the argument users")));
	if (args->n_item_features > 0 && !OidIsValid(args->items))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("item_features needs the argument items")));
}

/* the occasion is what is known before the rating is */
static void
context_check(const TrainArgs *args)
{
	for (int i = 0; i < args->n_context_features; i++)
	{
		const char *name = NameStr(args->context_features[i]);

		if (strcmp(name, NameStr(args->user_col)) == 0 ||
			strcmp(name, NameStr(args->item_col)) == 0 ||
			strcmp(name, NameStr(args->rating_col)) == 0)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("column \"%s\" cannot be context: it is the "
								   "ratings' user, item or rating",
								   name)));
	}
}

bool
train_args_clash(const TrainArgs *args, TrainClash *clash)
{
	const JobConfig *c = &args->config;
	/* what only towers know */
	bool towers = c->retrieval && c->n_hidden > 0;

	memset(clash, 0, sizeof(*clash));
	if (c->min_rating >= c->max_rating)
		clash->message = "min_rating must be less than max_rating";
	else if (c->history > 0 && !towers)
	{
		clash->message = "the option history is of towers";
		clash->hint = "Train them: hidden => '{64}'.";
	}
	else if (args->n_context_features > 0 && !towers && !c->ranking)
	{
		clash->message = "context_features need the stage ranking, or towers";
		clash->hint = "Name a rating column for the stage, or train towers: "
					  "hidden => '{64}'.";
	}
	else if (args->n_context_features > 0 && c->preset == PRESET_TFRS)
	{
		clash->message = "preset \"tfrs\" knows no context_features";
		clash->hint = "It is the tutorial to the letter: take another.";
	}
	return clash->message != NULL;
}

void
train_args_refuse(const TrainClash *clash)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("%s", clash->message),
					clash->hint != NULL ? errhint("%s", clash->hint) : 0));
}

void
train_args_from_call(FunctionCallInfo fcinfo, TrainArgs *args, bool *wait)
{
	TrainClash clash;
	char *model;

	memset(args, 0, sizeof(*args));
	refuse_null(fcinfo, ARG_RATINGS, "ratings");
	refuse_null(fcinfo, ARG_MODEL, "model");
	refuse_null(fcinfo, ARG_PRESET, "preset");
	refuse_null(fcinfo, ARG_SEED, "seed");
	refuse_null(fcinfo, ARG_WAIT, "wait");
	refuse_null(fcinfo, ARG_OPTIONS, "options");
	*wait = PG_GETARG_BOOL(ARG_WAIT);
	args->ratings = relation_arg(fcinfo, ARG_RATINGS, "ratings");
	model = text_arg(fcinfo, ARG_MODEL);
	store_creation_name(model, &args->schema, &args->name);
	store_check_target(args->schema, NameStr(args->name));
	column_arg(fcinfo, ARG_USER_COL, &args->user_col);
	column_arg(fcinfo, ARG_ITEM_COL, &args->item_col);
	column_arg(fcinfo, ARG_RATING_COL, &args->rating_col);
	column_arg(fcinfo, ARG_TIME_COL, &args->time_col);
	feature_args(fcinfo, args);
	train_columns_guess(args, !PG_ARGISNULL(ARG_RATING_COL),
						!PG_ARGISNULL(ARG_TIME_COL));
	train_columns_check(args);
	context_check(args);
	config_args(fcinfo, args);
	if (train_args_clash(args, &clash))
		train_args_refuse(&clash);
	workers_arg(fcinfo, args);
	args->max_seconds = recsys_max_train_time;
}
