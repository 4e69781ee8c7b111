/*
 * train_features.c
 *		Reading a table of users' or items' features.
 *
 * One row a key, found by the column that is called as the ratings' key
 * column, or by a usual name. Keys that the ratings do not have join them:
 * they get vectors from their features alone. What a column's values become
 * is decided afterwards (train_encode.c), when all have been seen; here
 * they are only collected, categories as numbers of a dictionary.
 */
#include "postgres.h"

#include <math.h>

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "pg/pg_compat.h"
#include "pg/pg_module.h"
#include "store/store_catalog.h"
#include "train/train.h"
#include "type/vector.h"

#define LEAVE_OUT "user_features and item_features say which columns are taken."

typedef struct FeatureReceiver
{
	TrainReceiver to;
	MemoryContext context; /* of what is kept */
	MemoryContext scratch;
	TrainKeys *keys;
	TrainFeature *feature;
	int n_features;
	int32 n_seen;
	bool *seen; /* (n_seen) keys that had a row */
	Oid key_type;
	int64 repeated;
	int64 beyond; /* keys that the ratings' type cannot hold */
	int64 count;
} FeatureReceiver;

/* ---- which columns ---- */

static bool
is_category_type(Oid type)
{
	return type == INT2OID || type == INT4OID || type == INT8OID ||
		   type == TEXTOID || type == VARCHAROID || type == BPCHAROID ||
		   type == UUIDOID || type == BOOLOID || type_is_enum(type);
}

/* false when no feature can come of the type */
static bool
set_kind(TrainFeature *f, Oid type)
{
	Oid element = get_element_type(type);

	f->column = type;
	f->is_array = OidIsValid(element);
	f->type = getBaseType(f->is_array ? element : type);
	if (f->type == store_vector_type() && !f->is_array)
		f->out.kind = FEATURE_VECTOR;
	else if (is_category_type(f->type))
		f->out.kind = FEATURE_CATEGORY;
	else if (f->type == FLOAT4OID || f->type == FLOAT8OID)
		f->out.kind = f->is_array ? FEATURE_VECTOR : FEATURE_NUMBER;
	else if (f->is_array)
		return false;
	else if (f->type == NUMERICOID)
		f->out.kind = FEATURE_NUMBER;
	else if (f->type == DATEOID || f->type == TIMESTAMPOID)
		f->out.kind = FEATURE_TIMESTAMP;
	else if (f->type == TIMESTAMPTZOID)
		f->out.kind = FEATURE_TIMESTAMPTZ;
	else
		return false;
	return true;
}

static bool
has_codes(const TrainFeature *f)
{
	return f->out.kind == FEATURE_CATEGORY;
}

static void
prepare(TrainFeature *f)
{
	TrainColumn column = {.name = f->name, .type = INT8OID};

	if (f->type == TEXTOID || f->type == VARCHAROID || f->type == BPCHAROID)
		column.type = TEXTOID;
	else if (f->type == UUIDOID)
		column.type = UUIDOID;
	f->out.name = NameStr(f->name);
	f->capacity = 1024;
	f->row = palloc(1024 * sizeof(int32));
	if (has_codes(f))
	{
		f->code = palloc(1024 * sizeof(int32));
		train_keys_init(&f->dictionary, &column);
	}
	else if (f->out.kind != FEATURE_VECTOR)
		f->value = palloc(1024 * sizeof(double));
}

TrainFeature *
train_features_named(Oid table, const NameData *names, int n_names)
{
	TrainFeature *f = palloc0(sizeof(TrainFeature) * (size_t) n_names);

	for (int i = 0; i < n_names; i++)
	{
		TrainColumn column;

		train_column_find(table, NameStr(names[i]), &column);
		f[i].name = names[i];
		f[i].chosen = true;
		if (!set_kind(&f[i], column.type))
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("column \"%s\" of type %s cannot be a feature",
							NameStr(names[i]), format_type_be(column.type)),
					 errhint("Features may be numbers, texts, booleans, "
							 "enums, uuids, dates, timestamps, vectors, or "
							 "arrays of numbers or texts.")));
		prepare(&f[i]);
	}
	return f;
}

