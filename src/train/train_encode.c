/*
 * train_encode.c
 *		Features as a sparse matrix: one row a key, in key order.
 *
 *	category	a column for every value that at least MIN_ROWS keys have, up
 *				to MAX_CATEGORIES of the most frequent, one for all others;
 *				of an array's n elements each counts 1 / sqrt(n)
 *	whole number with many values, number, date, timestamp
 *				a column for each of up to BUCKETS quantiles
 *	vector		a column a coordinate, scaled to a mean norm of 1
 *
 * A NULL gives no entry. A column that says nothing (one value for all, or
 * as good as one for each, unless it was asked for) gives no column.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "train/train.h"

#define MIN_ROWS 2
#define MAX_CATEGORIES 20000
#define BUCKETS 10
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

	return x < y ? -1 : x > y;
}

/* ascending upper bounds of all buckets but the last, distinct */
static int
find_bounds(const TrainFeature *f, double *bounds)
{
	double *sorted = alloc_huge((Size) f->n, sizeof(double));
	int n = 0;

	memcpy(sorted, f->value, (Size) f->n * sizeof(double));
	qsort(sorted, (size_t) f->n, sizeof(double), compare_doubles);
	for (int i = 1; i < BUCKETS && f->n > 0; i++)
	{
		double x = sorted[f->n * i / BUCKETS];

		if (x > sorted[0] && (n == 0 || x > bounds[n - 1]))
			bounds[n++] = x;
	}
	pfree(sorted);
	return n;
}

