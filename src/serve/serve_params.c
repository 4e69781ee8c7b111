/*
 * serve_params.c
 *		The parameters of a model, read from its param table.
 *
 * Anybody with rights on the table can have written there, so each array's
 * length is compared with its shape; what the shapes mean is checked by
 * predict_init.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "serve/serve.h"

static void
refuse(ServeTable *table, const char *name, const char *problem)
{
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("parameter \"%s\" in table \"%s\" %s", name,
						   RelationGetRelationName(table->rel), problem),
					errhint("Train the model again with recsys_train.")));
}

static ArrayType *
array_of(HeapTuple tuple, TupleDesc desc, int column, Oid type)
{
	bool isnull;
	Datum datum = SPI_getbinval(tuple, desc, column, &isnull);
	ArrayType *array;

	if (isnull || SPI_gettypeid(desc, column) != get_array_type(type))
		return NULL;
	array = DatumGetArrayTypeP(datum);
	return ARR_NDIM(array) > 1 || array_contains_nulls(array) ? NULL : array;
}

static int
length(ArrayType *array)
{
	return ARR_NDIM(array) == 0 ? 0 : ARR_DIMS(array)[0];
}

static void
read_param(ServeTable *table, HeapTuple tuple, TupleDesc desc, PredictParam *p,
		   MemoryContext context, Size *bytes)
{
	char *name = SPI_getvalue(tuple, desc, 1);
	ArrayType *shape = array_of(tuple, desc, 2, INT4OID);
	ArrayType *value = array_of(tuple, desc, 3, FLOAT4OID);
	float *data;
	int64 product = 1;

	if (name == NULL || SPI_gettypeid(desc, 1) != TEXTOID || shape == NULL ||
		value == NULL)
		refuse(table, name != NULL ? name : "", "is no array of numbers");
	p->ndim = length(shape);
	if (p->ndim > (int) lengthof(p->shape))
		refuse(table, name, "has too many dimensions");
	for (int i = 0; i < p->ndim; i++)
	{
		p->shape[i] = ((int *) ARR_DATA_PTR(shape))[i];
		if (p->shape[i] < 0 ||
			(p->shape[i] > 0 && product > PG_INT32_MAX / p->shape[i]))
			refuse(table, name, "has an impossible shape");
		product *= p->shape[i];
	}
	if (product != length(value))
		refuse(table, name, "does not have the length that its shape says");
	data =
		MemoryContextAllocHuge(context, sizeof(float) * (Size) Max(product, 1));
	memcpy(data, ARR_DATA_PTR(value), sizeof(float) * (Size) product);
	p->data = data;
	p->name = MemoryContextStrdup(context, name);
	*bytes += sizeof(float) * (Size) product + sizeof(*p) + NAMEDATALEN;
}

/* rows that meet a condition on name, of which $1 is text[] when not NULL */
static ServeParams *
read_params(ServeTable *table, const char *condition, ArrayType *names,
			Size limit)
{
	MemoryContext context = CurrentMemoryContext;
	ServeParams *params = palloc0(sizeof(ServeParams));
	Oid type = TEXTARRAYOID;
	Datum value = PointerGetDatum(names);
	char *query =
		psprintf("SELECT name, shape, value FROM %s WHERE %s",
				 serve_table_name(RelationGetRelid(table->rel)), condition);

	params->bytes = sizeof(ServeParams);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute_with_args(query, names != NULL ? 1 : 0, &type, &value, NULL,
							  true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the parameters of a model");
	params->n = (int) Min(SPI_processed, (uint64) PG_INT32_MAX);
	params->params = MemoryContextAllocHuge(
		context, sizeof(PredictParam) * (Size) Max(params->n, 1));
	for (int i = 0; i < params->n && params->bytes <= limit; i++)
		read_param(table, SPI_tuptable->vals[i], SPI_tuptable->tupdesc,
				   &params->params[i], context, &params->bytes);
	SPI_finish();
	return params->bytes <= limit ? params : NULL;
}

/* all but what was learnt of features, which can be much */
ServeParams *
serve_params_load(ServeTable *table, Size limit)
{
	return read_params(table,
					   "NOT pg_catalog.starts_with(name, '" STORE_FEATURE_PREFIX
					   "') AND NOT pg_catalog.starts_with(name, "
					   "'" STORE_VALUE_PREFIX "')",
					   NULL, limit);
}

ServeParams *
serve_params_features(ServeTable *table, const char *side)
{
	return read_params(
		table,
		psprintf("name OPERATOR(pg_catalog.=) '" STORE_FEATURE_PREFIX
				 "%s' OR pg_catalog.starts_with(name, '" STORE_FEATURE_PREFIX
				 "%s/') AND name COLLATE pg_catalog.\"C\" "
				 "OPERATOR(pg_catalog.>) '" STORE_FEATURE_PREFIX
				 "' AND name COLLATE pg_catalog.\"C\" "
				 "OPERATOR(pg_catalog.<) '" STORE_VALUE_PREFIX "'",
				 side, side),
		NULL, MaxAllocHugeSize);
}

ServeParams *
serve_params_named(ServeTable *table, char **names, int n)
{
	Datum *d = palloc(sizeof(Datum) * (Size) Max(n, 1));

	for (int i = 0; i < n; i++)
		d[i] = CStringGetTextDatum(names[i]);
	return read_params(table, "name OPERATOR(pg_catalog.=) ANY ($1)",
					   construct_array(d, n, TEXTOID, -1, false, TYPALIGN_INT),
					   MaxAllocHugeSize);
}
