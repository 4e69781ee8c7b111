/*
 * store_admin.c
 *		recsys_drop and recsys_rollback.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/builtins.h"

#include "store/store_catalog.h"

static char *
text_arg(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("model must not be NULL")));
	return text_to_cstring(PG_GETARG_TEXT_PP(0));
}

/* where a model would be made; InvalidOid: nowhere */
static Oid
schema_of(const char *wanted, char **name)
{
	char *given;
	List *path;
	Oid schema;

	store_parse_name(wanted, &given, name);
	if (given != NULL)
		return LookupExplicitNamespace(given, true);
	path = fetch_search_path(false);
	schema = path == NIL ? InvalidOid : linitial_oid(path);
	list_free(path);
	return schema;
}

PG_FUNCTION_INFO_V1(recsys_drop);
Datum
recsys_drop(PG_FUNCTION_ARGS)
{
	char *wanted = text_arg(fcinfo);
	char *stray;
	Oid schema;
	NameData name;

	PreventCommandIfReadOnly("recsys_drop()");
	if (store_locate(wanted, &schema, &name))
	{
		store_lock(schema, NameStr(name), false, true);
		store_drop(schema, NameStr(name));
		PG_RETURN_VOID();
	}
	schema = schema_of(wanted, &stray);
	if (!OidIsValid(schema))
		store_refuse_unknown(wanted);
	store_lock(schema, stray, false, true);
	if (!store_drop_strays(schema, stray))
		store_refuse_unknown(wanted);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(recsys_rollback);
Datum
recsys_rollback(PG_FUNCTION_ARGS)
{
	char *wanted = text_arg(fcinfo);
	Oid schema;
	NameData name;

	PreventCommandIfReadOnly("recsys_rollback()");
	if (!store_locate(wanted, &schema, &name))
		store_refuse_unknown(wanted);
	store_lock(schema, NameStr(name), false, true);
	PG_RETURN_INT32(store_rollback(schema, NameStr(name)));
}
