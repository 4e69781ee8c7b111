/*
 * serve_scan.c
 *		The best rows of a packed table for a query vector, exactly.
 *
 * Rows come in falling order of their norms, so the scan ends where
 * |query| * norm falls below the k-th best score found. A row is looked up
 * among those to be skipped only when it would enter the heap, which few
 * rows do. At the end the scores are computed once more the way that the
 * operators do it, so that they equal those of plain SQL to the last bit.
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"

#include "math/topk.h"
#include "math/vec.h"
#include "serve/serve.h"

#define BLOCK 256

typedef struct RowScan
{
	const ServePack *pack;
	const float *query;
	float query_norm;
	bool cosine;
	const ServeMap *skip;
	TopK top; /* index: place of the key, so that equal scores go by key */
} RowScan;

static float
norm_of(const float *x, int dim)
{
	double sum = 0;

	for (int i = 0; i < dim; i++)
		sum += (double) x[i] * x[i];
	return (float) sqrt(sum);
}

static void
score_block(const RowScan *s, int32 first, int32 n, float *scores)
{
	const ServePack *pack = s->pack;

	vec_dot_many(s->query, pack->rows + (Size) first * pack->dim, n, pack->dim,
				 pack->dim, scores);
	if (s->cosine)
		for (int32 i = 0; i < n; i++)
			scores[i] /= s->query_norm * pack->norms[first + i];
}

static void
take_block(RowScan *s, int32 first, int32 n, const float *scores)
{
	const ServePack *pack = s->pack;
	float threshold = topk_threshold(&s->top);

	for (int32 i = 0; i < n; i++)
	{
		/* NaN (0/0, inf - inf) is an answer too, but the last */
		float score = isnan(scores[i]) ? -INFINITY : scores[i];

		if (score < threshold ||
			(s->skip != NULL &&
			 serve_map_find(s->skip, pack->keys[first + i]) >= 0))
			continue;
		topk_push(&s->top, score, pack->order[first + i]);
		threshold = topk_threshold(&s->top);
	}
}

/*
 * No row from `first` on can be among the best. The margin covers rounding
 * of float32 sums; a comparison with NaN is false, and the scan goes on.
 */
static bool
is_done(const RowScan *s, int32 first)
{
	float bound = s->query_norm * s->pack->norms[first] *
				  (1 + (s->pack->dim + 16) * 1.2e-7f);

	return !s->cosine && s->top.n == s->top.k &&
		   bound < topk_threshold(&s->top);
}

/* as the operators <#> and <=> compute it */
static double
exact_score(const ServePack *pack, const float *row, const float *query,
			bool cosine)
{
	float ab, aa, bb;
	double c;

	if (!cosine)
		return vec_dot(row, query, pack->dim);
	vec_cosine_sums(row, query, pack->dim, &ab, &aa, &bb);
	c = (double) ab / sqrt((double) aa * bb);
	/* NaN stays */
	return c > 1 ? 1 : c < -1 ? -1 : c;
}

static int
compare_hits(const void *a, const void *b)
{
	const ServeHit *x = a;
	const ServeHit *y = b;

	if (x->score != y->score && !isnan(x->score) && !isnan(y->score))
		return x->score > y->score ? -1 : 1;
	if (isnan(x->score) != isnan(y->score))
		return isnan(x->score) ? 1 : -1;
	return x->order < y->order ? -1 : x->order > y->order;
}

ServeHit *
serve_scan_finish(const ServePack *pack, const float *query, bool cosine,
				  const TopK *top)
{
	ServeHit *hits =
		palloc_extended(sizeof(ServeHit) * Max(top->n, 1), MCXT_ALLOC_HUGE);

	for (int i = 0; i < top->n; i++)
	{
		hits[i].row = top->items[i].index;
		hits[i].order = pack->order[hits[i].row];
		hits[i].score = exact_score(
			pack, pack->rows + (Size) hits[i].row * pack->dim, query, cosine);
	}
	qsort(hits, top->n, sizeof(ServeHit), compare_hits);
	return hits;
}

int
serve_scan_top(const ServePack *pack, const float *query, bool cosine, int64 k,
			   const ServeMap *skip, ServeHit **hits)
{
	RowScan s = {.pack = pack, .query = query, .cosine = cosine};
	int room = (int) Min(k, (int64) pack->n);
	float scores[BLOCK];

	s.query_norm = norm_of(query, pack->dim);
	s.skip = skip != NULL && skip->used > 0 ? skip : NULL;
	topk_init(&s.top,
			  palloc_extended(sizeof(TopKItem) * Max(room, 1), MCXT_ALLOC_HUGE),
			  room);
	for (int32 first = 0; first < pack->n && room > 0; first += BLOCK)
	{
		int32 n = Min(BLOCK, pack->n - first);

		CHECK_FOR_INTERRUPTS();
		if (is_done(&s, first))
			break;
		score_block(&s, first, n, scores);
		take_block(&s, first, n, scores);
	}
	/* from places of keys back to rows */
	for (int i = 0; i < s.top.n; i++)
		s.top.items[i].index = pack->by_key[s.top.items[i].index];
	*hits = serve_scan_finish(pack, query, cosine, &s.top);
	return s.top.n;
}
