/*
 * serve_rows.c
 *		Arguments and answers of the set-returning functions.
 */
#include "postgres.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "serve/serve.h"

void
serve_rows_begin(ServeRows *rows, FunctionCallInfo fcinfo)
{
	ReturnSetInfo *info = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext old;

	if (info == NULL || !IsA(info, ReturnSetInfo) ||
		(info->allowedModes & SFRM_Materialize) == 0)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("set-valued function called in context that "
							   "cannot accept a set")));
	old = MemoryContextSwitchTo(info->econtext->ecxt_per_query_memory);
	/* what the caller expects is known mostly; looking it up costs more */
	rows->desc = info->expectedDesc;
	if (rows->desc == NULL &&
		get_call_result_type(fcinfo, NULL, &rows->desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	rows->store = tuplestore_begin_heap(
		(info->allowedModes & SFRM_Materialize_Random) != 0, false, work_mem);
	info->returnMode = SFRM_Materialize;
	info->setResult = rows->store;
	info->setDesc = NULL;
	MemoryContextSwitchTo(old);
}

/* rank, id, key, score and, where the function has it, source */
void
serve_rows_put(ServeRows *rows, const ServeKeyType *type, int64 rank, Datum key,
			   double score, const char *source)
{
	Datum values[5];
	bool nulls[5] = {false};

	values[0] = Int32GetDatum((int32) Min(rank, PG_INT32_MAX));
	serve_key_columns(type, key, &values[1], &nulls[1]);
	values[3] = Float8GetDatum(score);
	if (source != NULL)
		values[4] = CStringGetTextDatum(source);
	tuplestore_putvalues(rows->store, rows->desc, values, nulls);
}

void
serve_refuse_null(FunctionCallInfo fcinfo, int arg, const char *name)
{
	if (PG_ARGISNULL(arg))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("%s must not be null", name)));
}

int64
serve_arg_k(FunctionCallInfo fcinfo, int arg)
{
	int64 k;

	serve_refuse_null(fcinfo, arg, "k");
	k = PG_GETARG_INT64(arg);
	if (k < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("k must not be negative, but is %lld", (long long) k),
				 errhint("Give the number of rows wanted.")));
	/* more than there can be */
	return Min(k, PG_INT32_MAX);
}

bool
serve_arg_bool(FunctionCallInfo fcinfo, int arg, const char *name)
{
	serve_refuse_null(fcinfo, arg, name);
	return PG_GETARG_BOOL(arg);
}

/* NULL stands for the model called default */
void
serve_arg_model(FunctionCallInfo fcinfo, int arg, StoreModel *model)
{
	store_get(PG_ARGISNULL(arg) ? NULL
								: text_to_cstring(PG_GETARG_TEXT_PP(arg)),
			  model);
}

bool
serve_arg_key(FunctionCallInfo fcinfo, int arg, const StoreModel *model,
			  bool item, bool is_text, ServeKeyType *type, Datum *key)
{
	serve_refuse_null(fcinfo, arg, item ? "item_id" : "user_id");
	serve_key_init(type, item ? model->item_type : model->user_type);
	if (is_text)
		return serve_key_of_text(type, PG_GETARG_TEXT_P(arg), key);
	return serve_key_of_int64(type, PG_GETARG_INT64(arg), key);
}
