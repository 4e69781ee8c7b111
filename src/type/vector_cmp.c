/*
 * vector_cmp.c
 *		The order of vectors, and their hash.
 *
 * Lexicographic, then by length; -0 equals 0. Vectors of different
 * dimensions compare.
 */
#include "type/vector.h"

#include "common/hashfn.h"

#include "pg/pg_compat.h"

#define HASH_BLOCK 256 /* coordinates hashed at a time */

PG_FUNCTION_INFO_V1(recsys_vector_lt);
PG_FUNCTION_INFO_V1(recsys_vector_le);
PG_FUNCTION_INFO_V1(recsys_vector_eq);
PG_FUNCTION_INFO_V1(recsys_vector_ne);
PG_FUNCTION_INFO_V1(recsys_vector_ge);
PG_FUNCTION_INFO_V1(recsys_vector_gt);
PG_FUNCTION_INFO_V1(recsys_vector_cmp);
PG_FUNCTION_INFO_V1(recsys_vector_hash);
PG_FUNCTION_INFO_V1(recsys_vector_hash_extended);

static int
compare(const Vector *a, const Vector *b)
{
	int n = Min(a->dim, b->dim);

	for (int i = 0; i < n; i++)
	{
		if (a->x[i] < b->x[i])
			return -1;
		if (a->x[i] > b->x[i])
			return 1;
	}
	return (a->dim > b->dim) - (a->dim < b->dim);
}

/* Index code calls these often within one memory context: no copies stay. */
static int
compare_args(FunctionCallInfo fcinfo)
{
	Vector *a = PG_GETARG_VECTOR(0);
	Vector *b = PG_GETARG_VECTOR(1);
	int order = compare(a, b);

	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	return order;
}

Datum
recsys_vector_lt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_args(fcinfo) < 0);
}

Datum
recsys_vector_le(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_args(fcinfo) <= 0);
}

Datum
recsys_vector_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_args(fcinfo) == 0);
}

Datum
recsys_vector_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_args(fcinfo) != 0);
}

Datum
recsys_vector_ge(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_args(fcinfo) >= 0);
}

Datum
recsys_vector_gt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_args(fcinfo) > 0);
}

Datum
recsys_vector_cmp(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(compare_args(fcinfo));
}

/* Equal vectors have equal hashes: -0 is hashed as 0. */
uint64
vector_hash(const Vector *v, uint64 seed)
{
	float block[HASH_BLOCK];

	for (int start = 0; start < v->dim; start += HASH_BLOCK)
	{
		int n = Min(v->dim - start, HASH_BLOCK);

		for (int i = 0; i < n; i++)
			block[i] = v->x[start + i] == 0 ? 0.0f : v->x[start + i];
		seed = hash_bytes_extended((const unsigned char *) block,
								   n * (int) sizeof(float), seed);
	}
	return seed;
}

Datum
recsys_vector_hash(PG_FUNCTION_ARGS)
{
	Vector *v = PG_GETARG_VECTOR(0);
	uint32 h = (uint32) vector_hash(v, 0);

	PG_FREE_IF_COPY(v, 0);
	PG_RETURN_UINT32(h);
}

Datum
recsys_vector_hash_extended(PG_FUNCTION_ARGS)
{
	Vector *v = PG_GETARG_VECTOR(0);
	uint64 h = vector_hash(v, (uint64) PG_GETARG_INT64(1));

	PG_FREE_IF_COPY(v, 0);
	PG_RETURN_UINT64(h);
}
