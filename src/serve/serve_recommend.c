/*
 * serve_recommend.c
 *		recommend, recommend_users, similar_items, similar_users.
 *
 * All four are "the best rows of one model table for a vector, some left
 * out": recommend and recommend_users by inner product without what was
 * rated, the similar ones by cosine without the row itself.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "serve/serve.h"

typedef struct Request
{
	StoreModel model;
	bool by_item; /* the key given is an item's */
	bool known;   /* the key could be one of the model's */
	ServeKeyType key_type;
	Datum key;
	int64 k;
	bool exclude_seen;
} Request;

static bool
is_zero(const Vector *v)
{
	for (int i = 0; i < v->dim; i++)
		if (v->x[i] != 0)
			return false;
	return true;
}

/*
 * The vector of the key, and where it is from: source is "features" for
 * somebody without interactions. NULL when nothing is known of him.
 */
static Vector *
query_vector(const Request *r, const char **source)
{
	ServeTable table;
	Vector *vector = NULL;
	bool found = false;

	*source = "model";
	serve_table_open(&table, &r->model, r->by_item,
					 SERVE_EMBEDDING | SERVE_INTERACTIONS);
	if (r->known)
		found = serve_table_vector(&table, r->key, &vector);
	serve_table_close(&table);
	if (vector != NULL && table.interactions > 0)
		return vector;
	*source = "features";
	if (r->known && !found)
		vector = serve_features_vector(&r->model, r->by_item, r->key, false);
	return vector != NULL && is_zero(vector) ? NULL : vector;
}

/*
 * Of a user without interactions the model has a vector also when it knows
 * no features of users: that of nobody in particular, or a random one.
 */
static bool
knows_user_features(const StoreModel *model)
{
	ServeFeatures features;

	if (!serve_features_open(&features, model, "user"))
		return false;
	serve_features_close(&features);
	return features.embedding;
}

/* rows of the target table to be left out; NULL for none */
static ServeMap *
rows_to_skip(const Request *r, bool similar)
{
	ServeMap *map;

	if (similar)
	{
		map = serve_map_new(&r->key_type, 1);
		serve_map_add(map, r->key, 0, false);
		return map;
	}
	return r->exclude_seen && r->known
			   ? serve_seen(&r->model, r->by_item, r->key)
			   : NULL;
}

void
serve_put_top(ServeTable *table, const Vector *query, bool cosine, int64 k,
			  const ServeMap *skip, ServeRows *rows, const char *source)
{
	bool first = !cosine && serve_cache_first(table);
	ServePack *pack = first ? NULL : serve_cache_get(table);
	ServeHit *hits;
	int n;

	if (pack == NULL)
	{
		serve_sql_top(table, query, cosine, first, k, skip, rows, source);
		return;
	}
	n = serve_scan_top(pack, query->x, cosine, k, skip, &hits);
	for (int i = 0; i < n; i++)
		serve_rows_put(rows, &pack->key, i + 1, pack->keys[hits[i].row],
					   hits[i].score, source);
}

void
serve_put_popular(ServeTable *table, int64 k, const ServeMap *skip,
				  ServeRows *rows)
{
	bool first = serve_cache_first(table);
	ServePack *pack = first ? NULL : serve_cache_get(table);
	int32 *popular;
	int64 rank = 0;

	if (pack == NULL)
	{
		serve_sql_popular(table, k, skip, rows);
		return;
	}
	popular = serve_pack_popular(pack);
	for (int32 i = 0; i < pack->n && rank < k; i++)
	{
		int32 row = popular[i];

		if (skip != NULL && serve_map_find(skip, pack->keys[row]) >= 0)
			continue;
		serve_rows_put(rows, &pack->key, ++rank, pack->keys[row],
					   pack->interactions[row], "popular");
	}
}

