/*
 * topk.c
 *		The k best of many scores, in a heap of fixed size.
 */
#include "math/topk.h"

#define BLOCK 16 /* scores looked at together */

void
topk_init(TopK *top, TopKItem *items, int k)
{
	top->items = items;
	top->k = k;
	top->n = 0;
}

/* a is worse than b, so it belongs nearer to the root */
static inline bool
worse(const TopKItem *a, const TopKItem *b)
{
	return topk_better(b->score, b->index, a);
}

/* item goes into the hole at i or below it, in a heap of n */
static void
sift_down(TopKItem *items, int n, int i, TopKItem item)
{
	for (;;)
	{
		int child = 2 * i + 1;

		if (child >= n)
			break;
		if (child + 1 < n && worse(&items[child + 1], &items[child]))
			child++;
		if (!worse(&items[child], &item))
			break;
		items[i] = items[child];
		i = child;
	}
	items[i] = item;
}

static void
sift_up(TopKItem *items, int i, TopKItem item)
{
	while (i > 0)
	{
		int parent = (i - 1) / 2;

		if (!worse(&item, &items[parent]))
			break;
		items[i] = items[parent];
		i = parent;
	}
	items[i] = item;
}

void
topk_insert(TopK *top, float score, int32_t index)
{
	TopKItem item = {score, index};

	if (top->n < top->k)
	{
		sift_up(top->items, top->n, item);
		top->n++;
	}
	else
		sift_down(top->items, top->n, 0, item);
}

void
topk_sort(TopK *top)
{
	for (int n = top->n - 1; n > 0; n--)
	{
		TopKItem worst = top->items[0];

		sift_down(top->items, n, 0, top->items[n]);
		top->items[n] = worst;
	}
}

/* does any of BLOCK scores reach the threshold? */
static inline bool
any_reaches(const float *scores, float threshold)
{
	int any = 0;

	for (int i = 0; i < BLOCK; i++)
		any |= scores[i] >= threshold;
	return any != 0;
}

void
topk_push_many(TopK *top, const float *scores, int n, int32_t first)
{
	int i = 0;

	while (i < n && top->n < top->k)
	{
		topk_push(top, scores[i], first + i);
		i++;
	}
	for (; i + BLOCK <= n; i += BLOCK)
		if (any_reaches(scores + i, topk_threshold(top)))
			for (int j = i; j < i + BLOCK; j++)
				topk_push(top, scores[j], first + j);
	for (; i < n; i++)
		topk_push(top, scores[i], first + i);
}
