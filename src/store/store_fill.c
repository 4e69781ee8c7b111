/*
 * store_fill.c
 *		Rows of a model's tables, written in bulk.
 *
 * Columns are found by name, since users may add columns of their own.
 */
#include "postgres.h"

#include <math.h>

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "store/store_catalog.h"
#include "store/store_insert.h"
#include "type/vector.h"

static void
set_value(TupleTableSlot *slot, AttrNumber attno, Datum value)
{
	slot->tts_values[attno - 1] = value;
	slot->tts_isnull[attno - 1] = false;
}

/*
 * Users may have altered columns: what is written must be of their types.
 * InvalidOid: of any.
 */
static AttrNumber
column_of(Oid relation, const char *name, Oid type)
{
	AttrNumber attno = get_attnum(relation, name);
	Oid found;

	if (attno == InvalidAttrNumber)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
						errmsg("column \"%s\" of relation \"%s\" does not "
							   "exist",
							   name, get_rel_name(relation)),
						errhint("Drop the model with recsys_drop and train "
								"it again.")));
	found = getBaseType(get_atttype(relation, attno));
	if (OidIsValid(type) && found != type)
		ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
						errmsg("column \"%s\" of relation \"%s\" is of type "
							   "%s, not %s",
							   name, get_rel_name(relation),
							   format_type_be(found), format_type_be(type)),
						errhint("Drop the model with recsys_drop and train "
								"it again.")));
	return attno;
}

static void
set_vector(TupleTableSlot *slot, AttrNumber attno, const float *x, int dim)
{
	Vector *v;

	if (x == NULL || dim == 0)
		return;
	v = vector_new(dim);
	memcpy(v->x, x, (size_t) dim * sizeof(float));
	for (int i = 0; i < dim; i++)
		if (!isfinite(v->x[i]))
			ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
							errmsg("training diverged"),
							errdetail("A vector of the model is not "
									  "finite."),
							errhint("Try a smaller learning_rate.")));
	set_value(slot, attno, PointerGetDatum(v));
}

void
store_check_columns(const StoreModel *model)
{
	Oid vector = store_vector_type();
	Oid side[2] = {model->user_table, model->item_table};

	for (int k = 0; k < 2; k++)
	{
		column_of(side[k], k == 0 ? "user_id" : "item_id", InvalidOid);
		column_of(side[k], "embedding", vector);
		column_of(side[k], "ranking", vector);
		column_of(side[k], "interactions", INT4OID);
	}
	column_of(model->param_table, "name", TEXTOID);
	column_of(model->param_table, "shape", INT4ARRAYOID);
	column_of(model->param_table, "value", FLOAT4ARRAYOID);
}

/* one of the two tables of vectors */
typedef struct Side
{
	Oid table;
	const char *key_name;
	Oid key_type;
	int32 n;
	StoreKey key;
	const void *arg;
	const float *vector;  /* (n, dim) */
	const float *ranking; /* (n, ranking_dim) */
	const int32 *count;   /* (n) */
	int dim;
	int ranking_dim;
} Side;

static void
fill_side(const Side *side)
{
	StoreInsert fill;
	Oid vector = store_vector_type();
	AttrNumber key = column_of(side->table, side->key_name, side->key_type);
	AttrNumber embedding = column_of(side->table, "embedding", vector);
	AttrNumber ranking = column_of(side->table, "ranking", vector);
	AttrNumber count = column_of(side->table, "interactions", INT4OID);

	store_insert_begin(&fill, side->table);
	for (int32 i = 0; i < side->n; i++)
	{
		TupleTableSlot *slot = store_insert_row(&fill);
		MemoryContext old = MemoryContextSwitchTo(fill.context);
		size_t row = (size_t) i;

		set_value(slot, key, side->key(side->arg, i));
		set_vector(slot, embedding,
				   side->vector ? side->vector + row * side->dim : NULL,
				   side->dim);
		set_vector(slot, ranking,
				   side->ranking ? side->ranking + row * side->ranking_dim
								 : NULL,
				   side->ranking_dim);
		set_value(slot, count, Int32GetDatum(side->count ? side->count[i] : 0));
		MemoryContextSwitchTo(old);
		store_insert_put(&fill, slot);
	}
	store_insert_end(&fill);
}

