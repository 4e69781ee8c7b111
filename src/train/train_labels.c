/*
 * train_labels.c
 *		The categories of one feature, from the values that were read.
 *
 *	split	a text that consists of parts ('Action|Comedy') or, where nearly
 *			every row has a text of its own (a title), of words that rows
 *			share, becomes several entries
 *	choose	a column for every value that at least MIN_ROWS entries have, up
 *			to MAX_CATEGORIES of the most frequent, one for all others
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "train/train.h"

#define MIN_ROWS 2
#define MAX_CATEGORIES 20000

static void *
alloc_huge(Size n, Size size)
{
	return MemoryContextAllocHuge(CurrentMemoryContext, Max(n, 1) * size);
}

/* a value of the dictionary that is a text */
static const char *
text_at(const TrainKeys *d, int32 code, const char **end)
{
	*end = d->bytes + d->offset[code + 1];
	return d->bytes + d->offset[code];
}

/* ---- split ---- */

/* parts of all values of a dictionary; delimiter 0: words */
typedef struct Parts
{
	TrainKeys dictionary;
	int64 *ptr;     /* (values + 1) */
	int32 *code;    /* (ptr[values]) */
	int32 several;  /* values with more than one part */
	int64 capacity; /* of code */
} Parts;

static bool
next_part(const char **at, const char *end, char delimiter, char *word,
		  const char **part, size_t *size)
{
	*part = word;
	return delimiter != 0 ? feature_next_part(at, end, delimiter, part, size)
						  : feature_next_word(at, end, word, size);
}

static void
add_part(Parts *p, int64 at, const char *part, size_t size)
{
	struct varlena *v = palloc(VARHDRSZ + size);

	SET_VARSIZE(v, VARHDRSZ + size);
	memcpy(VARDATA(v), part, size);
	if (at == p->capacity)
	{
		p->capacity *= 2;
		p->code = repalloc_huge(p->code, (Size) p->capacity * sizeof(*p->code));
	}
	p->code[at] = train_keys_add(&p->dictionary, PointerGetDatum(v));
	pfree(v);
}

static void
take_apart(const TrainFeature *f, char delimiter, Parts *p)
{
	const TrainKeys *d = &f->dictionary;
	TrainColumn column = {.name = f->name, .type = TEXTOID};
	char word[FEATURE_MAX_WORD];
	int64 n = 0;

	memset(p, 0, sizeof(*p));
	train_keys_init(&p->dictionary, &column);
	p->capacity = Max((int64) d->n * 2, 16);
	p->ptr = alloc_huge((Size) d->n + 1, sizeof(*p->ptr));
	p->code = alloc_huge((Size) p->capacity, sizeof(*p->code));
	for (int32 v = 0; v < d->n; v++)
	{
		const char *end;
		const char *at = text_at(d, v, &end);
		const char *part;
		size_t size;

		if (v % 1024 == 0)
			CHECK_FOR_INTERRUPTS();
		p->ptr[v] = n;
		while (next_part(&at, end, delimiter, word, &part, &size))
			add_part(p, n++, part, size);
		if (n > p->ptr[v] + 1)
			p->several++;
	}
	p->ptr[d->n] = n;
}

static void
free_parts(Parts *p)
{
	TrainKeys *d = &p->dictionary;

	pfree(p->ptr);
	pfree(p->code);
	pfree(d->bytes);
	pfree(d->offset);
	pfree(d->slots);
}

/* entries of values become entries of their parts */
static void
replace_values(TrainFeature *f, Parts *p)
{
	int64 n = 0;
	int32 *row;
	int32 *code;

	for (int64 i = 0; i < f->n; i++)
		n += p->ptr[f->code[i] + 1] - p->ptr[f->code[i]];
	row = alloc_huge((Size) n, sizeof(*row));
	code = alloc_huge((Size) n, sizeof(*code));
	n = 0;
	for (int64 i = 0; i < f->n; i++)
	{
		if (i % TRAIN_CHUNK == 0)
			CHECK_FOR_INTERRUPTS();
		for (int64 k = p->ptr[f->code[i]]; k < p->ptr[f->code[i] + 1]; k++)
		{
			row[n] = f->row[i];
			code[n++] = p->code[k];
		}
	}
	pfree(f->row);
	pfree(f->code);
	f->row = row;
	f->code = code;
	f->n = f->capacity = n;
	f->dictionary = p->dictionary;
}

/* how many values have the delimiter between two parts */
static int32
count_delimited(const TrainKeys *d, char delimiter)
{
	int32 n = 0;

	for (int32 v = 0; v < d->n; v++)
	{
		const char *end;
		const char *at = text_at(d, v, &end);

		n += memchr(at, delimiter, (size_t) (end - at)) != NULL;
	}
	return n;
}

