/*
 * serve_profile.c
 *		recommend_for_profile and recsys_refresh: vectors from features, for
 *		an answer or for the model's tables.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "serve/serve.h"
#include "store/store_catalog.h"

PG_FUNCTION_INFO_V1(recsys_recommend_for_profile);
Datum
recsys_recommend_for_profile(PG_FUNCTION_ARGS)
{
	MemoryContext call = AllocSetContextCreate(
		CurrentMemoryContext, "recsys profile", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old;
	ServeRows rows;
	StoreModel model;
	ServeFeatures features;
	ServeTable table;
	Vector *user;
	float *sum;
	int64 k;

	serve_rows_begin(&rows, fcinfo);
	old = MemoryContextSwitchTo(call);
	serve_refuse_null(fcinfo, 0, "features");
	k = serve_arg_k(fcinfo, 1);
	serve_arg_model(fcinfo, 2, &model);
	serve_check_retrieval(&model);
	if (!serve_features_open(&features, &model, "user") || !features.embedding)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("model \"%s\" knows no features of users",
						NameStr(model.name)),
				 errhint("Train it with users => 'a table of features'.")));
	sum = palloc(sizeof(float) * (Size) features.width);
	serve_features_sum(&features, PG_GETARG_JSONB_P(0), true, sum);
	serve_features_close(&features);
	user = vector_new(model.dim);
	memcpy(user->x, sum, sizeof(float) * (Size) model.dim);
	serve_table_open(&table, &model, true,
					 SERVE_EMBEDDING | SERVE_INTERACTIONS);
	if (k > 0)
		serve_put_top(&table, user, false, k, NULL, &rows, "features");
	serve_table_close(&table);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(call);
	return (Datum) 0;
}

/* ---- refresh ---- */

typedef struct Refresh
{
	const StoreModel *model;
	bool item;
	ServeFeatures features;
	ServeKeyType key;
	Oid source;
	const char *key_name;
	Oid target;
} Refresh;

/* what a number must be for the model to hold it as a key */
static const char *
key_range(const Refresh *r, const char *key)
{
	const char *least;
	const char *greatest;

	switch (r->key.type)
	{
		case INT2OID:
			least = "-32768";
			greatest = "32767";
			break;
		case INT4OID:
			least = "-2147483648";
			greatest = "2147483647";
			break;
		case INT8OID:
			least = "-9223372036854775808";
			greatest = "9223372036854775807";
			break;
		default:
			return "";
	}
	return psprintf(" AND %s OPERATOR(pg_catalog.>=) %s AND %s "
					"OPERATOR(pg_catalog.<=) %s",
					key, least, key, greatest);
}

/* keys of the table of features that the model does not have, with features */
static Portal
open_new_rows(const Refresh *r)
{
	char *key = psprintf("s.%s", quote_identifier(r->key_name));

	return SPI_cursor_open_with_args(
		NULL,
		psprintf("SELECT DISTINCT ON (%s) %s::%s, %s FROM %s s WHERE %s IS NOT "
				 "NULL AND NOT EXISTS (SELECT FROM %s m WHERE m.%s "
				 "OPERATOR(pg_catalog.=) %s)%s",
				 key, key, format_type_be_qualified(r->key.type),
				 serve_features_object(&r->features, r->source),
				 serve_table_name(r->source), key, serve_table_name(r->target),
				 r->item ? "item_id" : "user_id", key, key_range(r, key)),
		0, NULL, NULL, NULL, true, CURSOR_OPT_NO_SCROLL);
}

static SPIPlanPtr
prepare_insert(const Refresh *r)
{
	Oid vector = store_vector_type();
	Oid types[3] = {r->key.type, vector, vector};
	SPIPlanPtr plan = SPI_prepare(
		psprintf("INSERT INTO %s (%s, embedding, ranking, interactions) VALUES "
				 "($1, $2, $3, 0) ON CONFLICT DO NOTHING",
				 serve_table_name(r->target), r->item ? "item_id" : "user_id"),
		3, types);

	if (plan == NULL)
		elog(ERROR, "could not prepare the insertion of new rows: %s",
			 SPI_result_code_string(SPI_result));
	return plan;
}

static Datum
part_vector(const float *x, int dim, char *isnull)
{
	Vector *v;

	*isnull = dim > 0 ? ' ' : 'n';
	if (dim <= 0)
		return (Datum) 0;
	v = vector_new(dim);
	memcpy(v->x, x, sizeof(float) * (Size) dim);
	return PointerGetDatum(v);
}

