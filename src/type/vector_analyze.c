/*
 * vector_analyze.c
 *		Statistics of a column of vectors.
 *
 * NULLs, width and the number of distinct values. No histogram and no common
 * values: nobody looks for vectors by < or by a frequent value, and a
 * hundred vectors in pg_statistic would slow down planning. Values as wide
 * as those that core does not look at are not looked at either, so nothing
 * is fetched from TOAST.
 */
#include "type/vector.h"

#include <math.h>

#include "access/detoast.h"
#include "commands/vacuum.h"
#include "miscadmin.h"

#include "pg/pg_compat.h"

#define WIDE 1024 /* bytes; wider values count as distinct */

PG_FUNCTION_INFO_V1(recsys_vector_typanalyze);

static int
compare_hashes(const void *left, const void *right)
{
	uint64 a = *(const uint64 *) left, b = *(const uint64 *) right;

	return (a > b) - (a < b);
}

/*
 * The number of distinct values behind n sampled ones, as in ANALYZE of other
 * types: the estimator Duj1 of Haas and Stokes (IBM Research Report RJ 10025,
 * 1998). once: values seen one time, distinct: different values seen.
 */
static double
estimate_distinct(double n, double distinct, double once, double rows)
{
	double estimate = n * distinct / ((n - once) + once * n / rows);

	return Min(Max(estimate, distinct), rows);
}

/* distinct values among count sorted hashes, and those that occur once */
static void
count_distinct(const uint64 *hashes, int count, int *distinct, int *once)
{
	*distinct = 0;
	*once = 0;
	for (int i = 0, j; i < count; i = j)
	{
		for (j = i + 1; j < count && hashes[j] == hashes[i]; j++)
			;
		*distinct += 1;
		*once += j == i + 1;
	}
}

static void
set_distinct(VacAttrStats *stats, uint64 *hashes, int hashed, int wide,
			 double rows)
{
	double share = 1 - stats->stanullfrac;
	int distinct, once;

	qsort(hashes, (size_t) hashed, sizeof(uint64), compare_hashes);
	count_distinct(hashes, hashed, &distinct, &once);
	if (once == hashed)
		stats->stadistinct = (float4) -share;
	else if (wide == 0 && once == 0)
		stats->stadistinct = (float4) distinct;
	else
	{
		double estimate = estimate_distinct(hashed + wide, distinct + wide,
											once + wide, rows * share);

		stats->stadistinct =
			(float4) (estimate > 0.1 * rows ? -(estimate / rows)
											: floor(estimate + 0.5));
	}
}

/*
 * False for what is not looked at: wide values, and damaged ones, which
 * must not keep ANALYZE from the rest of the table.
 */
static bool
hash_datum(Datum value, uint64 *hash)
{
	Vector *v;
	bool sound;

	if (toast_raw_datum_size(value) > WIDE)
		return false;
	v = (Vector *) PG_DETOAST_DATUM(value);
	sound = vector_is_sound(v);
	if (sound)
		*hash = vector_hash(v, 0);
	if ((Pointer) v != DatumGetPointer(value))
		pfree(v);
	return sound;
}

static void
compute_stats(VacAttrStats *stats, AnalyzeAttrFetchFunc fetch, int samples,
			  double rows)
{
	uint64 *hashes = palloc(sizeof(uint64) * Max(samples, 1));
	int hashed = 0, wide = 0, nulls = 0;
	double width = 0;

	for (int i = 0; i < samples; i++)
	{
		bool isnull;
		Datum value = fetch(stats, i, &isnull);

		CHECK_FOR_INTERRUPTS();
		if (isnull)
		{
			nulls++;
			continue;
		}
		width += VARSIZE_ANY(DatumGetPointer(value));
		if (hash_datum(value, &hashes[hashed]))
			hashed++;
		else
			wide++;
	}
	if (samples == 0)
		return;
	stats->stats_valid = true;
	stats->stanullfrac = (float4) ((double) nulls / samples);
	if (nulls == samples)
	{
		/* nothing is known of the values; as core, keep the type's width */
		stats->stawidth = 0;
		stats->stadistinct = 0;
		return;
	}
	stats->stawidth = (int32) (width / (samples - nulls));
	set_distinct(stats, hashes, hashed, wide, rows);
}

Datum
recsys_vector_typanalyze(PG_FUNCTION_ARGS)
{
	VacAttrStats *stats = (VacAttrStats *) PG_GETARG_POINTER(0);

	if (pg_stats_target(stats) < 0)
		pg_stats_target(stats) = default_statistics_target;
	stats->compute_stats = compute_stats;
	stats->minrows = 300 * pg_stats_target(stats);
	PG_RETURN_BOOL(true);
}
