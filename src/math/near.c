/*
 * near.c
 *		See near.h.
 */
#include "math/near.h"

#include <math.h>

#include "math/topk.h"

int
near_found(const Near *near, int n, float *bound, int want, int but,
		   double share)
{
	TopKItem items[NEAR_MOST];
	TopK top;
	float tau;
	int found = 0;

	topk_init(&top, items, want);
	for (int i = 0; i < n; i++)
	{
		bound[i] =
			fminf(bound[i], near[i].level1 + (float) share * near[i].tail);
		topk_push(&top, fminf(bound[i], near[i].low), i);
	}
	tau = topk_threshold(&top);
	for (int i = 0; i < want; i++)
		found += i != but && bound[i] >= tau;
	return found;
}
