/*
 * serve_predict.c
 *		predict and rank_items: the ranking stage's answer.
 *
 * A user or item that the model does not know gets a vector from his row in
 * the table of features that the model was trained with. One who is not
 * there either, or has no ranking vector, is taken for an average one: by the parameter user_mean or
 * item_mean, else by the mean of all stored vectors. So a prediction for an
 * unknown user is about the item's mean, for an unknown item about the
 * user's, and for both about the mean of all.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/memutils.h"

#include "serve/serve.h"

/* one user against items; lives in the memory context of the call */
typedef struct Ranker
{
	StoreModel model;
	ServeTable users;
	ServeTable items;
	bool known; /* the user's key can be one of the model's */
	Datum user_key;
	ServeParams *params;
	Predictor predictor;
	MemoryContext loaded;    /* of parameters that are not the cache's */
	MemoryContext each;      /* of what one item takes */
	FunctionCallInfo fcinfo; /* of which argument 3 is the context */
	ServeContext context;
	const float *user;
	float *item; /* an item's vector in the context */
	float *scratch;
	const float *mean_item; /* when first needed */
} Ranker;

typedef struct Ranked
{
	Datum key;
	double score;
} Ranked;

static void
open_tables(Ranker *r)
{
	serve_table_open(&r->users, &r->model, false, SERVE_RANKING);
	serve_table_open(&r->items, &r->model, true, SERVE_RANKING);
}

static void
close_tables(Ranker *r)
{
	serve_table_close(&r->users);
	serve_table_close(&r->items);
}

static void
refuse(const Ranker *r, const char *detail)
{
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("ranking stage of model \"%s\" is damaged",
						   NameStr(r->model.name)),
					errdetail("%s.", detail),
					errhint("Train the model again with recsys_train.")));
}

/* a copy of the stored mean, or the mean of what is stored */
static const float *
mean_vector(const Ranker *r, ServeTable *table, const float *param, int dim)
{
	Vector *mean;

	if (param != NULL)
		return memcpy(palloc(sizeof(float) * dim), param, sizeof(float) * dim);
	mean = serve_sql_mean(table);
	if (mean == NULL)
		refuse(r, "No ranking vector is stored");
	serve_table_check_dim(table, mean->dim);
	return mean->x;
}

/*
 * The cached parameters are not held across SPI: they are asked for last,
 * after everything that may run a query.
 */
static void
load_params(Ranker *r)
{
	MemoryContext old = MemoryContextSwitchTo(r->loaded);
	ServeTable table;
	const char *problem = NULL;

	MemoryContextReset(r->loaded);
	serve_table_open_params(&table, &r->model);
	r->params = serve_cache_params(&table);
	serve_table_close(&table);
	if (r->params->n == 0)
		refuse(r, "The table of its parameters is empty");
	if (predict_init(&r->predictor, r->model.ranking, r->users.dim,
					 r->items.dim, r->params->params, r->params->n,
					 &problem) != RS_OK)
		refuse(r, problem != NULL ? problem : "The parameters do not fit");
	MemoryContextSwitchTo(old);
}

/* the stored vector, or that of the features; NULL for neither */
static Vector *
ranking_vector(Ranker *r, ServeTable *table, bool item, Datum key)
{
	Vector *v;
	bool found = serve_table_vector(table, key, &v);

	if (!found)
	{
		v = serve_features_vector(&r->model, item, key, true);
		if (v != NULL)
			serve_table_check_dim(table, v->dim);
	}
	/* a query may have been run: parameters are not held across it */
	if ((!found || !table->plain) && r->params != NULL)
		load_params(r);
	return v;
}

/* x (dim) and what the context adds to it, in to */
static const float *
in_context(const float *x, const float *add, int dim, float *to)
{
	if (add == NULL)
		return x;
	for (int k = 0; k < dim; k++)
		to[k] = x[k] + add[k];
	return to;
}

static void
start(Ranker *r)
{
	Vector *v = NULL;

	open_tables(r);
	r->params = NULL;
	serve_arg_context(r->fcinfo, 3, &r->model, true, r->users.dim, r->items.dim,
					  &r->context);
	if (r->known)
		v = ranking_vector(r, &r->users, false, r->user_key);
	load_params(r);
	if (v != NULL)
		r->user = v->x;
	else
	{
		r->user = mean_vector(r, &r->users, r->predictor.user_mean,
							  r->predictor.user_dim);
		load_params(r);
	}
	r->user = in_context(r->user, r->context.user, r->users.dim,
						 palloc(sizeof(float) * (Size) r->users.dim));
	r->item = palloc(sizeof(float) * (Size) r->items.dim);
	r->scratch = palloc(sizeof(float) * (predict_scratch(&r->predictor) + 1));
	r->mean_item = NULL;
}

static double
score(Ranker *r, bool known, Datum key)
{
	MemoryContext old = MemoryContextSwitchTo(r->each);
	Vector *v = NULL;
	const float *item;
	double answer;

	if (known)
		v = ranking_vector(r, &r->items, true, key);
	MemoryContextSwitchTo(old);
	if (v == NULL && r->mean_item == NULL)
	{
		r->mean_item = mean_vector(r, &r->items, r->predictor.item_mean,
								   r->predictor.item_dim);
		load_params(r);
	}
	item = in_context(v != NULL ? v->x : r->mean_item, r->context.item,
					  r->items.dim, r->item);
	answer = predict_one(&r->predictor, r->user, item, r->scratch);
	MemoryContextReset(r->each);
	return answer;
}

