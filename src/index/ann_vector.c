/*
 * ann_vector.c
 *		From a datum of the column to the vector that is indexed.
 */
#include "postgres.h"

#include <float.h>
#include <math.h>

#include "fmgr.h"
#include "index/ann.h"
#include "math/vec.h"
#include "type/vector.h"
#include "utils/lsyscache.h"

/* beyond these lengths float32 bounds say nothing: such rows go to the log */
#define LENGTH_MAX 1e15

PG_FUNCTION_INFO_V1(recsys_ann_metric_ip);
PG_FUNCTION_INFO_V1(recsys_ann_metric_l2);
PG_FUNCTION_INFO_V1(recsys_ann_metric_cosine);

static const AnnMetric metric_ip = {ANN_IP};
static const AnnMetric metric_l2 = {ANN_L2};
static const AnnMetric metric_cosine = {ANN_COSINE};

Datum
recsys_ann_metric_ip(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(&metric_ip);
}

Datum
recsys_ann_metric_l2(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(&metric_l2);
}

Datum
recsys_ann_metric_cosine(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(&metric_cosine);
}

const AnnMetric *
ann_metric(Relation index)
{
	FmgrInfo *proc = index_getprocinfo(index, 1, ANN_METRIC_PROC);

	return (const AnnMetric *) DatumGetPointer(
		FunctionCall1Coll(proc, InvalidOid, PointerGetDatum(NULL)));
}

/* the column's declared dimension, of its domain if it has one; or -1 */
int
ann_declared_dim(Relation index)
{
	Form_pg_attribute column = TupleDescAttr(RelationGetDescr(index), 0);
	int32 typmod = column->atttypmod;

	getBaseTypeAndTypmod(column->atttypid, &typmod);
	return typmod;
}

int
ann_index_dim(Relation index)
{
	int dim = ann_declared_dim(index);

	if (dim < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("column does not have dimensions"),
				 errhint("Declare it as vector(n), or index the expression "
						 "(column::vector(n)).")));
	if (dim > ANN_MAX_DIM)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("column cannot have more than %d dimensions for an "
						"ann index",
						ANN_MAX_DIM),
				 errhint("Index the first coordinates, ((subvector(column, 1, "
						 "%d)::vector(%d))), or store shorter vectors.",
						 ANN_MAX_DIM, ANN_MAX_DIM)));
	return dim;
}

/* the coordinates of a datum; *copy is what to pfree, or NULL */
const float *
ann_datum(Datum value, int dim, Pointer *copy)
{
	Vector *v = vector_from_datum(value);

	*copy = (Pointer) v == DatumGetPointer(value) ? NULL : (Pointer) v;
	if (v->dim != dim)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("expected %d dimensions, not %d", dim, (int) v->dim)));
	return v->x;
}

bool
ann_prepare(AnnMetricKind metric, const float *x, int dim, float *out)
{
	double norm = sqrt(vec_squares_double(x, dim));

	if (metric != ANN_COSINE)
	{
		memcpy(out, x, sizeof(float) * dim);
		return norm <= LENGTH_MAX;
	}
	for (int i = 0; i < dim; i++)
		out[i] = norm > 0 ? (float) (x[i] / norm) : 0;
	/* the operator's float32 sums know less of very long and short rows */
	return norm > 1e-12 && norm <= LENGTH_MAX;
}

/* a row without bounds: every scan looks at its exact value */
void
ann_encode_odd(const CodeShape *shape, CodeRow *row)
{
	memset(row->codes, 128, code_row_size(shape));
	row->head_scale = row->sign_scale = row->tail_scale = row->sq = 0;
	row->rest = row->error = INFINITY;
}
