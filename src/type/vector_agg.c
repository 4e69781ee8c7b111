/*
 * vector_agg.c
 *		The state of avg(vector): transition, combination, result.
 *
 * The state is float8[]: the number of vectors, then the sums of the
 * coordinates; {0} before the first vector. Within an aggregate it is
 * changed in place.
 */
#include "type/vector.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/array.h"

#include "pg/pg_compat.h"

PG_FUNCTION_INFO_V1(recsys_vector_accum);
PG_FUNCTION_INFO_V1(recsys_vector_combine);
PG_FUNCTION_INFO_V1(recsys_vector_avg);

/* The numbers of a state, which users may have made up; *dim is theirs. */
static float8 *
state_values(ArrayType *state, int *dim)
{
	if (ARR_NDIM(state) != 1 || ARR_DIMS(state)[0] < 1 || ARR_HASNULL(state) ||
		ARR_ELEMTYPE(state) != FLOAT8OID)
		ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
						errmsg("expected a state of avg(vector)"),
						errdetail("It is a one-dimensional array of double "
								  "precision without nulls.")));
	*dim = ARR_DIMS(state)[0] - 1;
	return (float8 *) ARR_DATA_PTR(state);
}

/* a state for vectors of dim coordinates, numbers not set */
static ArrayType *
new_state(int dim)
{
	size_t size = ARR_OVERHEAD_NONULLS(1) + sizeof(float8) * (dim + 1);
	ArrayType *state = palloc(size);

	SET_VARSIZE(state, size);
	state->ndim = 1;
	state->dataoffset = 0;
	state->elemtype = FLOAT8OID;
	ARR_DIMS(state)[0] = dim + 1;
	ARR_LBOUND(state)[0] = 1;
	return state;
}

Datum
recsys_vector_accum(PG_FUNCTION_ARGS)
{
	ArrayType *state = PG_GETARG_ARRAYTYPE_P(0);
	Vector *v = PG_GETARG_VECTOR(1);
	int dim;
	float8 *sums = state_values(state, &dim);
	bool first = sums[0] == 0;
	ArrayType *result = state;
	float8 *to;

	if (!first)
		vector_check_typmod(dim, v->dim);
	if (dim != v->dim || !AggCheckCallContext(fcinfo, NULL))
		result = new_state(v->dim);
	to = (float8 *) ARR_DATA_PTR(result);
	to[0] = sums[0] + 1;
	if (first)
		for (int i = 0; i < v->dim; i++)
			to[i + 1] = v->x[i];
	else
		for (int i = 0; i < v->dim; i++)
			to[i + 1] = sums[i + 1] + v->x[i];
	PG_FREE_IF_COPY(v, 1);
	PG_RETURN_ARRAYTYPE_P(result);
}

Datum
recsys_vector_combine(PG_FUNCTION_ARGS)
{
	ArrayType *left = PG_GETARG_ARRAYTYPE_P(0);
	ArrayType *right = PG_GETARG_ARRAYTYPE_P(1);
	int dim, right_dim;
	float8 *a = state_values(left, &dim);
	float8 *b = state_values(right, &right_dim);
	ArrayType *result;
	float8 *to;

	/* a worker that met no vector sends {0} */
	if (Max(dim, right_dim) > VECTOR_MAX_DIM)
		vector_check_size(Max(dim, right_dim));
	if (a[0] == 0)
		PG_RETURN_ARRAYTYPE_P(right);
	if (b[0] == 0)
		PG_RETURN_ARRAYTYPE_P(left);
	vector_check_typmod(dim, right_dim);
	result = AggCheckCallContext(fcinfo, NULL) ? left : new_state(dim);
	to = (float8 *) ARR_DATA_PTR(result);
	for (int i = 0; i <= dim; i++)
	{
		to[i] = a[i] + b[i];
		if (unlikely(isinf(to[i])))
			ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
							errmsg("value out of range: overflow")));
	}
	PG_RETURN_ARRAYTYPE_P(result);
}

Datum
recsys_vector_avg(PG_FUNCTION_ARGS)
{
	ArrayType *state = PG_GETARG_ARRAYTYPE_P(0);
	int dim;
	float8 *sums = state_values(state, &dim);
	Vector *v;

	if (sums[0] == 0)
		PG_RETURN_NULL();
	vector_check_size(dim);
	v = vector_alloc(dim);
	for (int i = 0; i < dim; i++)
		v->x[i] = (float) (sums[i + 1] / sums[0]);
	vector_check_finite(v);
	PG_RETURN_VECTOR(v);
}
