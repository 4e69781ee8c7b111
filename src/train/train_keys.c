/*
 * train_keys.c
 *		Distinct keys of users or items, numbered.
 *
 * A hash table with open addressing over the keys in the order of their
 * appearance; keys are compared as bytes of their canonical binary form,
 * never as text. Afterwards the keys are put in order (numbers by value,
 * text and uuid by bytes), so that the numbers do not depend on the order
 * of the rows.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/uuid.h"

#include "train/train.h"

#define FIRST_KEYS 1024

/* one key, unpacked: a number, or bytes */
typedef struct KeyValue
{
	int64 number;
	const char *bytes;
	size_t size;
} KeyValue;

void
train_keys_init(TrainKeys *keys, const TrainColumn *column)
{
	memset(keys, 0, sizeof(*keys));
	keys->context = CurrentMemoryContext;
	keys->kind = train_key_kind(column);
	keys->type = column->type;
	keys->collation = column->collation;
	keys->capacity = FIRST_KEYS;
	keys->last = -1;
	if (keys->kind == TRAIN_KEY_INT)
		keys->ints = palloc(FIRST_KEYS * sizeof(int64));
	else
	{
		keys->offset = palloc0((FIRST_KEYS + 1) * sizeof(size_t));
		keys->bytes_size = FIRST_KEYS * 16;
		keys->bytes = palloc(keys->bytes_size);
	}
	keys->n_slots = FIRST_KEYS * 2;
	keys->slots = palloc0(keys->n_slots * sizeof(int32));
}

size_t
train_keys_memory(const TrainKeys *keys)
{
	return (size_t) keys->capacity * 8 + keys->bytes_size +
		   (size_t) keys->n_slots * 4;
}

static void
unpack_text(Datum value, KeyValue *key)
{
	struct varlena *v = PG_DETOAST_DATUM_PACKED(value);

	key->bytes = VARDATA_ANY(v);
	key->size = VARSIZE_ANY_EXHDR(v);
	if (key->size > TRAIN_MAX_KEY)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("key of %zu bytes is too long", key->size),
				 errdetail("Keys of users and items may have up to %d bytes.",
						   TRAIN_MAX_KEY)));
}

static void
unpack(const TrainKeys *keys, Datum value, KeyValue *key)
{
	switch (keys->kind)
	{
		case TRAIN_KEY_INT:
			key->number = keys->type == INT8OID   ? DatumGetInt64(value)
						  : keys->type == INT4OID ? DatumGetInt32(value)
												  : DatumGetInt16(value);
			break;
		case TRAIN_KEY_UUID:
			key->bytes = (const char *) DatumGetUUIDP(value)->data;
			key->size = UUID_LEN;
			break;
		case TRAIN_KEY_TEXT:
			unpack_text(value, key);
			break;
		case TRAIN_KEY_NUMERIC:
			/* the same bytes for 1, 1.0 and 1.00 */
			unpack_text(DirectFunctionCall1(numeric_trim_scale, value), key);
			break;
	}
}

static inline uint32
hash_key(const TrainKeys *keys, const KeyValue *key)
{
	if (keys->kind == TRAIN_KEY_INT)
	{
		uint64 x = (uint64) key->number * UINT64CONST(0x9E3779B97F4A7C15);

		return (uint32) (x >> 32);
	}
	return hash_bytes((const unsigned char *) key->bytes, (int) key->size);
}

static inline bool
same_key(const TrainKeys *keys, int32 number, const KeyValue *key)
{
	size_t from;

	if (keys->kind == TRAIN_KEY_INT)
		return keys->ints[number] == key->number;
	from = keys->offset[number];
	return keys->offset[number + 1] - from == key->size &&
		   memcmp(keys->bytes + from, key->bytes, key->size) == 0;
}

static void
stored_key(const TrainKeys *keys, int32 number, KeyValue *key)
{
	if (keys->kind == TRAIN_KEY_INT)
	{
		key->number = keys->ints[number];
		return;
	}
	key->bytes = keys->bytes + keys->offset[number];
	key->size = keys->offset[number + 1] - keys->offset[number];
}

static void
grow_slots(TrainKeys *keys)
{
	uint32 mask;

	pfree(keys->slots);
	keys->n_slots *= 2;
	mask = keys->n_slots - 1;
	keys->slots = MemoryContextAllocExtended(
		keys->context, (Size) keys->n_slots * sizeof(int32),
		MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (int32 i = 0; i < keys->n; i++)
	{
		KeyValue key;
		uint32 at;

		stored_key(keys, i, &key);
		at = hash_key(keys, &key) & mask;
		while (keys->slots[at] != 0)
			at = (at + 1) & mask;
		keys->slots[at] = i + 1;
	}
	CHECK_FOR_INTERRUPTS();
}

static void
grow_keys(TrainKeys *keys)
{
	Size n;

	if (keys->n >= (1 << 30))
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("too many distinct keys")));
	keys->capacity *= 2;
	n = (Size) keys->capacity;
	if (keys->kind == TRAIN_KEY_INT)
		keys->ints = repalloc_huge(keys->ints, n * sizeof(int64));
	else
		keys->offset = repalloc_huge(keys->offset, (n + 1) * sizeof(size_t));
	grow_slots(keys);
}

