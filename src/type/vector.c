/*
 * vector.c
 *		Construction and checks of vector values.
 */
#include "type/vector.h"

#include "math/vec_text.h"

void
vector_throw_corrupted(const Vector *v)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("vector value is corrupted"),
			 errdetail("Its dimension does not fit its size of %u bytes.",
					   (unsigned) VARSIZE(v))));
}

Vector *
vector_new(int dim)
{
	Vector *v = vector_alloc(dim);

	memset(v->x, 0, sizeof(float) * dim);
	return v;
}

Vector *
vector_alloc(int dim)
{
	Vector *v = palloc(VECTOR_SIZE(dim));

	SET_VARSIZE(v, VECTOR_SIZE(dim));
	v->dim = (int16) dim;
	v->unused = 0;
	return v;
}

void
vector_throw_dims(const Vector *a, const Vector *b)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_EXCEPTION),
			 errmsg("different vector dimensions %d and %d", a->dim, b->dim)));
}

void
vector_check_size(int64 dim)
{
	if (dim < 1)
		ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
						errmsg("vector must have at least 1 dimension")));
	if (dim > VECTOR_MAX_DIM)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("vector cannot have more than %d dimensions",
							   VECTOR_MAX_DIM)));
}

void
vector_check_typmod(int32 typmod, int dim)
{
	if (typmod != -1 && typmod != dim)
		ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
						errmsg("expected %d dimensions, not %d", typmod, dim)));
}

void
vector_check_finite(const Vector *v)
{
	VecParse status = vec_check_finite(v->x, v->dim);

	if (unlikely(status != VEC_PARSE_OK))
		ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
						status == VEC_PARSE_NAN
							? errmsg("NaN not allowed in vector")
							: errmsg("infinite value not allowed in vector")));
}