/* every column but the key that can be one */
static TrainFeature *
all_features(Oid table, const char *key, int *n)
{
	Relation rel = table_open(table, AccessShareLock);
	TupleDesc desc = RelationGetDescr(rel);
	TrainFeature *f = palloc0(sizeof(TrainFeature) * TRAIN_MAX_FEATURES);

	*n = 0;
	for (int i = 0; i < desc->natts && *n < TRAIN_MAX_FEATURES; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attisdropped || strcmp(NameStr(att->attname), key) == 0)
			continue;
		f[*n].name = att->attname;
		if (set_kind(&f[*n], getBaseType(att->atttypid)))
			prepare(&f[(*n)++]);
		else
			train_tell(NOTICE,
					   psprintf("column \"%s\" of type %s is no feature",
								NameStr(att->attname),
								format_type_be(att->atttypid)),
					   NULL, NULL);
	}
	table_close(rel, NoLock);
	return f;
}

/* returns the base type of the key */
static Oid
check_key(Oid table, const char *name, const TrainKeys *keys)
{
	TrainColumn column;

	train_column_find(table, name, &column);
	if (train_key_kind(&column) != keys->kind)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of \"%s\" is of type %s, but the "
						"ratings' keys are of type %s",
						name, get_rel_name(table), format_type_be(column.type),
						format_type_be(keys->type)),
				 errhint("Give a view of \"%s\" that casts it.",
						 get_rel_name(table))));
	return column.type;
}

static const char *
find_key(Oid table, const char *name, bool users)
{
	const char *key = store_feature_key(table, name, users);

	if (key == NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("could not find the key column of \"%s\"",
					get_rel_name(table)),
			 errhint("Make it the table's primary key, or call it \"%s\" as "
					 "in the ratings.",
					 name)));
	return key;
}

/* ---- rows ---- */

static void
grow(TrainFeature *f)
{
	Size n = (Size) f->capacity * 2;

	f->row = repalloc_huge(f->row, n * sizeof(int32));
	if (has_codes(f))
		f->code = repalloc_huge(f->code, n * sizeof(int32));
	else if (f->out.kind != FEATURE_VECTOR)
		f->value = repalloc_huge(f->value, n * sizeof(double));
	else if (f->vector != NULL)
		f->vector = repalloc_huge(f->vector, n * (Size) f->dim * sizeof(float));
	f->capacity = (int64) n;
}

/*
 * The place of a new entry of this row. The arrays may move: take their
 * addresses after the call only.
 */
static int64
append(TrainFeature *f, int32 row)
{
	if (f->n == f->capacity)
		grow(f);
	f->row[f->n] = row;
	return f->n++;
}

static void
add_code(TrainFeature *f, int32 row, int32 code)
{
	int64 at = append(f, row);

	f->code[at] = code;
}

/* the text, cut where it is longer than texts that are looked at */
static Datum
short_text(Datum value)
{
	struct varlena *v = PG_DETOAST_DATUM_PACKED(value);
	int size = (int) VARSIZE_ANY_EXHDR(v);

	if (size > FEATURE_MAX_TEXT)
		v = (struct varlena *) cstring_to_text_with_len(
			VARDATA_ANY(v),
			pg_mbcliplen(VARDATA_ANY(v), size, FEATURE_MAX_TEXT));
	return PointerGetDatum(v);
}

static int32
category_of(TrainFeature *f, Datum value)
{
	switch (f->type)
	{
		case INT2OID:
			return train_keys_add(&f->dictionary,
								  Int64GetDatum(DatumGetInt16(value)));
		case INT4OID:
			return train_keys_add(&f->dictionary,
								  Int64GetDatum(DatumGetInt32(value)));
		case INT8OID:
		case UUIDOID:
			return train_keys_add(&f->dictionary, value);
		case BOOLOID:
			return train_keys_add(&f->dictionary,
								  Int64GetDatum(DatumGetBool(value)));
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
			return train_keys_add(&f->dictionary, short_text(value));
		default: /* an enum's value */
			return train_keys_add(&f->dictionary,
								  Int64GetDatum(DatumGetObjectId(value)));
	}
}

static int
array_elements(Datum value, Datum **elements, bool **nulls)
{
	ArrayType *array = DatumGetArrayTypeP(value);
	int n;
	int16 len;
	bool byval;
	char align;

	get_typlenbyvalalign(ARR_ELEMTYPE(array), &len, &byval, &align);
	deconstruct_array(array, ARR_ELEMTYPE(array), len, byval, align, elements,
					  nulls, &n);
	return n;
}

static void
add_array(TrainFeature *f, int32 row, Datum value)
{
	Datum *elements;
	bool *nulls;
	int n = array_elements(value, &elements, &nulls);

	for (int i = 0; i < n; i++)
		if (!nulls[i])
			add_code(f, row, category_of(f, elements[i]));
}

