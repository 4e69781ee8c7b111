/*
 * vector_cast.c
 *		Casts between vectors and arrays, and to a number of dimensions.
 */
#include "type/vector.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

#include "math/vec_text.h"
#include "pg/pg_compat.h"

PG_FUNCTION_INFO_V1(recsys_vector_to_vector);
PG_FUNCTION_INFO_V1(recsys_vector_to_float4);
PG_FUNCTION_INFO_V1(recsys_int4_to_vector);
PG_FUNCTION_INFO_V1(recsys_float4_to_vector);
PG_FUNCTION_INFO_V1(recsys_float8_to_vector);
PG_FUNCTION_INFO_V1(recsys_numeric_to_vector);

/* vector to vector(n) */
Datum
recsys_vector_to_vector(PG_FUNCTION_ARGS)
{
	Vector *v = PG_GETARG_VECTOR(0);

	vector_check_typmod(PG_GETARG_INT32(1), v->dim);
	PG_RETURN_VECTOR(v);
}

Datum
recsys_vector_to_float4(PG_FUNCTION_ARGS)
{
	Vector *v = PG_GETARG_VECTOR(0);
	size_t data = sizeof(float) * v->dim;
	ArrayType *array = palloc0(ARR_OVERHEAD_NONULLS(1) + data);

	SET_VARSIZE(array, ARR_OVERHEAD_NONULLS(1) + data);
	array->ndim = 1;
	array->dataoffset = 0;
	array->elemtype = FLOAT4OID;
	ARR_DIMS(array)[0] = v->dim;
	ARR_LBOUND(array)[0] = 1;
	memcpy(ARR_DATA_PTR(array), v->x, data);
	PG_RETURN_ARRAYTYPE_P(array);
}

/*
 * An empty vector of an array's length, once the array is known to be of
 * the expected type, to have one dimension and no NULL.
 */
static Vector *
vector_for_array(ArrayType *array, Oid elemtype, int32 typmod)
{
	int n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));

	if (ARR_ELEMTYPE(array) != elemtype)
		ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
						errmsg("unexpected array element type %u",
							   ARR_ELEMTYPE(array))));
	if (ARR_NDIM(array) > 1)
		ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
						errmsg("array must be one-dimensional")));
	if (array_contains_nulls(array))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("array must not contain nulls")));
	vector_check_size(n);
	vector_check_typmod(typmod, n);
	return vector_alloc(n);
}

static void
throw_out_of_range(double value)
{
	ereport(ERROR,
			(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
			 errmsg("\"%g\" is out of range for type %s", value, "vector")));
}

Datum
recsys_int4_to_vector(PG_FUNCTION_ARGS)
{
	ArrayType *array = PG_GETARG_ARRAYTYPE_P(0);
	Vector *v = vector_for_array(array, INT4OID, PG_GETARG_INT32(1));
	const int32 *from = (const int32 *) ARR_DATA_PTR(array);

	for (int i = 0; i < v->dim; i++)
		v->x[i] = (float) from[i];
	PG_RETURN_VECTOR(v);
}

Datum
recsys_float4_to_vector(PG_FUNCTION_ARGS)
{
	ArrayType *array = PG_GETARG_ARRAYTYPE_P(0);
	Vector *v = vector_for_array(array, FLOAT4OID, PG_GETARG_INT32(1));

	memcpy(v->x, ARR_DATA_PTR(array), sizeof(float) * v->dim);
	vector_check_finite(v);
	PG_RETURN_VECTOR(v);
}

Datum
recsys_float8_to_vector(PG_FUNCTION_ARGS)
{
	ArrayType *array = PG_GETARG_ARRAYTYPE_P(0);
	Vector *v = vector_for_array(array, FLOAT8OID, PG_GETARG_INT32(1));
	const float8 *from = (const float8 *) ARR_DATA_PTR(array);

	for (int i = 0; i < v->dim; i++)
	{
		v->x[i] = (float) from[i];
		if (unlikely(isinf(v->x[i]) && !isinf(from[i])))
			throw_out_of_range(from[i]);
	}
	vector_check_finite(v);
	PG_RETURN_VECTOR(v);
}

Datum
recsys_numeric_to_vector(PG_FUNCTION_ARGS)
{
	ArrayType *array = PG_GETARG_ARRAYTYPE_P(0);
	Vector *v = vector_for_array(array, NUMERICOID, PG_GETARG_INT32(1));
	Datum *from;
	int n;

	deconstruct_array(array, NUMERICOID, -1, false, TYPALIGN_INT, &from, NULL,
					  &n);
	for (int i = 0; i < v->dim; i++)
		v->x[i] = DatumGetFloat4(DirectFunctionCall1(numeric_float4, from[i]));
	vector_check_finite(v);
	PG_RETURN_VECTOR(v);
}