static int64
insert_row(Refresh *r, SPIPlanPtr plan, HeapTuple tuple, TupleDesc desc,
		   float *sum)
{
	int dim = r->features.dim;
	Datum values[3];
	char nulls[3];
	bool isnull;
	Datum raw = SPI_getbinval(tuple, desc, 1, &isnull);
	Datum object = SPI_getbinval(tuple, desc, 2, &isnull);

	serve_features_sum(&r->features, DatumGetJsonbP(object), false, sum);
	values[0] = serve_key_native(&r->key, serve_key_read(&r->key, raw));
	nulls[0] = ' ';
	values[1] = part_vector(sum, r->features.embedding ? dim : 0, &nulls[1]);
	values[2] = part_vector(sum + dim,
							r->features.ranking ? r->features.width - dim : 0,
							&nulls[2]);
	if (SPI_execute_plan(plan, values, nulls, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not insert a row into a model");
	return (int64) SPI_processed;
}

/* within SPI */
static int64
insert_new_rows(Refresh *r)
{
	float *sum = palloc(sizeof(float) * (Size) r->features.width);
	MemoryContext row = AllocSetContextCreate(
		CurrentMemoryContext, "recsys new row", ALLOCSET_DEFAULT_SIZES);
	SPIPlanPtr plan = prepare_insert(r);
	Portal portal = open_new_rows(r);
	int64 n = 0;

	for (;;)
	{
		SPITupleTable *batch;
		uint64 size;

		SPI_cursor_fetch(portal, true, 256);
		batch = SPI_tuptable;
		size = SPI_processed;
		for (uint64 i = 0; i < size; i++)
		{
			MemoryContext old = MemoryContextSwitchTo(row);

			CHECK_FOR_INTERRUPTS();
			n += insert_row(r, plan, batch->vals[i], batch->tupdesc, sum);
			MemoryContextSwitchTo(old);
			MemoryContextReset(row);
		}
		SPI_freetuptable(batch);
		if (size == 0)
			break;
	}
	SPI_cursor_close(portal);
	return n;
}

/* a side that was trained with a table of features, but has no use of it */
static int64
nothing_new(const StoreModel *model, bool item, const char *why)
{
	ereport(NOTICE, (errmsg("no %ss can join model \"%s\": %s",
							item ? "item" : "user", NameStr(model->name), why),
					 errhint("Train it again.")));
	return 0;
}

static int64
refresh_side(const StoreModel *model, bool item)
{
	Refresh r = {.model = model, .item = item};
	const char *missing;
	int64 n;

	r.source = item ? model->item_features : model->user_features;
	r.target = item ? model->item_table : model->user_table;
	if (!OidIsValid(r.source))
		return 0;
	if (get_rel_name(r.source) == NULL)
		return nothing_new(model, item,
						   "the table of their features was dropped");
	r.key_name = store_feature_key(
		r.source, NameStr(*(item ? &model->item_col : &model->user_col)),
		!item);
	if (r.key_name == NULL)
		return nothing_new(model, item,
						   "the table of their features has no key any more");
	if (!store_is_key_type(getBaseType(
			get_atttype(r.source, get_attnum(r.source, r.key_name)))))
		return nothing_new(model, item,
						   "the key of their features is of another type now");
	if (!serve_features_open(&r.features, model, item ? "item" : "user"))
		return nothing_new(model, item, "it learnt nothing of their features");
	missing = serve_features_missing(&r.features, r.source);
	if (missing != NULL)
	{
		serve_features_close(&r.features);
		return nothing_new(
			model, item,
			psprintf(
				"the table of their features has no column \"%s\" any more",
				missing));
	}
	serve_key_init(&r.key, item ? model->item_type : model->user_type);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	n = insert_new_rows(&r);
	SPI_finish();
	serve_features_close(&r.features);
	return n;
}

/* who may not insert must not make trainings wait either */
static void
check_insert(Oid table)
{
	if (pg_class_aclcheck(table, GetUserId(), ACL_INSERT) != ACLCHECK_OK &&
		pg_attribute_aclcheck_all(table, GetUserId(), ACL_INSERT,
								  ACLMASK_ANY) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, get_rel_name(table));
}

/*
 * A training that runs at the same time replaces all rows; the lock makes
 * one wait for the other.
 */
PG_FUNCTION_INFO_V1(recsys_refresh);
Datum
recsys_refresh(PG_FUNCTION_ARGS)
{
	StoreModel model;
	TupleDesc desc;
	Datum values[2];
	bool nulls[2] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "recsys_refresh must return a row");
	serve_arg_model(fcinfo, 0, &model);
	check_insert(model.user_table);
	check_insert(model.item_table);
	store_lock(model.schema, NameStr(model.name), false, true);
	/* the lock may have been waited for: see what is there now */
	PushActiveSnapshot(GetLatestSnapshot());
	serve_arg_model(fcinfo, 0, &model);
	if (!OidIsValid(model.user_features) && !OidIsValid(model.item_features))
		ereport(NOTICE,
				(errmsg("model \"%s\" has no tables of features to take "
						"users or items from",
						NameStr(model.name)),
				 errhint("Train it with users => 'table' or items => 'table', "
						 "which must not be temporary.")));
	values[0] = Int64GetDatum(refresh_side(&model, false));
	values[1] = Int64GetDatum(refresh_side(&model, true));
	PopActiveSnapshot();
	PG_RETURN_DATUM(HeapTupleGetDatum(
		heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
