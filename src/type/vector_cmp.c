/*
 * vector_cmp.c
 *		The order of vectors, and their hash.
 *
 * Lexicographic, then by length; -0 equals 0. Vectors of different
 * dimensions compare.
 */
#include "type/vector.h"

#include "common/hashfn.h"
#include "utils/sortsupport.h"

#include "math/vec.h"
#include "pg/pg_compat.h"

#define HASH_BLOCK 256 /* coordinates hashed at a time */

PG_FUNCTION_INFO_V1(recsys_vector_lt);
PG_FUNCTION_INFO_V1(recsys_vector_le);
PG_FUNCTION_INFO_V1(recsys_vector_eq);
PG_FUNCTION_INFO_V1(recsys_vector_ne);
PG_FUNCTION_INFO_V1(recsys_vector_ge);
PG_FUNCTION_INFO_V1(recsys_vector_gt);
PG_FUNCTION_INFO_V1(recsys_vector_cmp);
PG_FUNCTION_INFO_V1(recsys_vector_sortsupport);
PG_FUNCTION_INFO_V1(recsys_vector_hash);
PG_FUNCTION_INFO_V1(recsys_vector_hash_extended);

static inline int
compare(const Vector *a, const Vector *b)
{
	int n = Min(a->dim, b->dim);
	int i;

	/* in most comparisons the first coordinates decide */
	if (a->x[0] != b->x[0])
		return a->x[0] < b->x[0] ? -1 : 1;
	i = vec_first_difference(a->x, b->x, n);
	if (i < n)
		return a->x[i] < b->x[i] ? -1 : 1;
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

/* Vectors of different lengths need not be looked at. */
static bool
equal_args(FunctionCallInfo fcinfo)
{
	Vector *a = PG_GETARG_VECTOR(0);
	Vector *b = PG_GETARG_VECTOR(1);
	bool equal = a->dim == b->dim && compare(a, b) == 0;

	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	return equal;
}

Datum
recsys_vector_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(equal_args(fcinfo));
}

Datum
recsys_vector_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(!equal_args(fcinfo));
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

static int
compare_datums(Datum x, Datum y, SortSupport ssup)
{
	Vector *a = vector_from_datum(x);
	Vector *b = vector_from_datum(y);
	int order = compare(a, b);

	if ((Pointer) a != DatumGetPointer(x))
		pfree(a);
	if ((Pointer) b != DatumGetPointer(y))
		pfree(b);
	return order;
}

/* a float as an unsigned number of the same order, never 0; -0 as 0 */
static uint32
ordered_bits(float x)
{
	uint32 bits;

	x += 0.0f;
	memcpy(&bits, &x, sizeof(bits));
	return bits & 0x80000000 ? ~bits : bits | 0x80000000;
}

/*
 * The first two coordinates in one number. A missing second one is 0, below
 * any coordinate, as the shorter vector goes first.
 */
static Datum
abbreviate(Datum original, SortSupport ssup)
{
	Vector *v = vector_from_datum(original);
	uint64 key = (uint64) ordered_bits(v->x[0]) << 32;

	if (v->dim > 1)
		key |= ordered_bits(v->x[1]);
	if ((Pointer) v != DatumGetPointer(original))
		pfree(v);
	return UInt64GetDatum(key);
}

/* It costs next to nothing, so it is kept even where it decides little. */
static bool
abort_abbreviation(int memtupcount, SortSupport ssup)
{
	return false;
}

Datum
recsys_vector_sortsupport(PG_FUNCTION_ARGS)
{
	SortSupport ssup = (SortSupport) PG_GETARG_POINTER(0);

	ssup->comparator = compare_datums;
	if (ssup->abbreviate && SIZEOF_DATUM == 8)
	{
		ssup->comparator = ssup_datum_unsigned_cmp;
		ssup->abbrev_converter = abbreviate;
		ssup->abbrev_abort = abort_abbreviation;
		ssup->abbrev_full_comparator = compare_datums;
	}
	PG_RETURN_VOID();
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
