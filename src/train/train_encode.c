/*
 * train_encode.c
 *		Features as a sparse matrix: one row a key, in key order; of the
 *		context one row a rating.
 *
 * model/feature_code.h says what columns a value becomes; here the rules are
 * made of the values that were read. A NULL gives no entry. A column that
 * says nothing (one value for all, or as good as one for each, unless it was
 * asked for) gives no column.
 */
#include "postgres.h"

#include <float.h>
#include <math.h>

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "train/train.h"

/* a whole number with more values than this is a quantity, not a name */
#define MAX_INT_VALUES 100
#define FEW_VALUES 20

static void *
alloc_huge(Size n, Size size)
{
	return MemoryContextAllocHuge(CurrentMemoryContext, Max(n, 1) * size);
}

static int
compare_doubles(const void *a, const void *b)
{
	double x = *(const double *) a;
	double y = *(const double *) b;

	CHECK_FOR_INTERRUPTS();
	return x < y ? -1 : x > y;
}

/*
 * Rising lower bounds of all buckets but the first. Serving reads them as
 * float4, so they are that here.
 */
static void
find_bounds(TrainFeature *f)
{
	StoreFeature *out = &f->out;
	double *sorted = alloc_huge((Size) f->n, sizeof(double));

	memcpy(sorted, f->value, (Size) f->n * sizeof(double));
	qsort(sorted, (size_t) f->n, sizeof(double), compare_doubles);
	out->bound = palloc(sizeof(float) * FEATURE_BUCKETS);
	for (int i = 1; i < FEATURE_BUCKETS && f->n > 0; i++)
	{
		double x = sorted[f->n * i / FEATURE_BUCKETS];
		float bound = x > FLT_MAX    ? FLT_MAX
					  : x < -FLT_MAX ? -FLT_MAX
									 : (float) x;

		if (bound > sorted[0] &&
			(out->n_bounds == 0 || bound > out->bound[out->n_bounds - 1]))
			out->bound[out->n_bounds++] = bound;
	}
	pfree(sorted);
}

static void
encode_numbers(TrainFeature *f)
{
	StoreFeature *out = &f->out;

	find_bounds(f);
	f->code = alloc_huge((Size) f->n, sizeof(int32));
	for (int64 i = 0; i < f->n; i++)
	{
		if (i % TRAIN_CHUNK == 0)
			CHECK_FOR_INTERRUPTS();
		f->code[i] = feature_bucket(out->bound, out->n_bounds, f->value[i]);
	}
	out->n_cols = out->n_bounds + 1;
}

/* the bucket and up to three more entries for each time */
static void
encode_times(TrainFeature *f)
{
	int32 *row = alloc_huge((Size) f->n * 4, sizeof(int32));
	int32 *code = alloc_huge((Size) f->n * 4, sizeof(int32));
	int32 seasons[3];
	int64 n = 0;

	encode_numbers(f);
	for (int64 i = 0; i < f->n; i++)
	{
		if (i % TRAIN_CHUNK == 0)
			CHECK_FOR_INTERRUPTS();
		row[n] = f->row[i];
		code[n++] = f->code[i];
		for (int k = 0, m = feature_seasons(f->value[i], seasons); k < m; k++)
		{
			row[n] = f->row[i];
			code[n++] = f->out.n_cols + seasons[k];
		}
	}
	pfree(f->row);
	pfree(f->code);
	f->row = row;
	f->code = code;
	f->n = n;
	f->out.n_cols += FEATURE_SEASONS;
}

/* a price in cents, a year of many */
static bool
is_quantity(const TrainFeature *f)
{
	bool is_int =
		f->type == INT2OID || f->type == INT4OID || f->type == INT8OID;
	int32 n = f->dictionary.n;

	return is_int && !f->is_array &&
		   (n > MAX_INT_VALUES || (n > FEW_VALUES && n > f->n / 4));
}

static void
numbers_from_ints(TrainFeature *f)
{
	f->value = alloc_huge((Size) f->n, sizeof(double));
	for (int64 i = 0; i < f->n; i++)
	{
		if (i % TRAIN_CHUNK == 0)
			CHECK_FOR_INTERRUPTS();
		f->value[i] = (double) f->dictionary.ints[f->code[i]];
	}
	pfree(f->code);
	f->out.kind = FEATURE_NUMBER;
	encode_numbers(f);
}

static void
encode_vectors(TrainFeature *f)
{
	double sum = 0;
	Size n = (Size) f->n * (Size) f->dim;

	for (Size i = 0; i < n; i++)
	{
		if (i % TRAIN_CHUNK == 0)
			CHECK_FOR_INTERRUPTS();
		sum += (double) f->vector[i] * f->vector[i];
	}
	f->out.scale = sum > 0 ? (float) sqrt((double) f->n / sum) : 0;
	/* coordinates beyond the range of float4: nothing can be said of them */
	f->dropped = f->n == 0 || !(f->out.scale > 0) || f->out.scale > FLT_MAX;
	for (Size i = 0; i < n; i++)
	{
		if (i % TRAIN_CHUNK == 0)
			CHECK_FOR_INTERRUPTS();
		f->vector[i] *= f->out.scale;
	}
	f->out.n_cols = f->dim;
}

/* nearly every row a value of its own: a title, a name */
static bool
is_name(const TrainFeature *f)
{
	return !f->is_array && f->out.kind == FEATURE_CATEGORY &&
		   f->out.delimiter == 0 && f->dictionary.n > 20 &&
		   f->dictionary.n > f->n / 2;
}

