/*
 * store_fill.c
 *		Rows of a model's tables, written in bulk.
 *
 * The way of COPY: batches of slots through table_multi_insert, then index
 * entries. Columns are found by name, since users may add columns of their
 * own; those get NULL.
 */
#include "postgres.h"

#include <math.h>

#include "access/genam.h"
#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "pg/pg_compat.h"
#include "store/store_catalog.h"
#include "type/vector.h"

#define BATCH 256

typedef struct Fill
{
	Relation rel;
	EState *estate;
	ResultRelInfo *result;
	BulkInsertState bulk;
	MemoryContext batch_context; /* values of one batch */
	TupleTableSlot *slot[BATCH];
	int n;
} Fill;

/*
 * The index that will be built anew gets no entries: it leaves the list,
 * since executors of 17 and later bear no gap in it.
 */
static void
skip_own_index(Fill *fill, Oid index)
{
	ResultRelInfo *result = fill->result;
	int kept = 0;

	for (int i = 0; i < result->ri_NumIndices; i++)
	{
		Relation desc = result->ri_IndexRelationDescs[i];

		if (RelationGetRelid(desc) == index)
		{
			index_close(desc, NoLock);
			continue;
		}
		result->ri_IndexRelationDescs[kept] = desc;
		result->ri_IndexRelationInfo[kept++] = result->ri_IndexRelationInfo[i];
	}
	result->ri_NumIndices = kept;
}

static void
fill_begin(Fill *fill, Oid relation)
{
	memset(fill, 0, sizeof(*fill));
	fill->rel = table_open(relation, RowExclusiveLock);
	fill->estate = CreateExecutorState();
	fill->result = makeNode(ResultRelInfo);
	InitResultRelInfo(fill->result, fill->rel, 0, NULL, 0);
	ExecOpenIndices(fill->result, false);
	skip_own_index(fill, store_own_index(relation));
	fill->bulk = GetBulkInsertState();
	fill->batch_context = AllocSetContextCreate(
		CurrentMemoryContext, "recsys batch", ALLOCSET_DEFAULT_SIZES);
	for (int i = 0; i < BATCH; i++)
		fill->slot[i] = table_slot_create(fill->rel, NULL);
}

static void
fill_flush(Fill *fill)
{
	MemoryContext old;

	if (fill->n == 0)
		return;
	CHECK_FOR_INTERRUPTS();
	old = MemoryContextSwitchTo(fill->batch_context);
	table_multi_insert(fill->rel, fill->slot, fill->n,
					   GetCurrentCommandId(true), 0, fill->bulk);
	MemoryContextSwitchTo(old);
	for (int i = 0; i < fill->n; i++)
	{
		if (fill->result->ri_NumIndices > 0)
			list_free(pg_insert_index_tuples(fill->result, fill->slot[i],
											 fill->estate));
		ExecClearTuple(fill->slot[i]);
	}
	ResetPerTupleExprContext(fill->estate);
	MemoryContextReset(fill->batch_context);
	fill->n = 0;
}

static void
fill_end(Fill *fill)
{
	fill_flush(fill);
	for (int i = 0; i < BATCH; i++)
		ExecDropSingleTupleTableSlot(fill->slot[i]);
	FreeBulkInsertState(fill->bulk);
	table_finish_bulk_insert(fill->rel, 0);
	ExecCloseIndices(fill->result);
	FreeExecutorState(fill->estate);
	MemoryContextDelete(fill->batch_context);
	CacheInvalidateRelcache(fill->rel);
	table_close(fill->rel, NoLock);
}

/* the next row, all NULL; its values are to be made in batch_context */
static TupleTableSlot *
fill_row(Fill *fill)
{
	TupleTableSlot *slot = fill->slot[fill->n];

	ExecClearTuple(slot);
	memset(slot->tts_isnull, true,
		   (size_t) slot->tts_tupleDescriptor->natts * sizeof(bool));
	return slot;
}

static void
fill_store(Fill *fill, TupleTableSlot *slot)
{
	ExecStoreVirtualTuple(slot);
	if (fill->rel->rd_att->constr != NULL)
		ExecConstraints(fill->result, slot, fill->estate);
	if (++fill->n == BATCH)
		fill_flush(fill);
}

static void
set_value(TupleTableSlot *slot, AttrNumber attno, Datum value)
{
	slot->tts_values[attno - 1] = value;
	slot->tts_isnull[attno - 1] = false;
}

static AttrNumber
column_of(Oid relation, const char *name)
{
	AttrNumber attno = get_attnum(relation, name);

	if (attno == InvalidAttrNumber)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
						errmsg("column \"%s\" of relation \"%s\" does not "
							   "exist",
							   name, get_rel_name(relation)),
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

/* one of the two tables of vectors */
typedef struct Side
{
	Oid table;
	const char *key_name;
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
	Fill fill;
	AttrNumber key = column_of(side->table, side->key_name);
	AttrNumber embedding = column_of(side->table, "embedding");
	AttrNumber ranking = column_of(side->table, "ranking");
	AttrNumber count = column_of(side->table, "interactions");

	fill_begin(&fill, side->table);
	for (int32 i = 0; i < side->n; i++)
	{
		TupleTableSlot *slot = fill_row(&fill);
		MemoryContext old = MemoryContextSwitchTo(fill.batch_context);
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
		fill_store(&fill, slot);
	}
	fill_end(&fill);
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
	Fill fill;
	AttrNumber name;
	AttrNumber shape;
	AttrNumber value;
} Params;

static void
put_param(Params *p, const char *name, int ndim, const int *shape,
		  const float *value)
{
	TupleTableSlot *slot = fill_row(&p->fill);
	MemoryContext old = MemoryContextSwitchTo(p->fill.batch_context);
	int64 n = 1;

	for (int i = 0; i < ndim; i++)
		n *= shape[i];
	set_value(slot, p->name, CStringGetTextDatum(name));
	set_value(slot, p->shape, int_array(shape, ndim));
	set_value(slot, p->value, float_array(value, n));
	MemoryContextSwitchTo(old);
	fill_store(&p->fill, slot);
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

	p.name = column_of(table, "name");
	p.shape = column_of(table, "shape");
	p.value = column_of(table, "value");
	fill_begin(&p.fill, table);
	for (int i = 0; i < out->n_params; i++)
		put_param(&p, out->params[i].name, out->params[i].ndim,
				  out->params[i].shape, job_at(job, out->params[i].data));
	put_features(&p, &users, publish->user_feature, publish->n_user_features);
	put_features(&p, &items, publish->item_feature, publish->n_item_features);
	put_features(&p, &context, publish->context_feature,
				 publish->n_context_features);
	fill_end(&p.fill);
}

void
store_fill_tables(const StorePublish *p, const StoreModel *model)
{
	const JobShared *job = p->job;
	const JobOutput *out = &job->output;
	Side users = {.table = model->user_table,
				  .key_name = "user_id",
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
