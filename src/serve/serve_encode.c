/*
 * serve_encode.c
 *		Values of features, as a JSON object, encoded as in training.
 *
 * Given by the caller, or made of a row in a table of features. The rules are
 * those of model/feature_code.h, with the bounds, labels and factors that
 * the model keeps (store.h): what training read and what comes later become
 * the same.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "serve/serve.h"
#include "store/store_catalog.h"

/* a category to be looked up */
typedef struct Label
{
	char *name; /* of the parameter */
	float weight;
	const ServeFeature *feature;
	bool found;
} Label;

typedef struct Profile
{
	ServeFeatures *f;
	float *sum;
	List *labels; /* of Label */
} Profile;

static void
add_row(Profile *p, const ServeFeature *f, int row, float weight)
{
	const float *x = f->rows + (Size) row * ((Size) p->f->width + 1) + 1;

	for (int k = 0; k < p->f->width; k++)
		p->sum[k] += weight * x[k];
}

static void
refuse_value(const ServeFeature *f, const char *wanted)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					errmsg("feature \"%s\" must be %s", f->name, wanted),
					errhint("Give it as column \"%s\" had it in training, or "
							"leave it out when it is not known.",
							f->name)));
}

/*
 * The value of a text by the input function of its type. What that refuses
 * is refused with the feature's name.
 */
static Datum
input_value(const ServeFeature *f, PGFunction input, char *text,
			const char *wanted)
{
	MemoryContext context = CurrentMemoryContext;
	volatile Datum value = 0;

	PG_TRY();
	{
		value = DirectFunctionCall3(input, CStringGetDatum(text),
									ObjectIdGetDatum(InvalidOid),
									Int32GetDatum(-1));
	}
	PG_CATCH();
	{
		if (ERRCODE_TO_CATEGORY(geterrcode()) != ERRCODE_DATA_EXCEPTION)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
		refuse_value(f, wanted);
	}
	PG_END_TRY();
	return value;
}

/* as training wrote categories; NULL for what is no scalar */
static char *
scalar_text(const JsonbValue *v)
{
	switch (v->type)
	{
		case jbvString:
			return pnstrdup(v->val.string.val, (Size) v->val.string.len);
		case jbvBool:
			return pstrdup(v->val.boolean ? "true" : "false");
		case jbvNumeric:
			return DatumGetCString(DirectFunctionCall1(
				numeric_out,
				DirectFunctionCall1(numeric_trim_scale,
									NumericGetDatum(v->val.numeric))));
		default:
			return NULL;
	}
}

static void
add_label(Profile *p, const ServeFeature *f, const char *label, size_t size,
		  List **mine)
{
	Label *l = palloc0(sizeof(Label));

	l->feature = f;
	/* what is longer has no row of its own */
	l->name = size > FEATURE_MAX_LABEL
				  ? NULL
				  : psprintf(STORE_VALUE_PREFIX "%s/%s/%.*s", p->f->side,
							 quote_identifier(f->name), (int) size, label);
	*mine = lappend(*mine, l);
}

/* a text as it is, or its parts, or its words */
static void
add_text(Profile *p, const ServeFeature *f, const char *text, List **mine)
{
	const char *end =
		text + pg_mbcliplen(text, (int) strlen(text), FEATURE_MAX_TEXT);
	const char *part;
	char word[FEATURE_MAX_WORD];
	size_t size;

	if (f->kind == FEATURE_WORDS)
	{
		while (feature_next_word(&text, end, word, &size))
			add_label(p, f, word, size, mine);
	}
	else if (f->delimiter != 0)
	{
		while (feature_next_part(&text, end, f->delimiter, &part, &size))
			add_label(p, f, part, size, mine);
	}
	else
		add_label(p, f, text, (size_t) (end - text), mine);
}

