/*
 * serve_key.c
 *		Keys of users and items: int2, int4, int8, text, varchar, uuid,
 *		numeric.
 *
 * In hand every integer key is an int64 Datum and every other key a plain
 * value, so that the rest of src/serve need not know the column's type.
 * Text is equal when its bytes are, and sorted by them (C collation).
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/uuid.h"

#include "serve/serve.h"

void
serve_array_literal(FunctionCallInfo fcinfo, int arg)
{
	NullableDatum *a = &fcinfo->args[arg];
	char *literal;

	if (a->isnull)
		return;
	literal = text_to_cstring(DatumGetTextPP(a->value));
	/* what clients make of a list when they take the parameter for a text */
	if (literal[strspn(literal, " ")] != '{' && strstr(literal, "={") == NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
						errmsg("items must be an array, not \"%s\"", literal),
						errhint("Write '{1,2}' or ARRAY[1,2]; give a parameter "
								"its type: $1::bigint[] or $1::text[].")));
	a->value = OidInputFunctionCall(F_ARRAY_IN, literal, TEXTOID, -1);
}

void
serve_key_init(ServeKeyType *type, Oid oid)
{
	type->type = getBaseType(oid);
	switch (type->type)
	{
		case INT2OID:
		case INT4OID:
		case INT8OID:
			type->kind = KEY_INT;
			break;
		case TEXTOID:
		case VARCHAROID:
			type->kind = KEY_TEXT;
			break;
		case UUIDOID:
			type->kind = KEY_UUID;
			break;
		case NUMERICOID:
			type->kind = KEY_NUMERIC;
			break;
		default:
			ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
							errmsg("type %s cannot be a key of a model",
								   format_type_be(oid))));
	}
}

Datum
serve_key_read(const ServeKeyType *type, Datum raw)
{
	switch (type->type)
	{
		case INT2OID:
			return Int64GetDatum(DatumGetInt16(raw));
		case INT4OID:
			return Int64GetDatum(DatumGetInt32(raw));
		case TEXTOID:
		case VARCHAROID:
		case NUMERICOID:
			return PointerGetDatum(PG_DETOAST_DATUM_PACKED(raw));
		default:
			return raw;
	}
}

Datum
serve_key_native(const ServeKeyType *type, Datum key)
{
	switch (type->type)
	{
		case INT2OID:
			return Int16GetDatum((int16) DatumGetInt64(key));
		case INT4OID:
			return Int32GetDatum((int32) DatumGetInt64(key));
		default:
			return key;
	}
}

Datum
serve_key_copy(const ServeKeyType *type, Datum key)
{
	if (type->kind == KEY_INT)
		return key;
	return datumCopy(key, false, type->kind == KEY_UUID ? UUID_LEN : -1);
}

bool
serve_key_of_int64(const ServeKeyType *type, int64 value, Datum *key)
{
	switch (type->kind)
	{
		case KEY_INT:
			*key = Int64GetDatum(value);
			return type->type == INT8OID ||
				   (type->type == INT4OID && value >= PG_INT32_MIN &&
					value <= PG_INT32_MAX) ||
				   (type->type == INT2OID && value >= PG_INT16_MIN &&
					value <= PG_INT16_MAX);
		case KEY_NUMERIC:
			*key = DirectFunctionCall1(int8_numeric, Int64GetDatum(value));
			return true;
		case KEY_TEXT:
			*key = CStringGetTextDatum(psprintf(INT64_FORMAT, value));
			return true;
		default:
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("keys of this model are of type %s, not bigint",
							format_type_be(type->type)),
					 errhint("Write the key as text.")));
	}
	return false;
}

bool
serve_key_of_text(const ServeKeyType *type, text *value, Datum *key)
{
	Datum string = PointerGetDatum(value);

	switch (type->kind)
	{
		case KEY_INT:
			return serve_key_of_int64(
				type,
				DatumGetInt64(DirectFunctionCall1(
					int8in, CStringGetDatum(TextDatumGetCString(string)))),
				key);
		case KEY_UUID:
			*key = DirectFunctionCall1(
				uuid_in, CStringGetDatum(TextDatumGetCString(string)));
			return true;
		case KEY_NUMERIC:
			*key = DirectFunctionCall3(
				numeric_in, CStringGetDatum(TextDatumGetCString(string)),
				ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
			return true;
		default:
			*key = string;
			return true;
	}
}

uint32
serve_key_hash(const ServeKeyType *type, Datum key)
{
	switch (type->kind)
	{
		case KEY_INT:
			return (uint32) (((uint64) DatumGetInt64(key) *
							  UINT64CONST(0x9E3779B97F4A7C15)) >>
							 32);
		case KEY_UUID:
			return hash_bytes(DatumGetUUIDP(key)->data, UUID_LEN);
		case KEY_NUMERIC:
			return DatumGetUInt32(DirectFunctionCall1(hash_numeric, key));
		default:
			return hash_bytes(
				(unsigned char *) VARDATA_ANY(DatumGetPointer(key)),
				(int) VARSIZE_ANY_EXHDR(DatumGetPointer(key)));
	}
}

static int
compare_text(Datum a, Datum b)
{
	int na = (int) VARSIZE_ANY_EXHDR(DatumGetPointer(a));
	int nb = (int) VARSIZE_ANY_EXHDR(DatumGetPointer(b));
	int c = memcmp(VARDATA_ANY(DatumGetPointer(a)),
				   VARDATA_ANY(DatumGetPointer(b)), Min(na, nb));

	return c != 0 ? c : na - nb;
}

int
serve_key_compare(const ServeKeyType *type, Datum a, Datum b)
{
	switch (type->kind)
	{
		case KEY_INT:
		{
			int64 x = DatumGetInt64(a);
			int64 y = DatumGetInt64(b);

			return x < y ? -1 : x > y;
		}
		case KEY_UUID:
			return memcmp(DatumGetUUIDP(a)->data, DatumGetUUIDP(b)->data,
						  UUID_LEN);
		case KEY_NUMERIC:
			return DatumGetInt32(DirectFunctionCall2(numeric_cmp, a, b));
		default:
			return compare_text(a, b);
	}
}

bool
serve_key_equal(const ServeKeyType *type, Datum a, Datum b)
{
	if (type->kind == KEY_INT)
		return DatumGetInt64(a) == DatumGetInt64(b);
	if (type->kind == KEY_TEXT && VARSIZE_ANY_EXHDR(DatumGetPointer(a)) !=
									  VARSIZE_ANY_EXHDR(DatumGetPointer(b)))
		return false;
	return serve_key_compare(type, a, b) == 0;
}

static text *
text_of_int64(int64 value)
{
	char buffer[MAXINT8LEN + 1];
	int len = pg_lltoa(value, buffer);

	return cstring_to_text_with_len(buffer, len);
}

void
serve_key_columns(const ServeKeyType *type, Datum key, Datum *values,
				  bool *nulls)
{
	nulls[0] = type->kind != KEY_INT;
	nulls[1] = false;
	values[0] = nulls[0] ? (Datum) 0 : key;
	switch (type->kind)
	{
		case KEY_INT:
			values[1] = PointerGetDatum(text_of_int64(DatumGetInt64(key)));
			break;
		case KEY_UUID:
			values[1] = CStringGetTextDatum(
				DatumGetCString(DirectFunctionCall1(uuid_out, key)));
			break;
		case KEY_NUMERIC:
			values[1] = CStringGetTextDatum(
				DatumGetCString(DirectFunctionCall1(numeric_out, key)));
			break;
		default:
			values[1] = key;
	}
}
