/*
 * vector.h
 *		The stored form of the type vector, and how to get at one safely.
 *
 *	 0        4     6        8
 *	+--------+-----+--------+----------+----------+-- - -
 *	| vl_len | dim | unused | x[0]     | x[1]     |
 *	+--------+-----+--------+----------+----------+-- - -
 *
 * The same bytes as the pgvector extension's type.
 */
#ifndef RECSYS_VECTOR_H
#define RECSYS_VECTOR_H

#include "postgres.h"
#include "fmgr.h"

#include "pg/pg_compat.h"

#define VECTOR_MAX_DIM 16000

typedef struct Vector
{
	int32 vl_len_; /* varlena header, 4 bytes */
	int16 dim;     /* 1 .. VECTOR_MAX_DIM */
	int16 unused;  /* 0 */
	float x[FLEXIBLE_ARRAY_MEMBER];
} Vector;

#define VECTOR_SIZE(dim) (offsetof(Vector, x) + sizeof(float) * (dim))

/* does a detoasted value's dimension agree with its size? */
static inline bool
vector_is_sound(const Vector *v)
{
	return VARSIZE(v) >= VECTOR_SIZE(1) && v->dim >= 1 &&
		   v->dim <= VECTOR_MAX_DIM && VARSIZE(v) == VECTOR_SIZE(v->dim);
}

pg_noreturn extern void vector_throw_corrupted(const Vector *v);

/*
 * Detoasted and checked: a datum whose dim disagrees with its size is
 * XX001, never read past its end. Every C entry gets its vectors by this.
 */
static inline Vector *
vector_from_datum(Datum datum)
{
	Vector *v = (Vector *) DatumGetPointer(datum);

	if (unlikely(VARATT_IS_EXTENDED(v)))
		v = (Vector *) PG_DETOAST_DATUM(datum);
	if (unlikely(!vector_is_sound(v)))
		vector_throw_corrupted(v);
	return v;
}

/* a new vector, palloc'd, coordinates zero */
extern Vector *vector_new(int dim);
/* the same, coordinates not set */
extern Vector *vector_alloc(int dim);
/* out of line, so that the test costs callers nothing */
pg_noreturn extern void vector_throw_dims(const Vector *a, const Vector *b);
/* 22000 when dim is below 1, 54000 when it is too large */
extern void vector_check_size(int64 dim);
/* 22000, naming both numbers, when typmod is a number other than dim */
extern void vector_check_typmod(int32 typmod, int dim);
/* 22000 when a coordinate is NaN or infinite */
extern void vector_check_finite(const Vector *v);

/* equal vectors have equal hashes, -0 being equal to 0 */
extern uint64 vector_hash(const Vector *v, uint64 seed);

/* 22000, naming both numbers, when the dimensions differ */
static inline void
vector_check_dims(const Vector *a, const Vector *b)
{
	if (unlikely(a->dim != b->dim))
		vector_throw_dims(a, b);
}

#define DatumGetVector(d) vector_from_datum(d)
#define PG_GETARG_VECTOR(n) vector_from_datum(PG_GETARG_DATUM(n))
#define PG_RETURN_VECTOR(v) PG_RETURN_POINTER(v)

#endif
