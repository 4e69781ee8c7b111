/*
 * train_options.c
 *		The keys of recsys_train's argument options.
 *
 * One table names every key, its kind, its place in JobConfig and its
 * range. An unknown key is an error that names the nearest known one. A
 * second table has the numbers that are arguments of their own: a model's
 * config and the space of recsys_tune have them among the others, so options
 * take them as well, and what recsys_tune has found need not be taken apart.
 */
#include "postgres.h"

#include <math.h>

#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "pg/pg_json.h"
#include "train/train.h"

typedef enum OptionKind
{
	OPTION_INT,
	OPTION_FLOAT,
	OPTION_DOUBLE,
	OPTION_SWITCH, /* int: 1 true, 0 false, -1 auto */
	OPTION_WORD    /* enum: words[i] stands for values[i] */
} OptionKind;

typedef struct OptionWord
{
	const char *word;
	int value;
} OptionWord;

typedef struct Option
{
	const char *key;
	OptionKind kind;
	size_t offset; /* in JobConfig */
	double min;
	double max;
	const OptionWord *words; /* ends with NULL */
	int takes; /* JOB_TAKES_... of learners that know it; 0: all */
} Option;

static const OptionWord optimizers[] = {{"auto", OPTIMIZER_AUTO},
										{"sgd", OPTIMIZER_SGD},
										{"adagrad", OPTIMIZER_ADAGRAD},
										{"adam", OPTIMIZER_ADAM},
										{NULL, 0}};
static const OptionWord losses[] = {{"auto", LOSS_AUTO},
									{"softmax", LOSS_SOFTMAX},
									{"ials", LOSS_IALS},
									{NULL, 0}};
static const OptionWord ranking_losses[] = {{"auto", LOSS_AUTO},
											{"mse", LOSS_MSE},
											{"binary", LOSS_BINARY},
											{"gibbs", LOSS_GIBBS},
											{"ordinal", LOSS_ORDINAL},
											{"sgd", LOSS_SGD},
											{NULL, 0}};

#define AT(field) offsetof(JobConfig, field)

static const Option options_known[] = {
	{"temperature", OPTION_FLOAT, AT(temperature), 1e-3, 1e3, NULL,
	 JOB_TAKES_TEMPERATURE},
	{"regularization", OPTION_FLOAT, AT(regularization), 1e-9, 1e6, NULL,
	 JOB_TAKES_RIDGE},
	{"alpha0", OPTION_FLOAT, AT(alpha0), 1e-9, 1e6, NULL, JOB_TAKES_ALPHA0},
	{"min_rating", OPTION_FLOAT, AT(min_rating), -1e30, 1e30, NULL,
	 JOB_TAKES_CLAMP},
	{"max_rating", OPTION_FLOAT, AT(max_rating), -1e30, 1e30, NULL,
	 JOB_TAKES_CLAMP},
	{"max_seconds", OPTION_DOUBLE, AT(max_seconds), 0, 1e9, NULL},
	{"negatives", OPTION_INT, AT(negatives), 0, 1 << 20, NULL,
	 JOB_TAKES_NEGATIVES},
	{"hard_negatives", OPTION_INT, AT(hard_negatives), 0, 1 << 20, NULL,
	 JOB_TAKES_HARD},
	{"cross_layers", OPTION_INT, AT(cross_layers), 0, JOB_MAX_CROSS, NULL,
	 JOB_TAKES_CROSS},
	{"history", OPTION_INT, AT(history), 0, JOB_MAX_HISTORY, NULL},
	{"patience", OPTION_INT, AT(patience), 0, 1000000, NULL,
	 JOB_TAKES_PATIENCE},
	{"logq", OPTION_SWITCH, AT(logq), 0, 0, NULL, JOB_TAKES_LOGQ},
	{"remove_accidental", OPTION_SWITCH, AT(accidental), 0, 0, NULL,
	 JOB_TAKES_ACCIDENTAL},
	{"normalize", OPTION_SWITCH, AT(normalize), 0, 0, NULL,
	 JOB_TAKES_NORMALIZE},
	{"refit", OPTION_SWITCH, AT(refit), 0, 0, NULL, JOB_TAKES_REFIT},
	{"implicit", OPTION_SWITCH, AT(implicit), 0, 0, NULL, JOB_TAKES_IMPLICIT},
	{"optimizer", OPTION_WORD, AT(optimizer), 0, 0, optimizers,
	 JOB_TAKES_OPTIMIZER},
	{"loss", OPTION_WORD, AT(loss), 0, 0, losses},
	{"ranking_loss", OPTION_WORD, AT(ranking_loss), 0, 0, ranking_losses},
};

