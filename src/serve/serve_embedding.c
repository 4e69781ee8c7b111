/*
 * serve_embedding.c
 *		user_embedding and item_embedding: the vector, for plain SQL.
 */
#include "postgres.h"

#include "fmgr.h"

#include "serve/serve.h"

/*
 * For a key that the model does not know, from its features; NULL when it
 * has none, or the model no vector for it.
 */
static Datum
embedding(FunctionCallInfo fcinfo, bool item, bool is_text)
{
	StoreModel model;
	ServeTable table;
	ServeKeyType type;
	Datum key;
	Vector *vector = NULL;
	bool usable;

	serve_refuse_null(fcinfo, 0, item ? "item_id" : "user_id");
	serve_arg_model(fcinfo, 1, &model);
	serve_check_retrieval(&model);
	serve_table_open(&table, &model, item, SERVE_EMBEDDING);
	usable = serve_arg_key(fcinfo, 0, &model, item, is_text, &type, &key);
	if (usable && !serve_table_vector(&table, key, &vector))
		vector = serve_features_vector(&model, item, key, false);
	serve_table_close(&table);
	if (vector == NULL)
		PG_RETURN_NULL();
	PG_RETURN_VECTOR(vector);
}

PG_FUNCTION_INFO_V1(recsys_user_embedding);
Datum
recsys_user_embedding(PG_FUNCTION_ARGS)
{
	return embedding(fcinfo, false, false);
}

PG_FUNCTION_INFO_V1(recsys_user_embedding_text);
Datum
recsys_user_embedding_text(PG_FUNCTION_ARGS)
{
	return embedding(fcinfo, false, true);
}

PG_FUNCTION_INFO_V1(recsys_item_embedding);
Datum
recsys_item_embedding(PG_FUNCTION_ARGS)
{
	return embedding(fcinfo, true, false);
}

PG_FUNCTION_INFO_V1(recsys_item_embedding_text);
Datum
recsys_item_embedding_text(PG_FUNCTION_ARGS)
{
	return embedding(fcinfo, true, true);
}
