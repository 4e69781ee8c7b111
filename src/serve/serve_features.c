/*
 * serve_features.c
 *		Vectors of users and items from their features alone.
 *
 * A model that was trained with a table of features keeps what it learnt of
 * each encoded column (store.h has the form). The vector of somebody without
 * interactions is the sum over his features, which come as a JSON object:
 * given by the caller, or made of his row in the table of features as it is
 * now. Encoding is that of training (model/feature_code.h).
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "model/tower.h"
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

/* ---- what the model knows ---- */

static void
refuse(const ServeFeatures *f, const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("parameter \"%s\" in table \"%s\" does not fit its model",
					name, RelationGetRelationName(f->table.rel)),
			 errhint("Train the model again with recsys_train.")));
}

/* a quoted identifier as it was */
static char *
unquote(const char *text)
{
	char *name = palloc(strlen(text) + 1);
	char *to = name;

	if (*text != '"')
		return strcpy(name, text);
	for (const char *p = text + 1; *p != '\0' && !(*p == '"' && p[1] == '\0');
		 p++)
	{
		*to++ = *p;
		if (*p == '"' && p[1] == '"')
			p++;
	}
	*to = '\0';
	return name;
}

/* "feature/user/KIND/COLUMN" */
static void
read_feature(ServeFeatures *f, const PredictParam *p, ServeFeature *to)
{
	const char *at = p->name + strlen(STORE_FEATURE_PREFIX) + strlen(f->side);
	const char *slash = *at == '/' ? strchr(at + 1, '/') : NULL;
	int kind = 0;

	if (slash == NULL || p->ndim != 2 || p->shape[0] < 1 ||
		p->shape[1] != f->width + 1)
		refuse(f, p->name);
	at++;
	while (kind < FEATURE_KINDS &&
		   (strlen(feature_kind_names[kind]) != (size_t) (slash - at) ||
			strncmp(feature_kind_names[kind], at, (size_t) (slash - at)) != 0))
		kind++;
	to->kind = (FeatureKind) kind;
	to->name = unquote(slash + 1);
	to->n = p->shape[0];
	to->rows = p->data;
	to->delimiter = 0;
	if (kind == FEATURE_CATEGORY && p->data[0] > 0 && p->data[0] < 128)
		to->delimiter = (char) p->data[0];
	if (kind == FEATURE_KINDS ||
		((kind == FEATURE_TIMESTAMP || kind == FEATURE_TIMESTAMPTZ) &&
		 to->n <= FEATURE_SEASONS))
		refuse(f, p->name);
}

bool
serve_features_open(ServeFeatures *f, const StoreModel *model, bool item)
{
	ServeParams *params;
	int prefix = (int) strlen(STORE_FEATURE_PREFIX);

	memset(f, 0, sizeof(*f));
	f->side = item ? "item" : "user";
	f->dim = model->dim;
	serve_table_open_params(&f->table, model);
	params = serve_params_features(&f->table, f->side);
	f->feature = palloc(sizeof(ServeFeature) * (Size) Max(params->n, 1));
	for (int i = 0; i < params->n; i++)
	{
		const PredictParam *p = &params->params[i];

		if (strcmp(p->name + prefix, f->side) != 0)
			continue;
		if (p->ndim != 2 || p->shape[0] != 1 || p->shape[1] <= f->dim)
			refuse(f, p->name);
		f->width = p->shape[1] - 1;
		f->base = p->data + 1;
		f->embedding = ((int) p->data[0] & STORE_KNOWS_EMBEDDING) != 0;
		f->ranking = ((int) p->data[0] & STORE_KNOWS_RANKING) != 0;
	}
	for (int i = 0; i < params->n && f->base != NULL; i++)
		if (params->params[i].data + 1 != f->base)
			read_feature(f, &params->params[i], &f->feature[f->n++]);
	if (f->base == NULL)
		serve_table_close(&f->table);
	return f->base != NULL;
}

void
serve_features_close(ServeFeatures *f)
{
	serve_table_close(&f->table);
}