/* the same ranges as in train_args.c */
static const Option arguments_known[] = {
	{"dim", OPTION_INT, AT(dim), 1, 15999, NULL},
	{"epochs", OPTION_INT, AT(epochs), 1, 1000000, NULL},
	{"batch_size", OPTION_INT, AT(batch_size), 1, 1 << 20, NULL,
	 JOB_TAKES_BATCH},
	{"learning_rate", OPTION_FLOAT, AT(learning_rate), 1e-12, 1000, NULL,
	 JOB_TAKES_RATE},
};

/* edit distance of two short words */
static int
distance(const char *a, const char *b)
{
	int row[65];
	int n = (int) Min(strlen(b), lengthof(row) - 1);

	for (int j = 0; j <= n; j++)
		row[j] = j;
	for (int i = 0; a[i] != '\0' && i < 64; i++)
	{
		int diagonal = row[0];

		row[0] = i + 1;
		for (int j = 0; j < n; j++)
		{
			int change = diagonal + (a[i] != b[j]);

			diagonal = row[j + 1];
			row[j + 1] = Min(change, Min(row[j], row[j + 1]) + 1);
		}
	}
	return row[n];
}

/* the nearest one, or all of them where none is near */
char *
train_hint(const char *word, const char *const *known, int n)
{
	const char *best = NULL;
	int least = (int) Min(strlen(word), 64) / 2;
	StringInfoData list;

	for (int i = 0; i < n; i++)
	{
		int d = distance(word, known[i]);

		if (d < least || (d == least && best == NULL))
		{
			least = d;
			best = known[i];
		}
	}
	/* of few all are told: any two short words are near */
	if (best != NULL && n > 3)
		return psprintf("Did you mean \"%s\"?", best);
	initStringInfo(&list);
	for (int i = 0; i < n; i++)
		appendStringInfo(&list, "%s%s", i > 0 ? ", " : "", known[i]);
	return psprintf("Known ones: %s.", list.data);
}

static bool
is_argument(const char *key)
{
	static const char *const names[] = {
		"ratings",    "model",         "user_col",      "item_col",
		"rating_col", "time_col",      "stages",        "users",
		"items",      "user_features", "item_features", "context_features",
		"positive",   "preset",        "dim",           "hidden",
		"epochs",     "batch_size",    "learning_rate", "test_fraction",
		"split",      "seed",          "workers",       "wait"};

	for (int i = 0; i < (int) lengthof(names); i++)
		if (strcmp(names[i], key) == 0)
			return true;
	return false;
}

static void
unknown_key(const char *key)
{
	const char *known[lengthof(options_known) + lengthof(arguments_known) + 1];
	int n = 0;

	for (int i = 0; i < (int) lengthof(options_known); i++)
		known[n++] = options_known[i].key;
	for (int i = 0; i < (int) lengthof(arguments_known); i++)
		known[n++] = arguments_known[i].key;
	known[n++] = "hidden";
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown training option \"%s\"", key),
			 is_argument(key)
				 ? errhint("It is an argument of recsys_train, not an option.")
				 : errhint("%s", train_hint(key, known, n))));
}

static const Option *
find_option(const char *key)
{
	for (int i = 0; i < (int) lengthof(options_known); i++)
		if (strcmp(options_known[i].key, key) == 0)
			return &options_known[i];
	for (int i = 0; i < (int) lengthof(arguments_known); i++)
		if (strcmp(arguments_known[i].key, key) == 0)
			return &arguments_known[i];
	unknown_key(key);
	return NULL;
}

static void
wrong_value(const Option *o, const char *expected)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("training option \"%s\" must be %s", o->key, expected)));
}

static void
set_number(const Option *o, const JsonbValue *v, JobConfig *config)
{
	char *at = (char *) config + o->offset;
	double x;

	if (v->type != jbvNumeric)
		wrong_value(o, "a number");
	x = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow,
										   NumericGetDatum(v->val.numeric)));
	/* written so that NaN is refused too */
	if (!(x >= o->min && x <= o->max))
		wrong_value(o, psprintf("between %.10g and %.10g", o->min, o->max));
	if (o->kind == OPTION_FLOAT)
		*(float *) at = (float) x;
	else if (o->kind == OPTION_DOUBLE)
		*(double *) at = x;
	else if (x != floor(x))
		wrong_value(o, "a whole number");
	else
		*(int *) at = (int) x;
}

