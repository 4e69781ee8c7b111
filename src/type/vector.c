/*
 * vector.c
 *		Construction and checks of vector values.
 */
#include "type/vector.h"

Vector *
vector_from_datum(Datum datum)
{
	Vector *v = (Vector *) PG_DETOAST_DATUM(datum);

	if (VARSIZE(v) < VECTOR_SIZE(1) || v->dim < 1 ||
		v->dim > VECTOR_MAX_DIM || VARSIZE(v) != VECTOR_SIZE(v->dim))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("vector value is corrupted"),
				 errdetail("Its dimension does not fit its size of %u bytes.",
						   (unsigned) VARSIZE(v))));
	return v;
}

Vector *
vector_new(int dim)
{
	Vector *v = palloc0(VECTOR_SIZE(dim));

	SET_VARSIZE(v, VECTOR_SIZE(dim));
	v->dim = (int16) dim;
	return v;
}

void
vector_check_dims(const Vector *a, const Vector *b)
{
	if (a->dim != b->dim)
		ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
						errmsg("different vector dimensions %d and %d",
							   a->dim, b->dim)));
}
