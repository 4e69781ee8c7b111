/*
 * pg_json.c
 *		Small JSON objects, written member by member.
 */
#include "postgres.h"

#include <math.h>

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"

#include "pg/pg_json.h"

void
pg_json_begin(StringInfo json)
{
	initStringInfo(json);
	appendStringInfoChar(json, '{');
}

static void
member(StringInfo json, const char *key)
{
	if (json->len > 1)
		appendStringInfoString(json, ", ");
	escape_json(json, key);
	appendStringInfoString(json, ": ");
}

void
pg_json_number(StringInfo json, const char *key, double value)
{
	member(json, key);
	if (!isfinite(value))
		appendStringInfoString(json, "null");
	else if (value == floor(value) && fabs(value) < 1e15)
		appendStringInfo(json, "%.0f", value);
	else
		appendStringInfo(json, "%.6g", value);
}

void
pg_json_bool(StringInfo json, const char *key, bool value)
{
	member(json, key);
	appendStringInfoString(json, value ? "true" : "false");
}

void
pg_json_string(StringInfo json, const char *key, const char *value)
{
	member(json, key);
	escape_json(json, value);
}

void
pg_json_text(StringInfo json, const char *key, const char *value)
{
	member(json, key);
	appendStringInfoString(json, value);
}

Jsonb *
pg_json_end(StringInfo json)
{
	appendStringInfoChar(json, '}');
	return DatumGetJsonbP(
		DirectFunctionCall1(jsonb_in, CStringGetDatum(json->data)));
}