static void
encode_numbers(TrainFeature *f)
{
	double bounds[BUCKETS];
	int n = find_bounds(f, bounds);

	f->code = alloc_huge((Size) f->n, sizeof(int32));
	for (int64 i = 0; i < f->n; i++)
	{
		int32 bucket = 0;

		while (bucket < n && f->value[i] >= bounds[bucket])
			bucket++;
		f->code[i] = bucket;
	}
	f->n_cols = n + 1;
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
		f->value[i] = (double) f->dictionary.ints[f->code[i]];
	pfree(f->code);
	f->kind = TRAIN_FEATURE_NUMBER;
	encode_numbers(f);
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

static void
encode_categories(TrainFeature *f)
{
	TrainKeys *d = &f->dictionary;
	int32 *count = palloc0(sizeof(int32) * (Size) Max(d->n, 1));
	int32 *column = palloc(sizeof(int32) * (Size) Max(d->n, 1));
	int32 least;
	bool rest = false;

	train_keys_sort(d);
	for (int64 i = 0; i < f->n; i++)
		count[f->code[i]]++;
	least = least_count(count, d->n);
	f->n_cols = 0;
	for (int32 i = 0; i < d->n; i++)
	{
		bool frequent = count[d->order[i]] >= least;

		column[d->order[i]] = frequent ? f->n_cols++ : -1;
		rest |= !frequent;
	}
	for (int64 i = 0; i < f->n; i++)
	{
		int32 c = column[f->code[i]];

		f->code[i] = c >= 0 ? c : f->n_cols;
	}
	f->n_cols += rest ? 1 : 0;
	pfree(count);
	pfree(column);
}

static void
encode_vectors(TrainFeature *f)
{
	double sum = 0;
	Size n = (Size) f->n * (Size) f->dim;

	for (Size i = 0; i < n; i++)
		sum += (double) f->vector[i] * f->vector[i];
	if (sum > 0)
	{
		float scale = (float) sqrt((double) f->n / sum);

		for (Size i = 0; i < n; i++)
			f->vector[i] *= scale;
	}
	f->n_cols = f->dim;
	f->dropped = f->n == 0 || sum == 0;
}

/* nearly every row a value of its own: a title, a name */
static bool
is_name(const TrainFeature *f)
{
	return !f->is_array && f->dictionary.n > 20 && f->dictionary.n > f->n / 2;
}

static void
encode_feature(TrainFeature *f, bool chosen, int32 n_keys)
{
	switch (f->kind)
	{
		case TRAIN_FEATURE_CATEGORY:
			if (is_quantity(f))
			{
				numbers_from_ints(f);
				break;
			}
			f->dropped = !chosen && is_name(f);
			if (!f->dropped)
				encode_categories(f);
			break;
		case TRAIN_FEATURE_NUMBER:
			encode_numbers(f);
			break;
		case TRAIN_FEATURE_VECTOR:
			encode_vectors(f);
			return;
	}
	/* the same for every key */
	if (f->n == 0 || (f->n_cols <= 1 && f->n >= n_keys))
		f->dropped = true;
}

/* entries of each row; of an array also how many of the row are its own */
static void
count_entries(const TrainFeature *feature, int n_features,
			  const TrainKeys *keys, int64 *ptr)
{
	for (int k = 0; k < n_features; k++)
	{
		const TrainFeature *f = &feature[k];
		int width = f->kind == TRAIN_FEATURE_VECTOR ? f->dim : 1;

		for (int64 i = 0; i < f->n && !f->dropped; i++)
			ptr[keys->rank[f->row[i]] + 1] += width;
	}
	for (int32 r = 0; r < keys->n; r++)
		ptr[r + 1] += ptr[r];
}

static void
write_vectors(const TrainFeature *f, const TrainKeys *keys, int32 first,
			  int64 *at, TrainFeatures *out)
{
	for (int64 i = 0; i < f->n; i++)
	{
		int32 r = keys->rank[f->row[i]];

		for (int j = 0; j < f->dim; j++)
		{
			out->col[at[r]] = first + j;
			out->val[at[r]++] = f->vector[i * f->dim + j];
		}
	}
}

static void
write_codes(const TrainFeature *f, const TrainKeys *keys, int32 first,
			int64 *at, TrainFeatures *out)
{
	for (int64 i = 0; i < f->n;)
	{
		int64 end = i + 1;
		int32 r = keys->rank[f->row[i]];
		float val;

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
write_matrix(const TrainFeature *feature, int n_features, const TrainKeys *keys,
			 TrainFeatures *out)
{
	JobFeatures *layout = &out->layout;
	int64 *at = alloc_huge((Size) keys->n, sizeof(int64));

	memcpy(at, out->ptr, (Size) keys->n * sizeof(int64));
	for (int k = 0; k < n_features; k++)
	{
		const TrainFeature *f = &feature[k];

		if (f->dropped)
			continue;
		CHECK_FOR_INTERRUPTS();
		if (f->kind == TRAIN_FEATURE_VECTOR)
			write_vectors(f, keys, layout->n_cols, at, out);
		else
			write_codes(f, keys, layout->n_cols, at, out);
		layout->group_start[layout->n_groups++] = layout->n_cols;
		layout->n_cols += f->n_cols;
		layout->group_start[layout->n_groups] = layout->n_cols;
	}
	pfree(at);
}

/* the features' own arrays may be freed afterwards; they are changed */
void
train_features_encode(TrainFeature *feature, int n_features, bool chosen,
					  const TrainKeys *keys, TrainFeatures *out)
{
	int64 nnz;

	memset(out, 0, sizeof(*out));
	for (int k = 0; k < n_features; k++)
	{
		encode_feature(&feature[k], chosen, keys->n);
		if (feature[k].dropped)
			ereport(NOTICE,
					(errmsg("feature \"%s\" says nothing and is left out",
							NameStr(feature[k].name)),
					 errdetail("It has one value for all, or nearly one for "
							   "each.")));
	}
	out->ptr = alloc_huge((Size) keys->n + 1, sizeof(int64));
	memset(out->ptr, 0, ((Size) keys->n + 1) * sizeof(int64));
	count_entries(feature, n_features, keys, out->ptr);
	nnz = out->ptr[keys->n];
	out->col = alloc_huge((Size) nnz, sizeof(int32));
	out->val = alloc_huge((Size) nnz, sizeof(float));
	write_matrix(feature, n_features, keys, out);
	if (out->layout.n_cols > 0)
		out->layout.n_rows = keys->n;
}
