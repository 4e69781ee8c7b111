/*
 * metrics.h
 *		How good a ranking of items is, on held-out interactions.
 *
 * All items are candidates; with exclude_seen a user's training items are
 * not. The rank of a held-out item is the number of candidates that score
 * higher, or equal with a smaller number. With n held-out items of a user:
 *
 *	accuracy@k   share of held-out rows with rank < k (over rows)
 *	recall@k     hits / n                             (mean over users)
 *	precision@k  hits / k                             (mean over users)
 *	ndcg@k       sum 1/log2(rank + 2) over hits, by the best possible
 *	mrr          1 / (1 + rank of the best held-out item)
 */
#ifndef RECSYS_METRICS_H
#define RECSYS_METRICS_H

#include "math/arena.h"
#include "math/team.h"
#include "model/dataset.h"

#define METRICS_MAX_K 16

typedef struct MetricsSpec
{
	bool exclude_seen;
	int n_k;
	int k[METRICS_MAX_K];
	int32_t max_users; /* evaluate at most so many, 0: all */
	/* (n_users) held-out items of each user that are no candidates, which no
	 * ranking can hit; NULL for none */
	const int32_t *missing;
} MetricsSpec;

typedef struct MetricsResult
{
	int64_t rows;
	int64_t users;
	double accuracy[METRICS_MAX_K];
	double recall[METRICS_MAX_K];
	double precision[METRICS_MAX_K];
	double ndcg[METRICS_MAX_K];
	double mrr;
} MetricsResult;

/* arena bytes that metrics_run needs, and gives back */
extern size_t metrics_size(int32_t n_users, int32_t n_items);

/*
 * Score is <user vector, item vector>. Called by the whole team; the same
 * result for every member and every size of the team. Zero users when
 * nothing is held out.
 */
extern RsStatus metrics_run(Team *team, Arena *arena, const Dataset *ds,
							const MetricsSpec *spec, const float *user,
							const float *item, int dim, MetricsResult *result);

#endif