static void
append_key(TrainKeys *keys, const KeyValue *key)
{
	size_t from;

	if (keys->kind == TRAIN_KEY_INT)
	{
		keys->ints[keys->n++] = key->number;
		return;
	}
	from = keys->offset[keys->n];
	if (from + key->size > keys->bytes_size)
	{
		keys->bytes_size = keys->bytes_size * 2 + key->size;
		keys->bytes = repalloc_huge(keys->bytes, keys->bytes_size);
	}
	memcpy(keys->bytes + from, key->bytes, key->size);
	keys->offset[++keys->n] = from + key->size;
}

/* the slot of a key: its own, or the free one where it belongs */
static inline uint32
find_slot(const TrainKeys *keys, const KeyValue *key)
{
	uint32 mask = keys->n_slots - 1;
	uint32 at = hash_key(keys, key) & mask;

	while (keys->slots[at] != 0 && !same_key(keys, keys->slots[at] - 1, key))
		at = (at + 1) & mask;
	return at;
}

/*
 * The number of a key, given to it now if it is new. Leaves garbage in the
 * current memory context when the key is toasted or numeric.
 */
int32
train_keys_add(TrainKeys *keys, Datum value)
{
	KeyValue key = {0};
	uint32 at;

	unpack(keys, value, &key);
	if (keys->last >= 0 && same_key(keys, keys->last, &key))
		return keys->last;
	at = find_slot(keys, &key);
	if (keys->slots[at] == 0)
	{
		if (keys->n == keys->capacity)
		{
			grow_keys(keys);
			at = find_slot(keys, &key);
		}
		append_key(keys, &key);
		keys->slots[at] = keys->n;
	}
	keys->last = keys->slots[at] - 1;
	return keys->last;
}

/* the number of a key that may be there, -1 when it is not */
int32
train_keys_find(TrainKeys *keys, Datum value)
{
	KeyValue key = {0};

	unpack(keys, value, &key);
	return keys->slots[find_slot(keys, &key)] - 1;
}

/* millions of keys take seconds to sort: comparisons look for interrupts */
static int
compare_ints(const void *a, const void *b, void *arg)
{
	const TrainKeys *keys = arg;
	int64 x = keys->ints[*(const int32 *) a];
	int64 y = keys->ints[*(const int32 *) b];

	CHECK_FOR_INTERRUPTS();
	return x < y ? -1 : x > y;
}

static int
compare_bytes(const void *a, const void *b, void *arg)
{
	KeyValue x;
	KeyValue y;
	int c;

	CHECK_FOR_INTERRUPTS();
	stored_key(arg, *(const int32 *) a, &x);
	stored_key(arg, *(const int32 *) b, &y);
	c = memcmp(x.bytes, y.bytes, Min(x.size, y.size));
	return c != 0 ? c : x.size < y.size ? -1 : x.size > y.size;
}

static Datum
varlena_datum(const TrainKeys *keys, int32 number)
{
	KeyValue key;
	struct varlena *v;

	stored_key(keys, number, &key);
	v = palloc(key.size + VARHDRSZ);
	SET_VARSIZE(v, key.size + VARHDRSZ);
	memcpy(VARDATA(v), key.bytes, key.size);
	return PointerGetDatum(v);
}

static int
compare_numerics(const void *a, const void *b, void *arg)
{
	Datum x;
	Datum y;
	int c;

	CHECK_FOR_INTERRUPTS();
	x = varlena_datum(arg, *(const int32 *) a);
	y = varlena_datum(arg, *(const int32 *) b);
	c = DatumGetInt32(DirectFunctionCall2(numeric_cmp, x, y));

	pfree(DatumGetPointer(x));
	pfree(DatumGetPointer(y));
	return c;
}

/* hash and duplicates are done with; now the numbers in key order */
void
train_keys_sort(TrainKeys *keys)
{
	Size bytes = Max((Size) keys->n, 1) * sizeof(int32);

	keys->order = MemoryContextAllocHuge(keys->context, bytes);
	keys->rank = MemoryContextAllocHuge(keys->context, bytes);
	for (int32 i = 0; i < keys->n; i++)
		keys->order[i] = i;
	qsort_arg(keys->order, (size_t) keys->n, sizeof(int32),
			  keys->kind == TRAIN_KEY_INT       ? compare_ints
			  : keys->kind == TRAIN_KEY_NUMERIC ? compare_numerics
												: compare_bytes,
			  keys);
	for (int32 i = 0; i < keys->n; i++)
		keys->rank[keys->order[i]] = i;
}

Datum
train_keys_datum(const TrainKeys *keys, int32 place)
{
	int32 number = keys->order[place];
	KeyValue key;

	if (keys->kind == TRAIN_KEY_UUID)
	{
		stored_key(keys, number, &key);
		return PointerGetDatum(memcpy(palloc(UUID_LEN), key.bytes, UUID_LEN));
	}
	if (keys->kind != TRAIN_KEY_INT)
		return varlena_datum(keys, number);
	switch (keys->type)
	{
		case INT8OID:
			return Int64GetDatum(keys->ints[number]);
		case INT4OID:
			return Int32GetDatum((int32) keys->ints[number]);
		default:
			return Int16GetDatum((int16) keys->ints[number]);
	}
}