/* values are combinations of fewer parts */
static bool
split_parts(TrainFeature *f, char delimiter)
{
	int32 n = f->dictionary.n;
	Parts p;

	if (count_delimited(&f->dictionary, delimiter) < Max(n / 10, 1))
		return false;
	take_apart(f, delimiter, &p);
	/* a comma may as well be a mark in a sentence */
	if (p.several == 0 || p.dictionary.n >= (delimiter == '|' ? n : n / 2))
	{
		free_parts(&p);
		return false;
	}
	f->out.delimiter = delimiter;
	replace_values(f, &p);
	return true;
}

/* texts of several words that others have, too */
static void
split_words(TrainFeature *f)
{
	int32 n = f->dictionary.n;
	Parts p;

	if (n <= 20 || n <= f->n / 2)
		return;
	take_apart(f, 0, &p);
	if (p.several < n / 2 || p.dictionary.n > p.ptr[n] * 3 / 4)
	{
		free_parts(&p);
		return;
	}
	f->out.kind = FEATURE_WORDS;
	replace_values(f, &p);
}

void
train_labels_split(TrainFeature *f)
{
	bool is_text =
		f->type == TEXTOID || f->type == VARCHAROID || f->type == BPCHAROID;

	if (!is_text || f->is_array || f->dictionary.n < 2)
		return;
	if (!split_parts(f, '|') && !split_parts(f, ';') && !split_parts(f, ','))
		split_words(f);
}

/* ---- choose ---- */

/* as the value is written; longer than FEATURE_MAX_LABEL: NULL */
static char *
label_of(const TrainFeature *f, int32 code)
{
	const TrainKeys *d = &f->dictionary;
	const char *end;
	const char *at;

	if (d->kind == TRAIN_KEY_UUID)
		return DatumGetCString(DirectFunctionCall1(
			uuid_out, PointerGetDatum(d->bytes + d->offset[code])));
	if (d->kind == TRAIN_KEY_TEXT)
	{
		at = text_at(d, code, &end);
		return end - at > FEATURE_MAX_LABEL ? NULL
											: pnstrdup(at, (Size) (end - at));
	}
	if (f->type == BOOLOID)
		return pstrdup(d->ints[code] ? "true" : "false");
	if (f->type == INT2OID || f->type == INT4OID || f->type == INT8OID)
		return psprintf("%lld", (long long) d->ints[code]);
	return DatumGetCString(
		DirectFunctionCall1(enum_out, ObjectIdGetDatum((Oid) d->ints[code])));
}

/* the least count that leaves at most MAX_CATEGORIES values */
static int32
least_count(const int32 *count, int32 n)
{
	int32 *of_count = palloc0(sizeof(int32) * 1025);
	int32 left = 0;
	int32 least = MIN_ROWS;

	for (int32 i = 0; i < n; i++)
		of_count[Min(count[i], 1024)]++;
	for (int32 c = 1024; c >= MIN_ROWS; c--)
	{
		left += of_count[c];
		if (left > MAX_CATEGORIES)
		{
			least = c + 1;
			break;
		}
	}
	pfree(of_count);
	return least;
}

void
train_labels_choose(TrainFeature *f)
{
	TrainKeys *d = &f->dictionary;
	StoreFeature *out = &f->out;
	int32 *count = alloc_huge((Size) d->n, sizeof(int32));
	int32 *column = alloc_huge((Size) d->n, sizeof(int32));
	int32 least;
	bool rest = false;

	train_keys_sort(d);
	memset(count, 0, sizeof(int32) * (Size) d->n);
	for (int64 i = 0; i < f->n; i++)
	{
		if (i % TRAIN_CHUNK == 0)
			CHECK_FOR_INTERRUPTS();
		count[f->code[i]]++;
	}
	least = least_count(count, d->n);
	out->label = alloc_huge((Size) Min(d->n, MAX_CATEGORIES), sizeof(char *));
	for (int32 i = 0; i < d->n; i++)
	{
		int32 code = d->order[i];
		char *label = count[code] >= least && out->n_labels < MAX_CATEGORIES
						  ? label_of(f, code)
						  : NULL;

		column[code] = label != NULL ? out->n_labels : -1;
		if (label != NULL)
			out->label[out->n_labels++] = label;
		else
			rest = true;
	}
	for (int64 i = 0; i < f->n; i++)
	{
		int32 c = column[f->code[i]];

		if (i % TRAIN_CHUNK == 0)
			CHECK_FOR_INTERRUPTS();
		f->code[i] = c >= 0 ? c : out->n_labels;
	}
	out->n_cols = out->n_labels + (rest ? 1 : 0);
	pfree(count);
	pfree(column);
}