static void
parse(FunctionCallInfo fcinfo, Ranker *r, bool is_text)
{
	ServeKeyType type;

	r->fcinfo = fcinfo;
	r->loaded = AllocSetContextCreate(CurrentMemoryContext, "recsys parameters",
									  ALLOCSET_DEFAULT_SIZES);
	r->each = AllocSetContextCreate(CurrentMemoryContext, "recsys ranked item",
									ALLOCSET_DEFAULT_SIZES);
	serve_refuse_null(fcinfo, 0, "user_id");
	serve_arg_model(fcinfo, 2, &r->model);
	serve_check_ranking(&r->model);
	r->known = serve_arg_key(fcinfo, 0, &r->model, false, is_text, &type,
							 &r->user_key);
}

static Datum
predict(FunctionCallInfo fcinfo, bool user_is_text, bool item_is_text)
{
	MemoryContext call = AllocSetContextCreate(
		CurrentMemoryContext, "recsys predict", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(call);
	Ranker r;
	ServeKeyType type;
	Datum key;
	bool known;
	double answer;

	serve_refuse_null(fcinfo, 1, "item_id");
	parse(fcinfo, &r, user_is_text);
	known = serve_arg_key(fcinfo, 1, &r.model, true, item_is_text, &type, &key);
	start(&r);
	answer = score(&r, known, key);
	close_tables(&r);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(call);
	PG_RETURN_FLOAT8(answer);
}

static int
compare_ranked(const void *a, const void *b, void *arg)
{
	const Ranked *x = a;
	const Ranked *y = b;

	if (x->score != y->score)
		return x->score > y->score ? -1 : 1;
	return serve_key_compare(arg, x->key, y->key);
}

/*
 * Keys that no row can have (beyond the range of the key's type) are shown
 * as integers nevertheless: their canonical form is an int64.
 */
static void
rank_elements(Ranker *r, ArrayType *array, bool is_text, ServeRows *rows)
{
	ServeKeyType type;
	Datum *elements;
	bool *nulls;
	Ranked *ranked;
	int n;

	serve_key_init(&type, r->model.item_type);
	deconstruct_array(array, is_text ? TEXTOID : INT8OID, is_text ? -1 : 8,
					  !is_text && FLOAT8PASSBYVAL,
					  is_text ? TYPALIGN_INT : TYPALIGN_DOUBLE, &elements,
					  &nulls, &n);
	ranked = palloc_extended(sizeof(Ranked) * Max(n, 1), MCXT_ALLOC_HUGE);
	for (int i = 0; i < n; i++)
	{
		bool known;

		CHECK_FOR_INTERRUPTS();
		if (nulls[i])
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("items must not contain nulls")));
		known = is_text ? serve_key_of_text(&type, DatumGetTextP(elements[i]),
											&ranked[i].key)
						: serve_key_of_int64(&type, DatumGetInt64(elements[i]),
											 &ranked[i].key);
		ranked[i].score = score(r, known, ranked[i].key);
	}
	qsort_arg(ranked, n, sizeof(Ranked), compare_ranked, &type);
	for (int i = 0; i < n; i++)
		serve_rows_put(rows, &type, i + 1, ranked[i].key, ranked[i].score,
					   NULL);
}

static Datum
rank_items(FunctionCallInfo fcinfo, bool user_is_text, bool items_are_text)
{
	MemoryContext call = AllocSetContextCreate(
		CurrentMemoryContext, "recsys rank_items", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old;
	ServeRows rows;
	Ranker r;

	serve_rows_begin(&rows, fcinfo);
	old = MemoryContextSwitchTo(call);
	serve_refuse_null(fcinfo, 1, "items");
	parse(fcinfo, &r, user_is_text);
	start(&r);
	rank_elements(&r, PG_GETARG_ARRAYTYPE_P(1), items_are_text, &rows);
	close_tables(&r);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(call);
	return (Datum) 0;
}

#define SERVE_FUNCTION(name, call)                                             \
	PG_FUNCTION_INFO_V1(name);                                                 \
	Datum name(PG_FUNCTION_ARGS)                                               \
	{                                                                          \
		return call;                                                           \
	}

SERVE_FUNCTION(recsys_predict, predict(fcinfo, false, false))
SERVE_FUNCTION(recsys_predict_int_text, predict(fcinfo, false, true))
SERVE_FUNCTION(recsys_predict_text_int, predict(fcinfo, true, false))
SERVE_FUNCTION(recsys_predict_text, predict(fcinfo, true, true))
SERVE_FUNCTION(recsys_rank_items, rank_items(fcinfo, false, false))
SERVE_FUNCTION(recsys_rank_items_int_text, rank_items(fcinfo, false, true))
SERVE_FUNCTION(recsys_rank_items_text_int, rank_items(fcinfo, true, false))
SERVE_FUNCTION(recsys_rank_items_text, rank_items(fcinfo, true, true))
SERVE_FUNCTION(recsys_rank_items_int_literal, (serve_array_literal(fcinfo, 1),
											   rank_items(fcinfo, false, true)))
SERVE_FUNCTION(recsys_rank_items_literal,
			   (serve_array_literal(fcinfo, 1), rank_items(fcinfo, true, true)))