/* ---- values ---- */

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
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("feature \"%s\" must be %s", f->name, wanted)));
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
time_of(const ServeFeature *f, const char *text)
{
	Timestamp t = DatumGetTimestamp(
		f->kind == FEATURE_TIMESTAMP
			? DirectFunctionCall3(timestamp_in, CStringGetDatum(text),
								  ObjectIdGetDatum(InvalidOid),
								  Int32GetDatum(-1))
			: DirectFunctionCall3(timestamptz_in, CStringGetDatum(text),
								  ObjectIdGetDatum(InvalidOid),
								  Int32GetDatum(-1)));

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
	return DatumGetFloat8(
		DirectFunctionCall1(float8in, CStringGetDatum(scalar_text(v))));
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
			refuse(p->f, q->name);
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

/* the hidden layers of a tower, where the model has them */
static void
apply_layers(ServeFeatures *f, float *x)
{
	ServeParams *params = serve_cache_params(&f->table);
	float *scratch = palloc(sizeof(float) *
							tower_scratch(params->params, params->n, f->dim));

	if (tower_apply(params->params, params->n, f->side, f->dim, x, scratch) !=
		RS_OK)
		refuse(f, psprintf("%s_kernel_0", f->side));
}

void
serve_features_sum(ServeFeatures *f, Jsonb *profile, bool strict, float *sum)
{
	Profile p = {f, sum, NIL};
	JsonbIterator *it = JsonbIteratorInit(&profile->root);
	JsonbValue key;
	JsonbValue value;
	JsonbIteratorToken token = JsonbIteratorNext(&it, &key, false);

	if (token != WJB_BEGIN_OBJECT)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("features must be a JSON object")));
	memcpy(sum, f->base, sizeof(float) * (Size) f->width);
	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
	{
		const ServeFeature *feature =
			find_feature(f, key.val.string.val, key.val.string.len);

		JsonbIteratorNext(&it, &value, true);
		if (feature != NULL)
			add_feature(&p, feature, &value);
		else if (strict)
			refuse_name(f, key.val.string.val, key.val.string.len);
	}
	if (p.labels != NIL)
		add_labels(&p);
	if (f->embedding)
		apply_layers(f, sum);
	/* a table that anybody wrote to: never a NaN */
	for (int k = 0; k < f->width; k++)
		if (!isfinite(sum[k]))
			sum[k] = 0;
}

/* ---- the table of features ---- */

char *
serve_features_object(const ServeFeatures *f, Oid table)
{
	StringInfoData sql;
	int n = 0;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "pg_catalog.jsonb_build_object(");
	for (int i = 0; i < f->n; i++)
		if (get_attnum(table, f->feature[i].name) > 0)
			appendStringInfo(&sql, "%s%s, %s", n++ > 0 ? ", " : "",
							 quote_literal_cstr(f->feature[i].name),
							 quote_identifier(f->feature[i].name));
	appendStringInfoChar(&sql, ')');
	return sql.data;
}

typedef struct Found
{
	MemoryContext context;
	Jsonb *object;
} Found;

static bool
keep_object(TupleTableSlot *slot, void *arg)
{
	Found *found = arg;
	bool isnull;
	Datum datum = slot_getattr(slot, 1, &isnull);
	MemoryContext old = MemoryContextSwitchTo(found->context);

	found->object = isnull ? NULL : DatumGetJsonbPCopy(datum);
	MemoryContextSwitchTo(old);
	return false;
}

static Jsonb *
read_object(const ServeFeatures *f, Oid table, const char *key_name, Oid type,
			Datum key)
{
	Found found = {CurrentMemoryContext, NULL};

	serve_query(psprintf("SELECT %s FROM %s WHERE %s OPERATOR(pg_catalog.=) "
						 "$1 LIMIT 1",
						 serve_features_object(f, table),
						 serve_table_name(table), quote_identifier(key_name)),
				1, &type, &key, keep_object, &found);
	return found.object;
}

Vector *
serve_features_vector(const StoreModel *model, bool item, Datum key,
					  bool ranking)
{
	Oid table = item ? model->item_features : model->user_features;
	const char *key_name;
	ServeFeatures f;
	ServeKeyType type;
	Jsonb *object;
	Vector *vector = NULL;
	float *sum;
	int dim;

	/* a table that the caller may not read is no better than none */
	if (!OidIsValid(table) || get_rel_name(table) == NULL ||
		pg_class_aclcheck(table, GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		return NULL;
	key_name = store_feature_key(
		table, NameStr(*(item ? &model->item_col : &model->user_col)), !item);
	if (key_name == NULL || !serve_features_open(&f, model, item))
		return NULL;
	dim =
		ranking ? (f.ranking ? f.width - f.dim : 0) : (f.embedding ? f.dim : 0);
	serve_key_init(&type, item ? model->item_type : model->user_type);
	object = dim > 0 ? read_object(&f, table, key_name, type.type,
								   serve_key_native(&type, key))
					 : NULL;
	if (object != NULL)
	{
		sum = palloc(sizeof(float) * (Size) f.width);
		serve_features_sum(&f, object, false, sum);
		vector = vector_new(dim);
		memcpy(vector->x, sum + (ranking ? f.dim : 0),
			   sizeof(float) * (Size) dim);
	}
	serve_features_close(&f);
	return vector;
}
