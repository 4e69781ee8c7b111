/*
 * near.h
 *		The best rows of a query, and which of them a search with looser bounds
 *		would find.
 *
 * A search for the `want` best rows looks at those whose cell's bound and whose
 * own bound of level 1 reach tau, the want-th best lower bound of the rows looked
 * at so far. When it begins with the rows that matter, tau is at once the want-th
 * best of the minima of a row's bounds and its lower bound: of rows above that
 * there are fewer than want, and no row at or above it is left out. So this is
 * counted. In another order rows are looked at as well that tau would have ruled
 * out, and mostly more are found.
 */
#ifndef RECSYS_NEAR_H
#define RECSYS_NEAR_H

#include <stdint.h>

#define NEAR_MOST 101 /* rows wanted at most */

/* one of the best rows of a query, and all that decides whether it is found */
typedef struct Near
{
	float score;  /* of the full code */
	float low;    /* lower bound of the score */
	float level1; /* bound of level 1 but for the tail */
	float tail;   /* the tail's term in it, times share 1 */
	float dot;    /* q . centroid of its cell */
	int32_t cell;
} Near;

/*
 * How many of the first `want` of n rows, best first, but for number `but`, a
 * search finds that takes the tail's term `share` times. bound (n): of their
 * cells; overwritten.
 */
extern int near_found(const Near *near, int n, float *bound, int want, int but,
					  double share);

#endif
