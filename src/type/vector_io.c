/*
 * vector_io.c
 *		Text and binary input and output, and the type modifier.
 *
 * The parsing proper is in math/vec_text.c. Input errors are soft where the
 * server knows soft errors.
 */
#include "type/vector.h"

#include "catalog/pg_type.h"
#include "common/shortest_dec.h"
#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"

#include "math/vec_text.h"
#include "pg/pg_compat.h"

/* so much of a bad literal is quoted in messages, bytes */
#define MAX_QUOTED 256

PG_FUNCTION_INFO_V1(recsys_vector_in);
PG_FUNCTION_INFO_V1(recsys_vector_out);
PG_FUNCTION_INFO_V1(recsys_vector_typmod_in);
PG_FUNCTION_INFO_V1(recsys_vector_recv);
PG_FUNCTION_INFO_V1(recsys_vector_send);

/* s, cut at a character boundary when it is long */
static char *
quoted(const char *s, size_t len)
{
	char *copy;
	size_t keep = len;

	if (len > MAX_QUOTED)
		keep = (size_t) pg_mbcliplen(s, MAX_QUOTED + MAX_MULTIBYTE_CHAR_LEN,
									 MAX_QUOTED);
	copy = palloc(keep + 4);
	memcpy(copy, s, keep);
	strcpy(copy + keep, len > keep ? "..." : "");
	return copy;
}

/* a parser's verdict as an error; literal is NULL for the binary form */
static void
throw_parse(VecParse status, const char *literal, const VecParseError *error,
			Node *escontext)
{
	const char *shown = literal == NULL ? "" : quoted(literal, strlen(literal));

	switch (status)
	{
		case VEC_PARSE_START:
		case VEC_PARSE_SYNTAX:
		case VEC_PARSE_JUNK:
			ereturn(escontext, ,
					(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					 errmsg("invalid input syntax for type %s: \"%s\"",
							"vector", shown),
					 status == VEC_PARSE_START
						 ? errdetail("A vector must start with \"[\".")
					 : status == VEC_PARSE_JUNK
						 ? errdetail("Something follows the closing \"]\".")
						 : 0));
			break;
		case VEC_PARSE_EMPTY:
		case VEC_PARSE_DIM:
			ereturn(escontext, ,
					(errcode(ERRCODE_DATA_EXCEPTION),
					 errmsg("vector must have at least 1 dimension")));
			break;
		case VEC_PARSE_TOO_MANY:
			ereturn(escontext, ,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("vector cannot have more than %d dimensions",
							VECTOR_MAX_DIM)));
			break;
		case VEC_PARSE_RANGE:
			ereturn(escontext, ,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					 errmsg("\"%s\" is out of range for type %s",
							quoted(error->at, (size_t) error->len), "vector")));
			break;
		case VEC_PARSE_NAN:
		case VEC_PARSE_INFINITE:
			ereturn(escontext, ,
					(errcode(ERRCODE_DATA_EXCEPTION),
					 status == VEC_PARSE_NAN
						 ? errmsg("NaN not allowed in vector")
						 : errmsg("infinite value not allowed in vector")));
			break;
		case VEC_PARSE_UNUSED:
			ereturn(escontext, ,
					(errcode(ERRCODE_DATA_EXCEPTION),
					 errmsg("expected unused field of vector to be 0, not %d",
							error->unused)));
			break;
		default:
			ereturn(escontext, ,
					(errcode(ERRCODE_PROTOCOL_VIOLATION),
					 errmsg("insufficient data left in message")));
	}
}

Datum
recsys_vector_in(PG_FUNCTION_ARGS)
{
	char *literal = PG_GETARG_CSTRING(0);
	int32 typmod = PG_GETARG_INT32(2);
	float x[VECTOR_MAX_DIM];
	VecParseError error;
	VecParse status;
	int dim;
	Vector *v;

	status = vec_parse_text(literal, x, VECTOR_MAX_DIM, &dim, &error);
	if (status != VEC_PARSE_OK)
	{
		throw_parse(status, literal, &error, fcinfo->context);
		PG_RETURN_NULL();
	}
	if (typmod != -1 && typmod != dim)
		ereturn(fcinfo->context, (Datum) 0,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("expected %d dimensions, not %d", typmod, dim)));
	v = vector_alloc(dim);
	memcpy(v->x, x, sizeof(float) * dim);
	PG_RETURN_VECTOR(v);
}

Datum
recsys_vector_out(PG_FUNCTION_ARGS)
{
	Vector *v = PG_GETARG_VECTOR(0);
	char *text = palloc((size_t) v->dim * FLOAT_SHORTEST_DECIMAL_LEN + 3);
	char *p = text;

	*p++ = '[';
	for (int i = 0; i < v->dim; i++)
	{
		if (i > 0)
			*p++ = ',';
		p += float_to_shortest_decimal_bufn(v->x[i], p);
	}
	*p++ = ']';
	*p = '\0';
	PG_FREE_IF_COPY(v, 0);
	PG_RETURN_CSTRING(text);
}

Datum
recsys_vector_typmod_in(PG_FUNCTION_ARGS)
{
	ArrayType *mods = PG_GETARG_ARRAYTYPE_P(0);
	int n;
	int32 *mod = ArrayGetIntegerTypmods(mods, &n);

	if (n != 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid type modifier"),
						errdetail("Type %s takes one modifier, its number of "
								  "dimensions.",
								  "vector")));
	if (mod[0] < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("dimensions for type %s must be at least 1, not %d",
						"vector", mod[0])));
	if (mod[0] > VECTOR_MAX_DIM)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("dimensions for type %s cannot exceed %d, not %d",
						"vector", VECTOR_MAX_DIM, mod[0])));
	PG_RETURN_INT32(mod[0]);
}

/* Bytes behind the vector are the caller's matter: it reports them. */
Datum
recsys_vector_recv(PG_FUNCTION_ARGS)
{
	StringInfo buf = (StringInfo) PG_GETARG_POINTER(0);
	int32 typmod = PG_GETARG_INT32(2);
	const uint8 *message = (const uint8 *) buf->data + buf->cursor;
	VecParseError error = {0};
	VecParse status;
	Vector *v;
	int dim;

	status = vec_parse_binary_head(message, (size_t) (buf->len - buf->cursor),
								   VECTOR_MAX_DIM, &dim, &error);
	if (status != VEC_PARSE_OK)
		throw_parse(status, NULL, &error, NULL);
	vector_check_typmod(typmod, dim);
	v = vector_alloc(dim);
	status = vec_parse_binary_body(message + 4, dim, v->x);
	if (status != VEC_PARSE_OK)
		throw_parse(status, NULL, &error, NULL);
	buf->cursor += 4 + 4 * dim;
	PG_RETURN_VECTOR(v);
}

Datum
recsys_vector_send(PG_FUNCTION_ARGS)
{
	Vector *v = PG_GETARG_VECTOR(0);
	StringInfoData buf;

	pq_begintypsend(&buf);
	enlargeStringInfo(&buf, 4 + 4 * v->dim);
	pq_sendint16(&buf, (uint16) v->dim);
	pq_sendint16(&buf, 0);
	for (int i = 0; i < v->dim; i++)
	{
		uint32 bits;

		memcpy(&bits, &v->x[i], sizeof(bits));
		pq_writeint32(&buf, bits);
	}
	PG_FREE_IF_COPY(v, 0);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}
