/*
 * vector_distance.c
 *		Distances and norms of vectors as SQL functions.
 *
 * Sums are in float32 by the kernels of math/vec.h; they may overflow to
 * Infinity. Where that would turn a defined value into NaN, the sums are
 * done again in float64, which cannot overflow.
 */
#include "type/vector.h"

#include <math.h>

#include "math/vec.h"
#include "pg/pg_compat.h"

PG_FUNCTION_INFO_V1(recsys_l2_distance);
PG_FUNCTION_INFO_V1(recsys_vector_l2_squared_distance);
PG_FUNCTION_INFO_V1(recsys_inner_product);
PG_FUNCTION_INFO_V1(recsys_vector_negative_inner_product);
PG_FUNCTION_INFO_V1(recsys_cosine_distance);
PG_FUNCTION_INFO_V1(recsys_vector_spherical_distance);
PG_FUNCTION_INFO_V1(recsys_l1_distance);
PG_FUNCTION_INFO_V1(recsys_vector_norm);
PG_FUNCTION_INFO_V1(recsys_vector_dims);

/* Infinite terms of both signs have met when the short sum is NaN. */
static double
dot(const Vector *a, const Vector *b)
{
	float s = vec_dot(a->x, b->x, a->dim);

	return likely(!isnan(s)) ? (double) s : vec_dot_double(a->x, b->x, a->dim);
}

/*
 * 1 - cosine of the angle: 0 .. 2, NaN when a vector is zero. The sums are
 * repeated in float64 when a square left the range of normal floats.
 */
static double
cosine_distance(const Vector *a, const Vector *b)
{
	float ab, aa, bb;
	double s;

	vec_cosine_sums(a->x, b->x, a->dim, &ab, &aa, &bb);
	if (likely(aa > 1e-30f && bb > 1e-30f && aa < 1e38f && bb < 1e38f))
		s = (double) ab / sqrt((double) aa * (double) bb);
	else
		s = vec_dot_double(a->x, b->x, a->dim) /
			(sqrt(vec_squares_double(a->x, a->dim)) *
			 sqrt(vec_squares_double(b->x, b->dim)));
	if (s > 1)
		s = 1;
	else if (s < -1)
		s = -1;
	return 1 - s;
}

Datum
recsys_l2_distance(PG_FUNCTION_ARGS)
{
	Vector *a = PG_GETARG_VECTOR(0);
	Vector *b = PG_GETARG_VECTOR(1);

	vector_check_dims(a, b);
	PG_RETURN_FLOAT8(sqrt((double) vec_l2_squared(a->x, b->x, a->dim)));
}

Datum
recsys_vector_l2_squared_distance(PG_FUNCTION_ARGS)
{
	Vector *a = PG_GETARG_VECTOR(0);
	Vector *b = PG_GETARG_VECTOR(1);

	vector_check_dims(a, b);
	PG_RETURN_FLOAT8((double) vec_l2_squared(a->x, b->x, a->dim));
}

Datum
recsys_inner_product(PG_FUNCTION_ARGS)
{
	Vector *a = PG_GETARG_VECTOR(0);
	Vector *b = PG_GETARG_VECTOR(1);

	vector_check_dims(a, b);
	PG_RETURN_FLOAT8(dot(a, b));
}

Datum
recsys_vector_negative_inner_product(PG_FUNCTION_ARGS)
{
	Vector *a = PG_GETARG_VECTOR(0);
	Vector *b = PG_GETARG_VECTOR(1);

	vector_check_dims(a, b);
	PG_RETURN_FLOAT8(-dot(a, b));
}

Datum
recsys_cosine_distance(PG_FUNCTION_ARGS)
{
	Vector *a = PG_GETARG_VECTOR(0);
	Vector *b = PG_GETARG_VECTOR(1);

	vector_check_dims(a, b);
	PG_RETURN_FLOAT8(cosine_distance(a, b));
}

/* the angle between unit vectors, as a share of half a turn: 0 .. 1 */
Datum
recsys_vector_spherical_distance(PG_FUNCTION_ARGS)
{
	Vector *a = PG_GETARG_VECTOR(0);
	Vector *b = PG_GETARG_VECTOR(1);
	double s;

	vector_check_dims(a, b);
	s = dot(a, b);
	PG_RETURN_FLOAT8(acos(s > 1 ? 1 : s < -1 ? -1 : s) / M_PI);
}

Datum
recsys_l1_distance(PG_FUNCTION_ARGS)
{
	Vector *a = PG_GETARG_VECTOR(0);
	Vector *b = PG_GETARG_VECTOR(1);

	vector_check_dims(a, b);
	PG_RETURN_FLOAT8((double) vec_l1(a->x, b->x, a->dim));
}

Datum
recsys_vector_norm(PG_FUNCTION_ARGS)
{
	Vector *a = PG_GETARG_VECTOR(0);

	PG_RETURN_FLOAT8(sqrt(vec_squares_double(a->x, a->dim)));
}

Datum
recsys_vector_dims(PG_FUNCTION_ARGS)
{
	Vector *a = PG_GETARG_VECTOR(0);

	PG_RETURN_INT32(a->dim);
}
