/*
 * topk.h
 *		The k best of many scores, in a heap of fixed size.
 *
 * Higher scores are better; of equal scores the lower index is. NaN is never
 * taken. Which items are kept, and their order after topk_sort, does not
 * depend on the order of pushes.
 */
#ifndef RECSYS_TOPK_H
#define RECSYS_TOPK_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct TopKItem
{
	float score;
	int32_t index;
} TopKItem;

typedef struct TopK
{
	TopKItem *items; /* (k) the caller's; the worst is first until sorted */
	int k;           /* room, >= 0 */
	int n;           /* items held */
} TopK;

extern void topk_init(TopK *top, TopKItem *items, int k);
/* best first; then only items and n may be used */
extern void topk_sort(TopK *top);
/* scores[i] with index first + i, for n of them */
extern void topk_push_many(TopK *top, const float *scores, int n,
						   int32_t first);
/* what topk_push does once an item is known to belong in */
extern void topk_insert(TopK *top, float score, int32_t index);

/* Scores below it are not taken any more; equal ones may be, by index. */
static inline float
topk_threshold(const TopK *top)
{
	if (top->n < top->k)
		return -INFINITY;
	return top->k > 0 ? top->items[0].score : INFINITY;
}

static inline bool
topk_better(float score, int32_t index, const TopKItem *than)
{
	return score > than->score || (score == than->score && index < than->index);
}

/* true when the item was taken */
static inline bool
topk_push(TopK *top, float score, int32_t index)
{
	if (top->n < top->k
			? isnan(score)
			: top->k == 0 || !topk_better(score, index, &top->items[0]))
		return false;
	topk_insert(top, score, index);
	return true;
}

#endif
