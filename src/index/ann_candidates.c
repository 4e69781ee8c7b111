/*
 * ann_candidates.c
 *		The candidates of a search: those that reach the frontier are a heap, in
 *		front of the others.
 */
#include "postgres.h"

#include <float.h>
#include <math.h>

#include "index/ann_search.h"

/* a before b in order of return: higher first, unknown before exact */
static inline bool
before(const AnnCandidate *a, const AnnCandidate *b)
{
	if (a->key != b->key)
		return a->key > b->key;
	if (a->exact != b->exact)
		return !a->exact;
	if (a->exact && a->value != b->value)
		return a->value < b->value;
	return ItemPointerCompare((ItemPointer) &a->tid, (ItemPointer) &b->tid) < 0;
}

static void
sift_down(AnnCandidate *heap, Size n, Size at)
{
	AnnCandidate c = heap[at];

	for (;;)
	{
		Size child = 2 * at + 1;

		if (child >= n)
			break;
		if (child + 1 < n && before(heap + child + 1, heap + child))
			child++;
		if (!before(heap + child, &c))
			break;
		heap[at] = heap[child];
		at = child;
	}
	heap[at] = c;
}

void
ann_candidates_heap(AnnSearch *s)
{
	AnnCandidate *c = s->candidate;

	s->active = 0;
	for (Size i = 0; i < s->candidates; i++)
		if (c[i].key >= s->frontier)
		{
			AnnCandidate swap = c[i];

			c[i] = c[s->active];
			c[s->active++] = swap;
		}
	for (Size i = s->active / 2; i > 0; i--)
		sift_down(c, s->active, i - 1);
}

void
ann_candidates_push(AnnSearch *s, const AnnCandidate *c)
{
	AnnCandidate *heap;
	Size at = s->active;

	Assert(s->active == s->candidates);
	s->candidate = heap = ann_reserve(s, s->candidate, s->candidates, 1,
									  &s->candidate_room, sizeof(AnnCandidate));
	for (; at > 0 && before(c, heap + (at - 1) / 2); at = (at - 1) / 2)
		heap[at] = heap[(at - 1) / 2];
	heap[at] = *c;
	s->active = ++s->candidates;
}

/* the best candidate, or NULL when none reaches the frontier */
AnnCandidate *
ann_search_top(AnnSearch *s)
{
	ann_rest_feed(s);
	if (s->active == 0 || s->candidate[0].key < s->frontier)
		return NULL;
	return s->candidate;
}

void
ann_search_pop(AnnSearch *s)
{
	s->active--;
	s->candidates--;
	s->candidate[0] = s->candidate[s->active];
	/* the last of those below the frontier fills the gap */
	s->candidate[s->active] = s->candidate[s->candidates];
	if (s->active > 0)
		sift_down(s->candidate, s->active, 0);
}

void
ann_search_settle(AnnSearch *s, double score, double value)
{
	AnnCandidate *top = s->candidate;

	top->exact = true;
	top->key = score;
	top->value = value;
	top->low = nextafterf((float) score, -FLT_MAX);
	sift_down(s->candidate, s->active, 0);
}