/* calls back for each element of an array that is not null */
static List *
array_texts(const ServeFeature *f, const JsonbValue *v)
{
	List *texts = NIL;
	JsonbIterator *it;
	JsonbValue element;
	JsonbIteratorToken token;

	if (v->type != jbvBinary || !JsonContainerIsArray(v->val.binary.data))
		refuse_value(f, "a text, number or boolean, or an array of them");
	it = JsonbIteratorInit(v->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &element, true)) != WJB_DONE)
		if (token == WJB_ELEM && element.type != jbvNull)
		{
			char *text = scalar_text(&element);

			if (text == NULL)
				refuse_value(f,
							 "a text, number or boolean, or an array of them");
			texts = lappend(texts, text);
		}
	return texts;
}

static void
add_categories(Profile *p, const ServeFeature *f, const JsonbValue *v)
{
	char *text = scalar_text(v);
	List *mine = NIL;
	ListCell *cell;

	if (text != NULL)
		add_text(p, f, text, &mine);
	else
		foreach (cell, array_texts(f, v))
			add_label(p, f, lfirst(cell), strlen(lfirst(cell)), &mine);
	foreach (cell, mine)
		((Label *) lfirst(cell))->weight =
			(float) (1 / sqrt((double) list_length(mine)));
	p->labels = list_concat(p->labels, mine);
}

/* microseconds since 2000, as training read them */
static double
time_of(const ServeFeature *f, char *text)
{
	Timestamp t = DatumGetTimestamp(input_value(
		f, f->kind == FEATURE_TIMESTAMP ? timestamp_in : timestamptz_in, text,
		"a date or time as text"));

	if (TIMESTAMP_NOT_FINITE(t))
		return TIMESTAMP_IS_NOBEGIN(t) ? -INFINITY : INFINITY;
	return (double) t;
}

static double
number_of(const ServeFeature *f, const JsonbValue *v)
{
	if (v->type == jbvNumeric)
		return DatumGetFloat8(DirectFunctionCall1(
			numeric_float8_no_overflow, NumericGetDatum(v->val.numeric)));
	if (v->type != jbvString)
		refuse_value(f, "a number");
	return DatumGetFloat8(input_value(f, float8in, scalar_text(v), "a number"));
}

static void
add_number(Profile *p, const ServeFeature *f, const JsonbValue *v)
{
	bool is_time = f->kind != FEATURE_NUMBER;
	int buckets = is_time ? f->n - FEATURE_SEASONS : f->n;
	float *bounds = palloc(sizeof(float) * (Size) buckets);
	int32 seasons[3];
	double x;
	int n;

	if (is_time && v->type != jbvString)
		refuse_value(f, "a date or time as text");
	x = is_time ? time_of(f, scalar_text(v)) : number_of(f, v);
	if (isnan(x))
		return;
	for (int i = 1; i < buckets; i++)
		bounds[i - 1] = f->rows[(Size) i * ((Size) p->f->width + 1)];
	n = is_time ? feature_seasons(x, seasons) : 0;
	add_row(p, f, feature_bucket(bounds, buckets - 1, x),
			(float) (1 / sqrt(1.0 + n)));
	for (int i = 0; i < n; i++)
		add_row(p, f, buckets + seasons[i], (float) (1 / sqrt(1.0 + n)));
}

static int
array_numbers(const ServeFeature *f, const JsonbValue *v, float *x)
{
	JsonbIterator *it;
	JsonbValue element;
	JsonbIteratorToken token;
	int n = 0;

	if (v->type != jbvBinary || !JsonContainerIsArray(v->val.binary.data))
		refuse_value(f, "an array of numbers");
	it = JsonbIteratorInit(v->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &element, true)) != WJB_DONE)
	{
		if (token != WJB_ELEM)
			continue;
		if (n < f->n)
		{
			x[n] = element.type == jbvNull ? 0 : (float) number_of(f, &element);
			if (!isfinite(x[n]))
				x[n] = 0;
		}
		n++;
	}
	return n;
}