static void
parse(FunctionCallInfo fcinfo, Request *r, bool by_item, bool is_text)
{
	r->by_item = by_item;
	serve_refuse_null(fcinfo, 0, by_item ? "item_id" : "user_id");
	r->k = serve_arg_k(fcinfo, 1);
	serve_arg_model(fcinfo, 2, &r->model);
	serve_check_retrieval(&r->model);
	r->known = serve_arg_key(fcinfo, 0, &r->model, by_item, is_text,
							 &r->key_type, &r->key);
	r->exclude_seen = false;
}

/* the query on this occasion; a new vector, since rows are not ours */
static Vector *
in_context(FunctionCallInfo fcinfo, const Request *r, Vector *query)
{
	ServeContext context;
	Vector *moved;

	if (!serve_arg_context(fcinfo, 4, &r->model, false, 0, 0, &context) ||
		query == NULL || query->dim != r->model.dim)
		return query;
	moved = vector_new(query->dim);
	for (int k = 0; k < query->dim; k++)
		moved->x[k] = query->x[k] + context.embedding[k];
	return moved;
}

/*
 * What was seen is read before the cache is asked: a packed table must not
 * be held across SPI.
 */
static Datum
recommend(FunctionCallInfo fcinfo, bool by_item, bool is_text)
{
	MemoryContext call = AllocSetContextCreate(
		CurrentMemoryContext, "recsys recommend", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old;
	Request r;
	ServeRows rows;
	ServeTable table;
	ServeMap *skip;
	Vector *query;
	const char *source;

	serve_rows_begin(&rows, fcinfo);
	old = MemoryContextSwitchTo(call);
	parse(fcinfo, &r, by_item, is_text);
	r.exclude_seen = serve_arg_bool(fcinfo, 3, "exclude_seen");
	if (r.k > 0)
	{
		query = query_vector(&r, &source);
		if (!by_item && query != NULL && strcmp(source, "features") == 0 &&
			!knows_user_features(&r.model))
			query = NULL;
		if (!by_item)
			query = in_context(fcinfo, &r, query);
		skip = rows_to_skip(&r, false);
		serve_table_open(&table, &r.model, !by_item,
						 SERVE_EMBEDDING | SERVE_INTERACTIONS);
		if (query != NULL)
			serve_put_top(&table, query, false, r.k, skip, &rows,
						  by_item ? NULL : source);
		else if (!by_item)
			serve_put_popular(&table, r.k, skip, &rows);
		serve_table_close(&table);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(call);
	return (Datum) 0;
}

static Datum
similar(FunctionCallInfo fcinfo, bool by_item, bool is_text)
{
	MemoryContext call = AllocSetContextCreate(
		CurrentMemoryContext, "recsys similar", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old;
	Request r;
	ServeRows rows;
	ServeTable table;
	Vector *query;
	const char *source;

	serve_rows_begin(&rows, fcinfo);
	old = MemoryContextSwitchTo(call);
	parse(fcinfo, &r, by_item, is_text);
	query = r.k > 0 ? query_vector(&r, &source) : NULL;
	if (query != NULL)
	{
		serve_table_open(&table, &r.model, by_item,
						 SERVE_EMBEDDING | SERVE_INTERACTIONS);
		serve_put_top(&table, query, true, r.k, rows_to_skip(&r, true), &rows,
					  NULL);
		serve_table_close(&table);
	}
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

SERVE_FUNCTION(recsys_recommend, recommend(fcinfo, false, false))
SERVE_FUNCTION(recsys_recommend_text, recommend(fcinfo, false, true))
SERVE_FUNCTION(recsys_recommend_users, recommend(fcinfo, true, false))
SERVE_FUNCTION(recsys_recommend_users_text, recommend(fcinfo, true, true))
SERVE_FUNCTION(recsys_similar_items, similar(fcinfo, true, false))
SERVE_FUNCTION(recsys_similar_items_text, similar(fcinfo, true, true))
SERVE_FUNCTION(recsys_similar_users, similar(fcinfo, false, false))
SERVE_FUNCTION(recsys_similar_users_text, similar(fcinfo, false, true))