void
store_copy_side(Oid table, Oid from, const char *key)
{
	Oid type[4] = {getBaseType(get_atttype(from, get_attnum(from, key))),
				   store_vector_type(), store_vector_type(), INT4OID};
	const char *name[4] = {key, "embedding", "ranking", "interactions"};
	AttrNumber to_att[4], from_att[4];
	Relation rel = table_open(from, AccessShareLock);
	TupleTableSlot *source = table_slot_create(rel, NULL);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	TableScanDesc scan = table_beginscan(rel, snapshot, 0, NULL);
	StoreInsert fill;

	for (int i = 0; i < 4; i++)
	{
		from_att[i] = column_of(from, name[i], type[i]);
		to_att[i] = column_of(table, name[i], type[i]);
	}
	store_insert_begin(&fill, table);
	while (table_scan_getnextslot(scan, ForwardScanDirection, source))
	{
		TupleTableSlot *slot = store_insert_row(&fill);
		MemoryContext old = MemoryContextSwitchTo(fill.context);

		for (int i = 0; i < 4; i++)
		{
			Form_pg_attribute att =
				TupleDescAttr(RelationGetDescr(rel), from_att[i] - 1);
			bool isnull;
			Datum value = slot_getattr(source, from_att[i], &isnull);

			if (!isnull)
				set_value(slot, to_att[i],
						  datumCopy(value, att->attbyval, att->attlen));
		}
		MemoryContextSwitchTo(old);
		store_insert_put(&fill, slot);
	}
	store_insert_end(&fill);
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	ExecDropSingleTupleTableSlot(source);
	table_close(rel, NoLock);
	CommandCounterIncrement();
}

static Datum
int_array(const int *values, int n)
{
	Datum *d = palloc(sizeof(Datum) * (size_t) Max(n, 1));

	for (int i = 0; i < n; i++)
		d[i] = Int32GetDatum(values[i]);
	return PointerGetDatum(construct_array(d, n, INT4OID, 4, true, 'i'));
}

static Datum
float_array(const float *values, int64 n)
{
	Size bytes = ARR_OVERHEAD_NONULLS(1) + (Size) n * sizeof(float);
	ArrayType *array;

	if (n == 0)
		return PointerGetDatum(construct_empty_array(FLOAT4OID));
	if (n > (int64) ((MaxAllocSize - 64) / sizeof(float)))
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("a parameter of the model is too large")));
	array = palloc0(bytes);
	SET_VARSIZE(array, bytes);
	array->ndim = 1;
	array->elemtype = FLOAT4OID;
	ARR_DIMS(array)[0] = (int) n;
	ARR_LBOUND(array)[0] = 1;
	memcpy(ARR_DATA_PTR(array), values, (Size) n * sizeof(float));
	return PointerGetDatum(array);
}