static void
add_vector(Profile *p, const ServeFeature *f, const JsonbValue *v)
{
	float *x = palloc0(sizeof(float) * (Size) f->n);
	int n;

	if (v->type == jbvString)
	{
		Oid input;
		Oid io_param;
		Vector *vector;

		getTypeInputInfo(store_vector_type(), &input, &io_param);
		vector = DatumGetVector(
			OidInputFunctionCall(input, scalar_text(v), io_param, -1));
		n = vector->dim;
		memcpy(x, vector->x, sizeof(float) * (Size) Min(n, f->n));
	}
	else
		n = array_numbers(f, v, x);
	if (n != f->n && n > 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("vectors of feature \"%s\" have %d dimensions, not %d",
						f->name, f->n, n)));
	for (int i = 0; i < n; i++)
		add_row(p, f, i, x[i] * f->rows[(Size) i * ((Size) p->f->width + 1)]);
}

static void
add_feature(Profile *p, const ServeFeature *f, const JsonbValue *v)
{
	if (v->type == jbvNull)
		return;
	switch (f->kind)
	{
		case FEATURE_CATEGORY:
		case FEATURE_WORDS:
			add_categories(p, f, v);
			break;
		case FEATURE_VECTOR:
			add_vector(p, f, v);
			break;
		default:
			add_number(p, f, v);
	}
}

/* categories with a row of their own by that, all others by the rest's */
static void
add_labels(Profile *p)
{
	char **names = palloc(sizeof(char *) * (Size) list_length(p->labels) + 1);
	ServeParams *params;
	ListCell *cell;
	int n = 0;

	foreach (cell, p->labels)
		if (((Label *) lfirst(cell))->name != NULL)
			names[n++] = ((Label *) lfirst(cell))->name;
	params = serve_params_named(&p->f->table, names, n);
	for (int i = 0; i < params->n; i++)
	{
		const PredictParam *q = &params->params[i];

		CHECK_FOR_INTERRUPTS();
		if (q->ndim != 1 || q->shape[0] != p->f->width)
			serve_features_refuse(p->f, q->name);
		foreach (cell, p->labels)
		{
			Label *l = lfirst(cell);

			if (l->name == NULL || strcmp(l->name, q->name) != 0)
				continue;
			l->found = true;
			for (int k = 0; k < p->f->width; k++)
				p->sum[k] += l->weight * q->data[k];
		}
	}
	foreach (cell, p->labels)
	{
		Label *l = lfirst(cell);

		if (!l->found)
			add_row(p, l->feature, 0, l->weight);
	}
}

static const ServeFeature *
find_feature(const ServeFeatures *f, const char *name, int size)
{
	for (int i = 0; i < f->n; i++)
		if (strlen(f->feature[i].name) == (size_t) size &&
			strncmp(f->feature[i].name, name, (size_t) size) == 0)
			return &f->feature[i];
	return NULL;
}

static void
refuse_name(const ServeFeatures *f, const char *name, int size)
{
	StringInfoData known;

	initStringInfo(&known);
	for (int i = 0; i < f->n; i++)
		appendStringInfo(&known, "%s\"%s\"", i > 0 ? ", " : "",
						 f->feature[i].name);
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("the model knows no %s feature \"%.*s\"", f->side,
						   size, name),
					f->n > 0 ? errhint("It knows %s.", known.data) : 0));
}

void
serve_encode(ServeFeatures *f, Jsonb *object, ServeUnknown unknown, void *arg,
			 float *sum)
{
	Profile p = {f, sum, NIL};
	JsonbIterator *it = JsonbIteratorInit(&object->root);
	JsonbValue key;
	JsonbValue value;
	JsonbIteratorToken token = JsonbIteratorNext(&it, &key, false);

	if (token != WJB_BEGIN_OBJECT)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s must be a JSON object",
							   strcmp(f->side, "context") == 0 ? "context"
															   : "features")));
	memcpy(sum, f->base, sizeof(float) * (Size) f->width);
	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
	{
		const ServeFeature *feature =
			find_feature(f, key.val.string.val, key.val.string.len);

		JsonbIteratorNext(&it, &value, true);
		if (feature != NULL)
			add_feature(&p, feature, &value);
		else if (unknown == NULL ||
				 !unknown(arg, key.val.string.val, key.val.string.len))
			refuse_name(f, key.val.string.val, key.val.string.len);
	}
	if (p.labels != NIL)
		add_labels(&p);
}