static double
number_of(Datum value, Oid type)
{
	switch (type)
	{
		case FLOAT4OID:
			return DatumGetFloat4(value);
		case FLOAT8OID:
			return DatumGetFloat8(value);
		case DATEOID:
			return date2timestamp_no_overflow(DatumGetDateADT(value));
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			if (TIMESTAMP_NOT_FINITE(DatumGetTimestampTz(value)))
				return TIMESTAMP_IS_NOBEGIN(DatumGetTimestampTz(value))
						   ? -INFINITY
						   : INFINITY;
			return (double) DatumGetTimestampTz(value);
		default:
			return DatumGetFloat8(
				DirectFunctionCall1(numeric_float8_no_overflow, value));
	}
}

static void
add_coordinates(TrainFeature *f, int32 row, const float *x, int dim,
				MemoryContext context)
{
	int64 at;

	if (f->dim == 0)
	{
		f->dim = dim;
		f->vector = MemoryContextAllocHuge(
			context, (Size) f->capacity * (Size) f->dim * sizeof(float));
	}
	if (dim != f->dim)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("vectors of feature \"%s\" differ in dimension: %d "
						"and %d",
						NameStr(f->name), f->dim, dim),
				 errhint(LEAVE_OUT)));
	at = append(f, row);
	memcpy(f->vector + at * f->dim, x, (Size) f->dim * sizeof(float));
}

/* an array of numbers: what is no finite number counts as 0 */
static void
add_numbers(TrainFeature *f, int32 row, Datum value, MemoryContext context)
{
	Datum *elements;
	bool *nulls;
	int n = array_elements(value, &elements, &nulls);
	float *x = palloc(sizeof(float) * (Size) Max(n, 1));

	if (n > VECTOR_MAX_DIM)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("arrays of feature \"%s\" may have at most %d "
							   "elements, not %d",
							   NameStr(f->name), VECTOR_MAX_DIM, n),
						errhint(LEAVE_OUT)));
	for (int i = 0; i < n; i++)
	{
		x[i] = nulls[i] ? 0 : (float) number_of(elements[i], f->type);
		if (!isfinite(x[i]))
			x[i] = 0;
	}
	if (n > 0)
		add_coordinates(f, row, x, n, context);
}

void
train_feature_add(TrainFeature *f, int32 row, Datum value,
				  MemoryContext context)
{
	Vector *v;
	double x;
	int64 at;

	if (has_codes(f) && f->is_array)
		add_array(f, row, value);
	else if (has_codes(f))
		add_code(f, row, category_of(f, value));
	else if (f->out.kind == FEATURE_VECTOR && f->is_array)
		add_numbers(f, row, value, context);
	else if (f->out.kind == FEATURE_VECTOR)
	{
		v = DatumGetVector(value);
		add_coordinates(f, row, v->x, v->dim, context);
	}
	else
	{
		x = number_of(value, f->type);
		/* NaN says as little as NULL; infinities are the last bucket */
		if (isnan(x))
			return;
		at = append(f, row);
		f->value[at] = x;
	}
}

/* a second row of a key is not taken */
static bool
first_row(FeatureReceiver *r, int32 number)
{
	if (number >= r->n_seen)
	{
		int32 n = Max(r->keys->capacity, number + 1);

		r->seen = repalloc_huge(r->seen, (Size) n);
		memset(r->seen + r->n_seen, 0, (Size) (n - r->n_seen));
		r->n_seen = n;
	}
	if (r->seen[number])
	{
		r->repeated++;
		return false;
	}
	r->seen[number] = true;
	return true;
}

/* an integer of the table's width as one of the ratings'; false: it has none */
static bool
take_key(const FeatureReceiver *r, Datum *key)
{
	int64 x;

	if (r->keys->kind != TRAIN_KEY_INT || r->key_type == r->keys->type)
		return true;
	x = r->key_type == INT8OID   ? DatumGetInt64(*key)
		: r->key_type == INT4OID ? DatumGetInt32(*key)
								 : DatumGetInt16(*key);
	if ((r->keys->type == INT4OID && x != (int32) x) ||
		(r->keys->type == INT2OID && x != (int16) x))
		return false;
	*key = r->keys->type == INT8OID   ? Int64GetDatum(x)
		   : r->keys->type == INT4OID ? Int32GetDatum((int32) x)
									  : Int16GetDatum((int16) x);
	return true;
}

