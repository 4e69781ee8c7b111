/*
 * ann_cells.c
 *		The cells of a search: their bounds, their order, and what the bounds
 *		of rows in them have in common.
 */
#include "postgres.h"

#include <math.h>

#include "index/ann_search.h"
#include "math/vec.h"

/* to the bottom first, then up: what a pop puts on top was at the bottom */
static void
sift_down(AnnOpened *heap, int n, int top)
{
	AnnOpened c = heap[top];
	int at = top, child;

	for (child = 2 * at + 1; child + 1 < n; child = 2 * at + 1)
	{
		child += heap[child + 1].bound > heap[child].bound;
		heap[at] = heap[child];
		at = child;
	}
	if (child < n)
	{
		heap[at] = heap[child];
		at = child;
	}
	for (; at > top && heap[(at - 1) / 2].bound < c.bound; at = (at - 1) / 2)
		heap[at] = heap[(at - 1) / 2];
	heap[at] = c;
}

/* for rows up to `length`, at distance d from the query (L2) */
static double
slack_of(const AnnSearch *s, double length, double d, double radius)
{
	return cell_slack(s->meta.metric == ANN_L2, s->meta.dim, s->q_norm, s->tiny,
					  length, d, radius);
}

/* mean and standard deviation of n finite bounds; in lanes, so in vectors */
static void
describe(AnnSearch *s, const float *bound, int n)
{
	float sum[CODE_LANES] = {0}, square[CODE_LANES] = {0};
	double mean = 0, mean_square = 0;
	int whole = n / CODE_LANES * CODE_LANES;

	s->cells_deviation = 0;
	if (whole == 0)
		return;
	for (int i = 0; i < whole; i += CODE_LANES)
		for (int l = 0; l < CODE_LANES; l++)
		{
			float d = bound[i + l] - bound[0];

			sum[l] += d;
			square[l] += d * d;
		}
	for (int l = 0; l < CODE_LANES; l++)
	{
		mean += sum[l] / whole;
		mean_square += square[l] / whole;
	}
	s->cells_mean = (float) (mean + bound[0]);
	s->cells_deviation = (float) sqrt(Max(mean_square - mean * mean, 0));
}

void
ann_cells_list(AnnSearch *s, const AnnCache *cache)
{
	AnnOpened *heap;
	float *bound = palloc(sizeof(float) * (Size) (cache->cells + 1));

	s->dot = palloc(sizeof(float) * CODE_LANES * (Size) (cache->blocks + 1));
	heap = palloc(sizeof(AnnOpened) * (Size) (cache->cells + 1));
	code_pack_dots(s->q, cache->centroid, cache->blocks, cache->dim, s->dot);
	if (!s->unbounded)
		cell_bounds(cache->cell, cache->cells, s->meta.metric == ANN_L2,
					s->meta.dim, s->dot, s->q_norm, s->tiny, s->z, bound);
	if (!s->unbounded && s->of_session)
		describe(s, bound, cache->cells);
	for (int c = 0; c < cache->cells; c++)
	{
		if (cache->cell[c].first == InvalidBlockNumber)
			continue;
		heap[s->cells].cell = c;
		heap[s->cells++].bound = s->unbounded ? INFINITY : bound[c];
	}
	pfree(bound);
	if (s->meta.log_head != InvalidBlockNumber)
	{
		heap[s->cells].cell = cache->cells;
		heap[s->cells++].bound = INFINITY;
	}
	for (int i = s->cells / 2 - 1; i >= 0; i--)
		sift_down(heap, s->cells, i);
	s->cell = heap;
}

void
ann_cells_bound_again(AnnSearch *s, const AnnCache *cache)
{
	AnnOpened *heap = s->cell;

	for (int i = 0; i < s->cells; i++)
		if (heap[i].cell < cache->cells)
			cell_bounds(cache->cell + heap[i].cell, 1, s->meta.metric == ANN_L2,
						s->meta.dim, &s->dot[heap[i].cell], s->q_norm, s->tiny,
						s->z, &heap[i].bound);
	for (int i = s->cells / 2 - 1; i >= 0; i--)
		sift_down(heap, s->cells, i);
}

int
ann_cells_pop(AnnSearch *s)
{
	int cell = s->cell[0].cell;

	s->cell[0] = s->cell[--s->cells];
	if (s->cells > 0)
		sift_down(s->cell, s->cells, 0);
	return cell;
}

AnnCellTerms
ann_cell_terms(AnnSearch *s, const AnnCache *cache, int cell)
{
	AnnCellTerms t;
	bool log = cell == cache->cells;
	double length = log ? s->meta.log_length
						: cache->cell[cell].length + cache->cell[cell].norm;
	double radius = log ? length : cache->cell[cell].r_max;
	double base = 0, d = 0;

	if (s->meta.metric == ANN_L2)
	{
		float *p = palloc0(sizeof(float) * (cache->dim + CODE_LANES));

		if (log)
			memcpy(p, s->q, sizeof(float) * cache->dim);
		else
			ann_cell_difference(cache, cell, s->q, p);
		base = -vec_squares_double(p, cache->dim);
		d = sqrt(-base);
		code_query_set(&s->query, &cache->layout.shape, p, 2, s->share);
		pfree(p);
	}
	else if (!log)
		base = s->dot[cell];
	t.slack = (float) (slack_of(s, length, d, radius) +
					   (double) s->query.rounding * radius * 1.001);
	t.base = (float) base + t.slack;
	return t;
}

float
ann_cells_bound(const AnnSearch *s, int cell, float dot, double q_norm,
				double z)
{
	const AnnCache *cache = s->index->rd_amcache;
	float bound = INFINITY;

	if (cell < cache->cells)
		cell_bounds(cache->cell + cell, 1, s->meta.metric == ANN_L2,
					s->meta.dim, &dot, q_norm, s->tiny, z, &bound);
	return bound;
}
