/*
 * test_topk.c
 *		The heap of the k best, against sorting everything.
 */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "math/rng.h"
#include "math/topk.h"

static int
compare_items(const void *left, const void *right)
{
	const TopKItem *a = left, *b = right;

	if (a->score != b->score)
		return a->score > b->score ? -1 : 1;
	return (a->index > b->index) - (a->index < b->index);
}

/* n scores of so many distinct values, the k best of them */
static void
test_against_sort(int n, int k, int distinct, Rng *rng)
{
	float *scores = malloc(sizeof(float) * (n + 1));
	TopKItem *all = malloc(sizeof(TopKItem) * (n + 1));
	TopKItem *one = malloc(sizeof(TopKItem) * (k + 1));
	TopKItem *many = malloc(sizeof(TopKItem) * (k + 1));
	TopKItem *backward = malloc(sizeof(TopKItem) * (k + 1));
	TopK a, b, c;
	int expect = n < k ? n : k;

	for (int i = 0; i < n; i++)
	{
		scores[i] = (float) rng_below(rng, (uint64_t) distinct) - 3;
		all[i] = (TopKItem){scores[i], 100 + i};
	}
	qsort(all, (size_t) n, sizeof(TopKItem), compare_items);

	topk_init(&a, one, k);
	topk_init(&b, many, k);
	topk_init(&c, backward, k);
	for (int i = 0; i < n; i++)
		topk_push(&a, scores[i], 100 + i);
	topk_push_many(&b, scores, n / 2, 100);
	topk_push_many(&b, scores + n / 2, n - n / 2, 100 + n / 2);
	for (int i = n - 1; i >= 0; i--)
		topk_push(&c, scores[i], 100 + i);
	if (n > k && k > 0)
		CHECK(topk_threshold(&a) == all[k - 1].score);
	topk_sort(&a);
	topk_sort(&b);
	topk_sort(&c);
	CHECK(a.n == expect && b.n == expect && c.n == expect);
	CHECK(memcmp(one, all, sizeof(TopKItem) * (size_t) expect) == 0);
	CHECK(memcmp(many, all, sizeof(TopKItem) * (size_t) expect) == 0);
	CHECK(memcmp(backward, all, sizeof(TopKItem) * (size_t) expect) == 0);
	free(scores);
	free(all);
	free(one);
	free(many);
	free(backward);
}

static void
test_special(void)
{
	TopKItem items[3];
	TopK top;
	float scores[40];

	topk_init(&top, items, 0);
	CHECK(!topk_push(&top, 1, 1));
	CHECK(topk_threshold(&top) == INFINITY);
	topk_sort(&top);
	CHECK(top.n == 0);

	topk_init(&top, items, 3);
	CHECK(topk_threshold(&top) == -INFINITY);
	CHECK(!topk_push(&top, NAN, 1));
	CHECK(topk_push(&top, -INFINITY, 2));
	CHECK(topk_push(&top, INFINITY, 3));
	CHECK(topk_push(&top, 0, 4));
	CHECK(!topk_push(&top, NAN, 5));
	CHECK(!topk_push(&top, -INFINITY, 6));
	CHECK(topk_push(&top, -INFINITY, 1));
	topk_sort(&top);
	CHECK(items[0].index == 3 && items[1].index == 4 && items[2].index == 1);

	for (int i = 0; i < 40; i++)
		scores[i] = NAN;
	scores[39] = 5;
	topk_init(&top, items, 1);
	topk_push_many(&top, scores, 40, 0);
	CHECK(top.n == 1 && items[0].index == 39);
}

int
main(void)
{
	static const int ks[] = {0, 1, 2, 3, 10, 100, 1000};
	Rng rng;

	rng_init(&rng, 1, 0);
	for (int n = 0; n < 70; n++)
		for (int k = 0; k < 12; k++)
			test_against_sort(n, k, 1 + (n * 7 + k) % 30, &rng);
	for (size_t i = 0; i < sizeof(ks) / sizeof(ks[0]); i++)
	{
		test_against_sort(5000, ks[i], 1000000, &rng);
		test_against_sort(5000, ks[i], 20, &rng);
	}
	test_special();
	return check_summary();
}
