/*
 * vector_arith.c
 *		Functions that make a vector (or bits) of vectors.
 */
#include "type/vector.h"

#include <math.h>

#include "common/int.h"
#include "utils/varbit.h"

#include "math/vec.h"
#include "math/vec_text.h"
#include "pg/pg_compat.h"

PG_FUNCTION_INFO_V1(recsys_vector_add);
PG_FUNCTION_INFO_V1(recsys_vector_sub);
PG_FUNCTION_INFO_V1(recsys_vector_mul);
PG_FUNCTION_INFO_V1(recsys_vector_concat);
PG_FUNCTION_INFO_V1(recsys_l2_normalize);
PG_FUNCTION_INFO_V1(recsys_subvector);
PG_FUNCTION_INFO_V1(recsys_binary_quantize);

static void
check_overflow(const Vector *v)
{
	if (unlikely(vec_check_finite(v->x, v->dim) != VEC_PARSE_OK))
		ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
						errmsg("value out of range: overflow")));
}

/* As transition function of sum(): the state is ours to change. */
Datum
recsys_vector_add(PG_FUNCTION_ARGS)
{
	Vector *a = PG_GETARG_VECTOR(0);
	Vector *b = PG_GETARG_VECTOR(1);
	Vector *r;

	vector_check_dims(a, b);
	r = AggCheckCallContext(fcinfo, NULL) ? a : vector_alloc(a->dim);
	vec_add(a->x, b->x, r->x, a->dim);
	check_overflow(r);
	PG_RETURN_VECTOR(r);
}

Datum
recsys_vector_sub(PG_FUNCTION_ARGS)
{
	Vector *a = PG_GETARG_VECTOR(0);
	Vector *b = PG_GETARG_VECTOR(1);
	Vector *r;

	vector_check_dims(a, b);
	r = vector_alloc(a->dim);
	vec_sub(a->x, b->x, r->x, a->dim);
	check_overflow(r);
	PG_RETURN_VECTOR(r);
}

/* As with float4, a product of nonzero numbers that becomes 0 is an error. */
Datum
recsys_vector_mul(PG_FUNCTION_ARGS)
{
	Vector *a = PG_GETARG_VECTOR(0);
	Vector *b = PG_GETARG_VECTOR(1);
	Vector *r;
	bool lost;

	vector_check_dims(a, b);
	r = vector_alloc(a->dim);
	lost = vec_mul(a->x, b->x, r->x, a->dim);
	check_overflow(r);
	if (lost)
		ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
						errmsg("value out of range: underflow")));
	PG_RETURN_VECTOR(r);
}

Datum
recsys_vector_concat(PG_FUNCTION_ARGS)
{
	Vector *a = PG_GETARG_VECTOR(0);
	Vector *b = PG_GETARG_VECTOR(1);
	Vector *r;

	vector_check_size((int64) a->dim + b->dim);
	r = vector_alloc(a->dim + b->dim);
	memcpy(r->x, a->x, sizeof(float) * a->dim);
	memcpy(r->x + a->dim, b->x, sizeof(float) * b->dim);
	PG_RETURN_VECTOR(r);
}

/* A zero vector stays zero. */
Datum
recsys_l2_normalize(PG_FUNCTION_ARGS)
{
	Vector *a = PG_GETARG_VECTOR(0);
	Vector *r = vector_new(a->dim);
	double norm = sqrt(vec_squares_double(a->x, a->dim));

	if (norm > 0)
		for (int i = 0; i < a->dim; i++)
			r->x[i] = (float) (a->x[i] / norm);
	PG_RETURN_VECTOR(r);
}

/* Positions start .. start + count - 1, as far as the vector has them. */
Datum
recsys_subvector(PG_FUNCTION_ARGS)
{
	Vector *a = PG_GETARG_VECTOR(0);
	int64 start = PG_GETARG_INT32(1);
	int64 end = start + PG_GETARG_INT32(2);
	Vector *r;

	start = Max(start, 1);
	end = Min(end, (int64) a->dim + 1);
	vector_check_size(end - start);
	r = vector_alloc((int) (end - start));
	memcpy(r->x, a->x + start - 1, sizeof(float) * r->dim);
	PG_RETURN_VECTOR(r);
}

/* one bit a coordinate, set where it is positive */
Datum
recsys_binary_quantize(PG_FUNCTION_ARGS)
{
	Vector *a = PG_GETARG_VECTOR(0);
	VarBit *r = palloc(VARBITTOTALLEN(a->dim));

	SET_VARSIZE(r, VARBITTOTALLEN(a->dim));
	VARBITLEN(r) = a->dim;
	vec_sign_bits(a->x, a->dim, VARBITS(r));
	PG_RETURN_VARBIT_P(r);
}