static bool
one_value(const TrainFeature *f)
{
	for (int64 i = 1; i < f->n; i++)
		if (f->value[i] != f->value[0])
			return false;
	return true;
}

static void
encode_feature(TrainFeature *f, int32 n_keys)
{
	bool whole = f->n >= n_keys;

	switch (f->out.kind)
	{
		case FEATURE_CATEGORY:
			if (is_quantity(f))
			{
				numbers_from_ints(f);
				break;
			}
			train_labels_split(f);
			f->dropped = !f->chosen && is_name(f);
			if (!f->dropped)
				train_labels_choose(f);
			break;
		case FEATURE_TIMESTAMP:
		case FEATURE_TIMESTAMPTZ:
			f->dropped = whole && one_value(f);
			if (!f->dropped)
				encode_times(f);
			break;
		case FEATURE_VECTOR:
			encode_vectors(f);
			return;
		default:
			encode_numbers(f);
	}
	/* the same for every key */
	if (f->n == 0 || (f->out.n_cols <= 1 && whole))
		f->dropped = true;
}

static int32
place_of(const int32 *rank, int32 row)
{
	return rank != NULL ? rank[row] : row;
}

/* entries of each row; of an array also how many of the row are its own */
static void
count_entries(const TrainFeature *feature, int n_features, int32 n_rows,
			  const int32 *rank, int64 *ptr)
{
	for (int k = 0; k < n_features; k++)
	{
		const TrainFeature *f = &feature[k];
		int width = f->out.kind == FEATURE_VECTOR ? f->dim : 1;

		for (int64 i = 0; i < f->n && !f->dropped; i++)
		{
			if (i % TRAIN_CHUNK == 0)
				CHECK_FOR_INTERRUPTS();
			ptr[place_of(rank, f->row[i]) + 1] += width;
		}
	}
	for (int32 r = 0; r < n_rows; r++)
		ptr[r + 1] += ptr[r];
}

static void
write_vectors(const TrainFeature *f, const int32 *rank, int32 first, int64 *at,
			  TrainFeatures *out)
{
	for (int64 i = 0; i < f->n; i++)
	{
		int32 r = place_of(rank, f->row[i]);

		if (i % 1024 == 0)
			CHECK_FOR_INTERRUPTS();
		for (int j = 0; j < f->dim; j++)
		{
			out->col[at[r]] = first + j;
			out->val[at[r]++] = f->vector[i * f->dim + j];
		}
	}
}

static void
write_codes(const TrainFeature *f, const int32 *rank, int32 first, int64 *at,
			TrainFeatures *out)
{
	for (int64 i = 0; i < f->n;)
	{
		int64 end = i + 1;
		int32 r = place_of(rank, f->row[i]);
		float val;

		if (r % 1024 == 0)
			CHECK_FOR_INTERRUPTS();
		/* a row's entries of one feature were read one after the other */
		while (end < f->n && f->row[end] == f->row[i])
			end++;
		val = (float) (1 / sqrt((double) (end - i)));
		for (; i < end; i++)
		{
			out->col[at[r]] = first + f->code[i];
			out->val[at[r]++] = val;
		}
	}
}

static void
write_matrix(TrainFeature *feature, int n_features, int32 n_rows,
			 const int32 *rank, TrainFeatures *out)
{
	JobFeatures *layout = &out->layout;
	int64 *at = alloc_huge((Size) n_rows, sizeof(int64));

	out->feature = palloc(sizeof(StoreFeature) * (Size) n_features);
	memcpy(at, out->ptr, (Size) n_rows * sizeof(int64));
	for (int k = 0; k < n_features; k++)
	{
		TrainFeature *f = &feature[k];

		if (f->dropped)
			continue;
		CHECK_FOR_INTERRUPTS();
		if (f->out.kind == FEATURE_VECTOR)
			write_vectors(f, rank, layout->n_cols, at, out);
		else
			write_codes(f, rank, layout->n_cols, at, out);
		layout->group_start[layout->n_groups++] = layout->n_cols;
		f->out.first = layout->n_cols;
		out->feature[out->n_features++] = f->out;
		layout->n_cols += f->out.n_cols;
		layout->group_start[layout->n_groups] = layout->n_cols;
	}
	pfree(at);
}

void
train_features_encode(TrainFeature *feature, int n_features, int32 n_rows,
					  const int32 *rank, TrainFeatures *out)
{
	int64 nnz;

	memset(out, 0, sizeof(*out));
	for (int k = 0; k < n_features; k++)
	{
		encode_feature(&feature[k], n_rows);
		if (feature[k].dropped)
			train_tell(NOTICE,
					   psprintf("feature \"%s\" says nothing and is left out",
								NameStr(feature[k].name)),
					   "It has one value for all, or nearly one for each.",
					   NULL);
	}
	out->ptr = alloc_huge((Size) n_rows + 1, sizeof(int64));
	memset(out->ptr, 0, ((Size) n_rows + 1) * sizeof(int64));
	count_entries(feature, n_features, n_rows, rank, out->ptr);
	nnz = out->ptr[n_rows];
	out->col = alloc_huge((Size) nnz, sizeof(int32));
	out->val = alloc_huge((Size) nnz, sizeof(float));
	write_matrix(feature, n_features, n_rows, rank, out);
	if (out->layout.n_cols > 0)
		out->layout.n_rows = n_rows;
}
