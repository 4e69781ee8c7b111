/*
 * pg_json.h
 *		Small JSON objects, written member by member.
 */
#ifndef RECSYS_PG_JSON_H
#define RECSYS_PG_JSON_H

#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/jsonb.h"

extern void pg_json_begin(StringInfo json);
/* a number that is not finite becomes null */
extern void pg_json_number(StringInfo json, const char *key, double value);
extern void pg_json_bool(StringInfo json, const char *key, bool value);
extern void pg_json_string(StringInfo json, const char *key, const char *value);
/* a member whose value is JSON already */
extern void pg_json_text(StringInfo json, const char *key, const char *value);
extern Jsonb *pg_json_end(StringInfo json);

#endif
