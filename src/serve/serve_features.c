/*
 * serve_features.c
 *		Vectors of users and items from their features alone.
 *
 * A model that was trained with a table of features keeps what it learnt of
 * each encoded column (store.h has the form). The vector of somebody without
 * interactions is the sum over his features, which come as a JSON object:
 * given by the caller, or made of his row in the table of features as it is
 * now (serve_encode.c).
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "model/tower.h"
#include "serve/serve.h"
#include "store/store_catalog.h"

/* ---- what the model knows ---- */

void
serve_features_refuse(const ServeFeatures *f, const char *name)
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
	size_t prefix = strlen(STORE_FEATURE_PREFIX) + strlen(f->side);
	const char *at = strlen(p->name) > prefix ? p->name + prefix : "";
	const char *slash = *at == '/' ? strchr(at + 1, '/') : NULL;
	int kind = 0;

	if (slash == NULL || p->ndim != 2 || p->shape[0] < 1 ||
		p->shape[1] != f->width + 1)
		serve_features_refuse(f, p->name);
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
		serve_features_refuse(f, p->name);
}

bool
serve_features_open(ServeFeatures *f, const StoreModel *model, const char *side)
{
	ServeParams *params;
	size_t prefix = strlen(STORE_FEATURE_PREFIX);

	memset(f, 0, sizeof(*f));
	f->side = side;
	f->dim = model->dim;
	serve_table_open_params(&f->table, model);
	params = serve_params_features(&f->table, f->side);
	f->feature = palloc(sizeof(ServeFeature) * (Size) Max(params->n, 1));
	for (int i = 0; i < params->n; i++)
	{
		const PredictParam *p = &params->params[i];

		if (strncmp(p->name, STORE_FEATURE_PREFIX, prefix) != 0 ||
			strcmp(p->name + prefix, f->side) != 0)
			continue;
		if (p->ndim != 2 || p->shape[0] != 1 || p->shape[1] <= f->dim)
			serve_features_refuse(f, p->name);
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

/* the hidden layers of a tower, where the model has them */
static void
apply_layers(ServeFeatures *f, float *x)
{
	ServeParams *params = serve_cache_params(&f->table);
	float *scratch = palloc(sizeof(float) *
							tower_scratch(params->params, params->n, f->dim));

	if (tower_apply(params->params, params->n, f->side, f->dim, x, scratch) !=
		RS_OK)
		serve_features_refuse(f, psprintf("%s_kernel_0", f->side));
}

static bool
ignore_name(void *arg, const char *name, int size)
{
	return true;
}

void
serve_features_sum(ServeFeatures *f, Jsonb *profile, bool strict, float *sum)
{
	serve_encode(f, profile, strict ? NULL : ignore_name, NULL, sum);
	if (f->embedding)
		apply_layers(f, sum);
	/* a table that anybody wrote to: never a NaN */
	for (int k = 0; k < f->width; k++)
		if (!isfinite(sum[k]))
			sum[k] = 0;
}

/* ---- the table of features ---- */

const char *
serve_features_missing(const ServeFeatures *f, Oid table)
{
	for (int i = 0; i < f->n; i++)
		if (get_attnum(table, f->feature[i].name) <= 0)
			return f->feature[i].name;
	return NULL;
}

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
		!pg_may_use_schema(get_rel_namespace(table), GetUserId()) ||
		pg_class_aclcheck(table, GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		return NULL;
	key_name = store_feature_key(
		table, NameStr(*(item ? &model->item_col : &model->user_col)), !item);
	if (key_name == NULL ||
		!store_is_key_type(
			getBaseType(get_atttype(table, get_attnum(table, key_name)))) ||
		!serve_features_open(&f, model, item ? "item" : "user"))
		return NULL;
	dim =
		ranking ? (f.ranking ? f.width - f.dim : 0) : (f.embedding ? f.dim : 0);
	serve_key_init(&type, item ? model->item_type : model->user_type);
	object = dim > 0 ? read_object(&f, table, key_name, type.type,
								   serve_key_native(&type, key))
					 : NULL;
	/* none of the columns that it knows is there any more: nothing is said */
	if (object != NULL && f.n > 0 && JB_ROOT_COUNT(object) == 0)
		object = NULL;
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
