/*
 * test_near.c
 *		What a search would find, against such a search, row by row in many
 *		orders.
 */
#include <math.h>
#include <stdlib.h>

#include "check.h"
#include "math/near.h"
#include "math/rng.h"

#define MOST 240

static Rng rng;

/* one search's rows */
typedef struct Case
{
	Near near[MOST];
	float cell[MOST]; /* bound of the row's cell */
	int n;
	int want;
	int but;
	double share;
} Case;

static float
bound_of(const Case *c, int i)
{
	return fminf(c->cell[i],
				 c->near[i].level1 + (float) c->share * c->near[i].tail);
}

static int
compare_falling(const void *a, const void *b)
{
	float x = *(const float *) a, y = *(const float *) b;

	return x < y ? 1 : x > y ? -1 : 0;
}

/* the want-th best of n numbers, which are sorted */
static float
nth_best(float *v, int n, int want)
{
	if (n < want)
		return -INFINITY;
	qsort(v, (size_t) n, sizeof(float), compare_falling);
	return want > 0 ? v[want - 1] : INFINITY;
}

/* rows looked at in this order; how many of those wanted come */
static int
search(const Case *c, const int *order)
{
	float low[MOST], tau = -INFINITY;
	int lows = 0, found = 0;

	for (int i = 0; i < c->n; i++)
	{
		int row = order[i];

		if (bound_of(c, row) < tau)
			continue;
		low[lows++] = c->near[row].low;
		tau = nth_best(low, lows, c->want);
		found += row < c->want && row != c->but;
	}
	return found;
}

static void
shuffle(int *order, int n)
{
	for (int i = n - 1; i > 0; i--)
	{
		int j = (int) rng_below(&rng, (uint64_t) i + 1), swap = order[i];

		order[i] = order[j];
		order[j] = swap;
	}
}

/* rows that fall, with bounds that are often too low */
static void
make_case(Case *c)
{
	float score = 10;
	double loose = (double) rng_below(&rng, 3);

	c->n = 1 + (int) rng_below(&rng, MOST);
	c->want = (int) rng_below(&rng, 1 + (uint64_t) fmin(c->n, NEAR_MOST));
	c->but = (int) rng_below(&rng, (uint64_t) c->n + 1) - 1;
	c->share = rng_below(&rng, 5) / 4.0;
	for (int i = 0; i < c->n; i++)
	{
		Near *near = c->near + i;

		if (rng_below(&rng, 4) > 0)
			score -= (float) rng_below(&rng, 8) / 64;
		near->score = score;
		near->low = score - (float) rng_below(&rng, 8) / 64;
		near->tail = (float) rng_below(&rng, 64) / 32;
		near->level1 = score + (float) (rng_normal(&rng) * loose) -
					   near->tail / 2 + (float) rng_below(&rng, 16) / 16;
		near->dot = 0;
		near->cell = 0;
		c->cell[i] = score + (float) (rng_normal(&rng) * loose + loose / 4);
	}
}

static void
test_orders(void)
{
	Case c;
	float bound[MOST], least[MOST];
	int order[MOST], found, all = 0, sum = 0, off = 0, in_others = 0;

	for (int t = 0; t < 3000; t++)
	{
		make_case(&c);
		for (int i = 0; i < c.n; i++)
		{
			bound[i] = c.cell[i];
			order[i] = i;
		}
		found = near_found(c.near, c.n, bound, c.want, c.but, c.share);
		/* the order in which tau rises at once */
		for (int i = 0; i < c.n; i++)
			least[i] = fminf(bound_of(&c, i), c.near[i].low);
		for (int i = 1; i < c.n; i++)
			for (int j = i; j > 0 && least[order[j]] > least[order[j - 1]]; j--)
			{
				int swap = order[j];

				order[j] = order[j - 1];
				order[j - 1] = swap;
			}
		off += abs(search(&c, order) - found);
		shuffle(order, c.n);
		in_others += search(&c, order);
		all += c.want - (c.but >= 0 && c.but < c.want);
		sum += found;
	}
	/* (a row whose bound is below its own lower bound may raise tau further) */
	CHECK(off <= sum / 10000);
	/* neither nothing nor everything; in other orders somewhat more */
	CHECK(sum > all / 4 && sum < all * 9 / 10);
	CHECK(in_others > sum && in_others < sum * 11 / 10);
	printf("%d of %d found, %d off; %d in other orders\n", sum, all, off,
		   in_others);
}

/* the rows wanted, and one beyond; then what each of the terms takes away */
static void
test_terms(void)
{
	const Near rows[4] = {{4, 3.9F, 3, 2, 0, 0},
						  {3, 2.9F, 2, 2, 0, 0},
						  {2, 1.9F, 1, 2, 0, 0},
						  {1, 0.9F, 0.5F, 2, 0, 0}};
	float far[4] = {9, 9, 9, 9}, near[4] = {9, 1, 9, 9}, b[4];

#define FOUND(cell, want, but, share)                                          \
	(b[0] = (cell)[0], b[1] = (cell)[1], b[2] = (cell)[2], b[3] = (cell)[3],   \
	 near_found(rows, 4, b, want, but, share))
	CHECK(FOUND(far, 3, -1, 1) == 3);
	CHECK(FOUND(far, 3, 1, 1) == 2);
	CHECK(FOUND(far, 3, 3, 1) == 3);
	CHECK(FOUND(far, 0, -1, 1) == 0);
	/* the second row's cell is opened only when tau is that of the fourth */
	CHECK(FOUND(near, 2, -1, 1) == 1);
	CHECK(FOUND(near, 3, -1, 1) == 3);
	/* without the tail bounds lie at 3, 2, 1: below the scores, but in order */
	CHECK(FOUND(far, 3, -1, 0) == 3);
	CHECK(FOUND(near, 3, -1, 0) == 3);
	CHECK(FOUND(near, 2, -1, 0.25) == 1);
}

int
main(void)
{
	rng_init(&rng, 1, 7);
	test_terms();
	test_orders();
	return check_summary();
}
