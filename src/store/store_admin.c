/*
 * store_admin.c
 *		recsys_drop and recsys_rollback.
 */
#include "postgres.h"

#include "access/table.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/builtins.h"

#include "store/store_catalog.h"

/* schema and name of a model that is there, whole or in part */
static void
model_arg(FunctionCallInfo fcinfo, Oid *schema, NameData *name)
{
	char *wanted;

	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("model must not be NULL")));
	wanted = text_to_cstring(PG_GETARG_TEXT_PP(0));
	if (!store_locate(wanted, schema, name))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("model \"%s\" does not exist", wanted),
						errhint("The view recsys_models lists the models there "
								"are.")));
}

PG_FUNCTION_INFO_V1(recsys_drop);
Datum
recsys_drop(PG_FUNCTION_ARGS)
{
	Oid schema;
	NameData name;

	PreventCommandIfReadOnly("recsys_drop()");
	model_arg(fcinfo, &schema, &name);
	store_lock(schema, NameStr(name), false, true);
	store_drop(schema, NameStr(name));
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(recsys_rollback);
Datum
recsys_rollback(PG_FUNCTION_ARGS)
{
	Oid schema;
	NameData name;

	PreventCommandIfReadOnly("recsys_rollback()");
	model_arg(fcinfo, &schema, &name);
	store_lock(schema, NameStr(name), false, true);
	PG_RETURN_INT32(store_rollback(schema, NameStr(name)));
}
