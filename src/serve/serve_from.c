/*
 * serve_from.c
 *		recommend_from: items for somebody of whom a history is all that is
 *		known.
 *
 * A model trained by implicit ALS says so by its parameter "ials"; then the
 * user's vector is the one that training would give (model/fold_in.h). For
 * any other model it is the mean of the history's item vectors. Items that
 * the model does not know are left out of the history; when nothing remains,
 * popular items come back. The items of the history are not recommended.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/memutils.h"

#include "math/vec_text.h"
#include "model/fold_in.h"
#include "pg/pg_hooks.h"
#include "serve/serve.h"

typedef struct History
{
	ServeMap *map;  /* the items given: not to be recommended */
	float *vectors; /* (n, dim) of those that have one */
	int n;
} History;

static bool
usable(const PredictParam *p, int dim)
{
	int rest = p->ndim == 1 ? p->shape[0] - FOLD_IN_MEAN - dim : -1;

	/* models from before there was an activity end with the mean */
	return (rest == 0 || rest == FOLD_IN_ZEROS) && p->data[0] > 0 &&
		   isfinite(p->data[0]) && p->data[1] >= 0 && isfinite(p->data[1]) &&
		   p->data[2] >= 1 && p->data[2] <= dim &&
		   dim % (int) p->data[2] == 0 &&
		   dim / (int) p->data[2] <= FOLD_IN_MAX_DIM &&
		   vec_check_finite(p->data + FOLD_IN_MEAN, dim + rest) ==
			   VEC_PARSE_OK &&
		   (rest == 0 || p->data[FOLD_IN_MEAN + dim] == 0 ||
			(p->data[FOLD_IN_MEAN + dim] > 0 &&
			 p->data[FOLD_IN_MEAN + dim + 1] > 0));
}

/* false: the learner was another one, or left nothing of use */
static bool
read_fold_in(const StoreModel *model, FoldIn *fold)
{
	ServeTable table;
	ServeParams *params;

	serve_table_open_params(&table, model);
	params = serve_cache_params(&table);
	serve_table_close(&table);
	for (int i = 0; i < params->n; i++)
	{
		const PredictParam *p = &params->params[i];

		if (strcmp(p->name, "ials") == 0 && usable(p, model->dim))
		{
			fold->lambda = p->data[0];
			fold->alpha0 = p->data[1];
			fold->blocks = (int) p->data[2];
			if (p->shape[0] > FOLD_IN_MEAN + model->dim)
			{
				fold->activity = p->data[FOLD_IN_MEAN + model->dim];
				fold->usual = p->data[FOLD_IN_MEAN + model->dim + 1];
			}
			/* the cache may let go of its own */
			memcpy(fold->mean, p->data + FOLD_IN_MEAN,
				   sizeof(float) * model->dim);
			return true;
		}
	}
	return false;
}

static void
read_history(ServeTable *table, ArrayType *array, bool is_text, History *h)
{
	Datum *elements;
	bool *nulls;
	int n;

	deconstruct_array(array, is_text ? TEXTOID : INT8OID, is_text ? -1 : 8,
					  !is_text && FLOAT8PASSBYVAL,
					  is_text ? TYPALIGN_INT : TYPALIGN_DOUBLE, &elements,
					  &nulls, &n);
	h->map = serve_map_new(&table->key, (uint32) n);
	h->vectors = palloc_extended(sizeof(float) * (Size) Max(n, 1) * table->dim,
								 MCXT_ALLOC_HUGE);
	h->n = 0;
	for (int i = 0; i < n; i++)
	{
		Datum key;
		Vector *v;

		CHECK_FOR_INTERRUPTS();
		if (nulls[i])
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("items must not contain nulls")));
		if (!(is_text ? serve_key_of_text(&table->key,
										  DatumGetTextP(elements[i]), &key)
					  : serve_key_of_int64(&table->key,
										   DatumGetInt64(elements[i]), &key)))
			continue;
		/* given twice it counts once */
		if (serve_map_find(h->map, key) >= 0)
			continue;
		serve_map_add(h->map, key, i, false);
		serve_table_vector(table, key, &v);
		if (v != NULL)
			memcpy(h->vectors + (Size) h->n++ * table->dim, v->x,
				   sizeof(float) * table->dim);
	}
}

static void
mean_of(const History *h, Vector *user)
{
	for (int j = 0; j < user->dim; j++)
	{
		double sum = 0;

		for (int i = 0; i < h->n; i++)
			sum += h->vectors[(Size) i * user->dim + j];
		user->x[j] = (float) (sum / h->n);
	}
}

/* the Gram matrices are kept with the packed table that they belong to */
static double *
gram_of(ServePack *pack, const FoldIn *fold)
{
	Size d = pack->dim / fold->blocks;
	RsStatus status;
	double *gram;

	if (pack->gram != NULL && pack->gram_blocks == fold->blocks)
		return pack->gram;
	gram = MemoryContextAllocHuge(pack->context,
								  sizeof(double) * (Size) fold->blocks * d * d);
	status = fold_in_gram(fold, pack->rows, pack->n, pack->dim, gram);
	if (status != RS_OK)
		pg_throw_status(status, "could not solve for a new user", NULL);
	pack->gram = gram;
	pack->gram_blocks = fold->blocks;
	return gram;
}

static void
recommend(ServeTable *table, const StoreModel *model, const History *h, int64 k,
		  ServeRows *rows)
{
	Vector *user = vector_new(table->dim);
	FoldIn fold = {.mean = palloc(sizeof(float) * table->dim)};
	bool solve = read_fold_in(model, &fold);
	ServePack *pack;

	/* nothing that runs a query may come after this but the answer itself */
	pack = serve_cache_get(table);
	if (!solve || pack == NULL ||
		fold_in_user(&fold, gram_of(pack, &fold), pack->n, h->vectors, h->n,
					 table->dim, user->x) != RS_OK)
		mean_of(h, user);
	serve_put_top(table, user, false, k, h->map, rows, "model");
}

static Datum
recommend_from(FunctionCallInfo fcinfo, bool is_text)
{
	MemoryContext call = AllocSetContextCreate(
		CurrentMemoryContext, "recsys recommend_from", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old;
	ServeRows rows;
	StoreModel model;
	ServeTable table;
	History history;
	int64 k;

	serve_rows_begin(&rows, fcinfo);
	old = MemoryContextSwitchTo(call);
	serve_refuse_null(fcinfo, 0, "items");
	k = serve_arg_k(fcinfo, 1);
	serve_arg_model(fcinfo, 2, &model);
	serve_check_retrieval(&model);
	serve_table_open(&table, &model, true,
					 SERVE_EMBEDDING | SERVE_INTERACTIONS);
	read_history(&table, PG_GETARG_ARRAYTYPE_P(0), is_text, &history);
	if (k > 0 && history.n > 0)
		recommend(&table, &model, &history, k, &rows);
	else if (k > 0)
		serve_put_popular(&table, k, history.map, &rows);
	serve_table_close(&table);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(call);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(recsys_recommend_from);
Datum
recsys_recommend_from(PG_FUNCTION_ARGS)
{
	return recommend_from(fcinfo, false);
}

PG_FUNCTION_INFO_V1(recsys_recommend_from_text);
Datum
recsys_recommend_from_text(PG_FUNCTION_ARGS)
{
	return recommend_from(fcinfo, true);
}

PG_FUNCTION_INFO_V1(recsys_recommend_from_literal);
Datum
recsys_recommend_from_literal(PG_FUNCTION_ARGS)
{
	serve_array_literal(fcinfo, 0);
	return recommend_from(fcinfo, true);
}