static void
take_row(FeatureReceiver *r, TupleTableSlot *slot)
{
	Datum key = slot->tts_values[0];
	int32 number;

	if (slot->tts_isnull[0])
		return;
	if (!take_key(r, &key))
	{
		r->beyond++;
		return;
	}
	number = train_keys_add(r->keys, key);
	if (!first_row(r, number))
		return;
	for (int i = 0; i < r->n_features; i++)
		if (!slot->tts_isnull[i + 1])
			train_feature_add(&r->feature[i], number, slot->tts_values[i + 1],
							  r->context);
}

/* what has been collected, against the setting */
static void
check_memory(const FeatureReceiver *r)
{
	Size bytes = 0;

	for (int i = 0; i < r->n_features; i++)
	{
		const TrainFeature *f = &r->feature[i];
		Size entry = sizeof(int32);

		if (has_codes(f))
			entry += sizeof(int32);
		else if (f->out.kind != FEATURE_VECTOR)
			entry += sizeof(double);
		else
			entry += (Size) f->dim * sizeof(float);
		bytes += (Size) f->capacity * entry;
		if (has_codes(f))
			bytes += train_keys_memory(&f->dictionary);
	}
	if (bytes / 1024 > (Size) recsys_train_memory)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("the features do not fit into recsys.train_memory"),
				 errdetail("After %lld rows %zu MB are needed, and %d MB "
						   "allowed.",
						   (long long) r->count, bytes / (1024 * 1024),
						   recsys_train_memory / 1024),
				 errhint("Raise recsys.train_memory, or take fewer columns: "
						 "user_features, item_features.")));
}

static bool
receive_row(TupleTableSlot *slot, DestReceiver *self)
{
	FeatureReceiver *r = (FeatureReceiver *) self;
	MemoryContext old = MemoryContextSwitchTo(r->scratch);

	slot_getallattrs(slot);
	take_row(r, slot);
	if ((++r->count & 63) == 0)
	{
		check_memory(r);
		MemoryContextReset(r->scratch);
		CHECK_FOR_INTERRUPTS();
	}
	MemoryContextSwitchTo(old);
	return true;
}

static char *
select_text(Oid table, const char *key, const TrainFeature *f, int n)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT %s", quote_identifier(key));
	for (int i = 0; i < n; i++)
		appendStringInfo(&sql, ", %s", quote_identifier(NameStr(f[i].name)));
	appendStringInfo(
		&sql, " FROM %s",
		quote_qualified_identifier(get_namespace_name(get_rel_namespace(table)),
								   get_rel_name(table)));
	return sql.data;
}

/* no names: every column that can be a feature. Memory: current context. */
TrainFeature *
train_features_read(Oid table, const char *key_name, TrainKeys *keys,
					const NameData *names, int n_names, bool users,
					int *n_features)
{
	const char *key = find_key(table, key_name, users);
	FeatureReceiver r = {.context = CurrentMemoryContext, .keys = keys};

	r.key_type = check_key(table, key, keys);
	r.n_features = n_names;
	r.feature = n_names > 0 ? train_features_named(table, names, n_names)
							: all_features(table, key, &r.n_features);
	r.seen = palloc0((Size) keys->capacity);
	r.n_seen = keys->capacity;
	r.scratch = AllocSetContextCreate(CurrentMemoryContext, "recsys feature",
									  ALLOCSET_DEFAULT_SIZES);
	r.to.pub.receiveSlot = receive_row;
	train_expect(&r.to, r.key_type);
	for (int i = 0; i < r.n_features; i++)
		train_expect(&r.to, r.feature[i].column);
	train_select(select_text(table, key, r.feature, r.n_features), &r.to);
	MemoryContextDelete(r.scratch);
	if (r.repeated > 0)
		train_tell(NOTICE,
				   psprintf("%lld rows of \"%s\" repeat a key and were not "
							"taken",
							(long long) r.repeated, get_rel_name(table)),
				   NULL, NULL);
	if (r.beyond > 0)
		train_tell(NOTICE,
				   psprintf("%lld rows of \"%s\" have a key that is beyond "
							"%s, the type of the ratings' keys, and were not "
							"taken",
							(long long) r.beyond, get_rel_name(table),
							format_type_be(keys->type)),
				   NULL, NULL);
	*n_features = r.n_features;
	return r.feature;
}