static void
set_switch(const Option *o, const JsonbValue *v, JobConfig *config)
{
	if (v->type != jbvBool)
		wrong_value(o, "true or false");
	*(int *) ((char *) config + o->offset) = v->val.boolean ? 1 : 0;
}

static void
set_word(const Option *o, const JsonbValue *v, JobConfig *config)
{
	StringInfoData list;

	initStringInfo(&list);
	for (const OptionWord *w = o->words; w->word != NULL; w++)
	{
		if (v->type == jbvString &&
			v->val.string.len == (int) strlen(w->word) &&
			strncmp(v->val.string.val, w->word, strlen(w->word)) == 0)
		{
			*(int *) ((char *) config + o->offset) = w->value;
			return;
		}
		appendStringInfo(&list, "%s%s", list.len ? ", " : "one of ", w->word);
	}
	wrong_value(o, list.data);
}

static void
set_option(const Option *o, const JsonbValue *v, JobConfig *config)
{

	if (v->type == jbvNull)
		return;
	switch (o->kind)
	{
		case OPTION_SWITCH:
			set_switch(o, v, config);
			break;
		case OPTION_WORD:
			set_word(o, v, config);
			break;
		default:
			set_number(o, v, config);
	}
}

void
train_option_set(const char *key, const JsonbValue *v, JobConfig *config)
{
	set_option(find_option(key), v, config);
}

void
train_options_apply(Jsonb *options, JobConfig *config)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue v;
	char *key = NULL;

	if (!JB_ROOT_IS_OBJECT(options))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("options must be a JSON object")));
	it = JsonbIteratorInit(&options->root);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			key = pnstrdup(v.val.string.val, v.val.string.len);
		else if (token == WJB_VALUE)
			train_config_set(key, &v, config);
	}
}

static const char *
word_of(const OptionWord *words, int value)
{
	for (; words->word != NULL; words++)
		if (words->value == value)
			return words->word;
	return "auto";
}

static bool
is_set(const Option *o, const JobConfig *config)
{
	const char *at = (const char *) config + o->offset;

	switch (o->kind)
	{
		case OPTION_FLOAT:
			return !isnan(*(const float *) at);
		case OPTION_DOUBLE:
			return *(const double *) at > 0;
		case OPTION_INT:
			return *(const int *) at >= o->min;
		case OPTION_SWITCH:
			return *(const int *) at >= 0;
		case OPTION_WORD:
			return *(const int *) at != 0;
	}
	return false;
}

static void
append_option(StringInfo json, const Option *o, const JobConfig *config)
{
	const char *at = (const char *) config + o->offset;

	if (!is_set(o, config))
		return;
	switch (o->kind)
	{
		case OPTION_FLOAT:
			pg_json_number(json, o->key, *(const float *) at);
			break;
		case OPTION_DOUBLE:
			pg_json_number(json, o->key, *(const double *) at);
			break;
		case OPTION_INT:
			pg_json_number(json, o->key, *(const int *) at);
			break;
		case OPTION_SWITCH:
			pg_json_bool(json, o->key, *(const int *) at == 1);
			break;
		case OPTION_WORD:
			pg_json_string(json, o->key, word_of(o->words, *(const int *) at));
			break;
	}
}

void
train_options_json(StringInfo json, const JobConfig *config)
{
	for (int i = 0; i < (int) lengthof(arguments_known); i++)
		append_option(json, &arguments_known[i], config);
	for (int i = 0; i < (int) lengthof(options_known); i++)
		append_option(json, &options_known[i], config);
}

static void
list_unused(StringInfo list, const Option *o, const JobConfig *config,
			int takes)
{
	if (o->takes != 0 && (o->takes & takes) == 0 && is_set(o, config))
		appendStringInfo(list, "%s%s", list->len > 0 ? ", " : "", o->key);
}

char *
train_options_unused(const JobConfig *config, int takes)
{
	StringInfoData list;

	initStringInfo(&list);
	if (config->n_hidden > 0 && (takes & JOB_TAKES_HIDDEN) == 0)
		appendStringInfoString(&list, "hidden");
	for (int i = 0; i < (int) lengthof(arguments_known); i++)
		list_unused(&list, &arguments_known[i], config, takes);
	for (int i = 0; i < (int) lengthof(options_known); i++)
		list_unused(&list, &options_known[i], config, takes);
	return list.len > 0 ? list.data : NULL;
}