static float *
zeros(Size n)
{
	return MemoryContextAllocExtended(CurrentMemoryContext, n * sizeof(float),
									  MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
}

/* the param table while it is filled */
typedef struct Params
{
	StoreInsert fill;
	AttrNumber name;
	AttrNumber shape;
	AttrNumber value;
} Params;

static void
put_param(Params *p, const char *name, int ndim, const int *shape,
		  const float *value)
{
	TupleTableSlot *slot = store_insert_row(&p->fill);
	MemoryContext old = MemoryContextSwitchTo(p->fill.context);
	int64 n = 1;

	for (int i = 0; i < ndim; i++)
		n *= shape[i];
	set_value(slot, p->name, CStringGetTextDatum(name));
	set_value(slot, p->shape, int_array(shape, ndim));
	set_value(slot, p->value, float_array(value, n));
	MemoryContextSwitchTo(old);
	store_insert_put(&p->fill, slot);
}

/* what was learnt of one side's features: rows of W floats, by column */
typedef struct FeatureRows
{
	const char *side;
	const float *embedding; /* (columns + 1, dim), or NULL */
	const float *ranking;   /* (columns + 1, ranking_dim), or NULL */
	int dim;
	int ranking_dim;
	const float *second; /* (columns, second_dim), or NULL: the context's */
	int second_dim;
	bool added; /* rows are added to vectors: nobody has a row of their own */
} FeatureRows;

static float *
put_part(const float *rows, int dim, int32 col, float *to)
{
	for (int k = 0; k < dim; k++)
		*to++ = rows != NULL ? rows[(Size) col * (Size) dim + (Size) k] : 0;
	return to;
}

static float *
put_row(const FeatureRows *rows, int32 col, float *to)
{
	to = put_part(rows->embedding, rows->dim, col, to);
	to = put_part(rows->ranking, rows->ranking_dim, col, to);
	return put_part(rows->second, rows->second_dim, col, to);
}

static int
row_width(const FeatureRows *rows)
{
	return rows->dim + rows->ranking_dim + rows->second_dim;
}

/* the number that stands before row i of a feature's array */
static float
leading(const StoreFeature *f, int i)
{
	switch (f->kind)
	{
		case FEATURE_CATEGORY:
		case FEATURE_WORDS:
			return f->delimiter;
		case FEATURE_VECTOR:
			return f->scale;
		default:
			return i > 0 && i <= f->n_bounds ? f->bound[i - 1] : 0;
	}
}

static void
put_feature(Params *p, const FeatureRows *rows, const StoreFeature *f)
{
	int width = row_width(rows);
	bool labels = f->kind == FEATURE_CATEGORY || f->kind == FEATURE_WORDS;
	int n = labels ? 1 : f->n_cols;
	int shape[2] = {n, 1 + width};
	float *value = zeros((Size) n * (Size) shape[1]);
	float *at = value;

	for (int i = 0; i < n; i++)
	{
		*at++ = leading(f, i);
		if (!labels)
			at = put_row(rows, f->first + i, at);
		else if (f->n_cols > f->n_labels)
			at = put_row(rows, f->first + f->n_labels, at);
	}
	put_param(p,
			  psprintf(STORE_FEATURE_PREFIX "%s/%s/%s", rows->side,
					   feature_kind_names[f->kind], quote_identifier(f->name)),
			  2, shape, value);
	for (int i = 0; i < f->n_labels; i++)
	{
		put_row(rows, f->first + i, value);
		put_param(p,
				  psprintf(STORE_VALUE_PREFIX "%s/%s/%s", rows->side,
						   quote_identifier(f->name), f->label[i]),
				  1, &width, value);
	}
	pfree(value);
}

static void
put_features(Params *p, const FeatureRows *rows, const StoreFeature *f, int n)
{
	int shape[2] = {1, 1 + row_width(rows)};
	float *value = zeros((Size) shape[1]);

	if (rows->embedding == NULL && rows->ranking == NULL)
		return;
	value[0] = (float) ((rows->embedding != NULL ? STORE_KNOWS_EMBEDDING : 0) |
						(rows->ranking != NULL ? STORE_KNOWS_RANKING : 0));
	if (!rows->added)
		put_row(rows, n > 0 ? f[n - 1].first + f[n - 1].n_cols : 0, value + 1);
	put_param(p, psprintf(STORE_FEATURE_PREFIX "%s", rows->side), 2, shape,
			  value);
	pfree(value);
	for (int i = 0; i < n; i++)
		put_feature(p, rows, &f[i]);
}

static void
fill_params(Oid table, const StorePublish *publish)
{
	const JobShared *job = publish->job;
	const JobOutput *out = &job->output;
	FeatureRows users = {.side = "user",
						 .embedding = job_at(job, out->user_map),
						 .ranking = job_at(job, out->user_ranking_map),
						 .dim = out->dim,
						 .ranking_dim = out->user_ranking_dim};
	FeatureRows items = {.side = "item",
						 .embedding = job_at(job, out->item_map),
						 .ranking = job_at(job, out->item_ranking_map),
						 .dim = out->dim,
						 .ranking_dim = out->item_ranking_dim};
	FeatureRows context = {.side = "context",
						   .embedding = job_at(job, out->context_map),
						   .ranking = job_at(job, out->context_user_map),
						   .dim = out->dim,
						   .ranking_dim = out->user_ranking_dim,
						   .second = job_at(job, out->context_item_map),
						   .second_dim = out->item_ranking_dim,
						   .added = true};
	Params p;

	p.name = column_of(table, "name", TEXTOID);
	p.shape = column_of(table, "shape", INT4ARRAYOID);
	p.value = column_of(table, "value", FLOAT4ARRAYOID);
	store_insert_begin(&p.fill, table);
	for (int i = 0; i < out->n_params; i++)
		put_param(&p, out->params[i].name, out->params[i].ndim,
				  out->params[i].shape, job_at(job, out->params[i].data));
	put_features(&p, &users, publish->user_feature, publish->n_user_features);
	put_features(&p, &items, publish->item_feature, publish->n_item_features);
	put_features(&p, &context, publish->context_feature,
				 publish->n_context_features);
	store_insert_end(&p.fill);
}

void
store_fill_tables(const StorePublish *p, const StoreModel *model)
{
	const JobShared *job = p->job;
	const JobOutput *out = &job->output;
	Side users = {.table = model->user_table,
				  .key_name = "user_id",
				  .key_type = p->user_type,
				  .n = job->input.n_users,
				  .key = p->user_key,
				  .arg = p->user_arg,
				  .vector = job_at(job, out->user_vector),
				  .ranking = job_at(job, out->user_ranking),
				  .count = job_at(job, out->user_count),
				  .dim = out->dim,
				  .ranking_dim = out->user_ranking_dim};
	Side items = {.table = model->item_table,
				  .key_name = "item_id",
				  .key_type = p->item_type,
				  .n = job->input.n_items,
				  .key = p->item_key,
				  .arg = p->item_arg,
				  .vector = job_at(job, out->item_vector),
				  .ranking = job_at(job, out->item_ranking),
				  .count = job_at(job, out->item_count),
				  .dim = out->dim,
				  .ranking_dim = out->item_ranking_dim};

	fill_side(&users);
	fill_side(&items);
	fill_params(model->param_table, p);
}
