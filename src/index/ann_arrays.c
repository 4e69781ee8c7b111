/*
 * ann_arrays.c
 *		The arrays of a search, handed from scan to scan of a session.
 *
 * They are some hundred kB. Taken from the system for each scan and given
 * back, as the C library does beyond 128 kB, they cost more page faults than
 * the search has work.
 */
#include "postgres.h"

#include "index/ann_search.h"
#include "utils/memutils.h"

#define MOST_KEPT (1024 * 1024) /* bytes, in a session */

static struct
{
	MemoryContext context;
	AnnSearch *user; /* NULL: nobody */
	AnnLeaf *leaf;
	float *bound, *low;
	AnnCandidate *candidate;
	Size leaf_room, bound_room, low_room, candidate_room;
} kept;

/* The search's context ends: also when a transaction fails. */
static void
give_back(void *arg)
{
	AnnSearch *s = arg;

	kept.user = NULL;
	kept.leaf = s->leaf;
	kept.bound = s->bound;
	kept.low = s->low;
	kept.candidate = s->candidate;
	kept.leaf_room = s->leaf_room;
	kept.bound_room = s->bound_room;
	kept.low_room = s->low_room;
	kept.candidate_room = s->candidate_room;
	if (MemoryContextMemAllocated(kept.context, false) <= MOST_KEPT)
		return;
	MemoryContextReset(kept.context);
	kept.leaf = NULL;
	kept.bound = kept.low = NULL;
	kept.candidate = NULL;
	kept.leaf_room = kept.bound_room = kept.low_room = kept.candidate_room = 0;
}

void
ann_arrays(AnnSearch *s)
{
	MemoryContextCallback *callback;

	s->arrays = s->context;
	s->leaf = NULL;
	s->bound = s->low = NULL;
	s->candidate = NULL;
	s->leaf_room = s->bound_room = s->low_room = s->candidate_room = 0;
	if (!s->of_session || kept.user != NULL)
		return;
	if (kept.context == NULL)
		kept.context = AllocSetContextCreate(TopMemoryContext, "ann arrays",
											 ALLOCSET_SMALL_SIZES);
	callback = MemoryContextAlloc(s->context, sizeof(MemoryContextCallback));
	callback->func = give_back;
	callback->arg = s;
	MemoryContextRegisterResetCallback(s->context, callback);
	kept.user = s;
	s->arrays = kept.context;
	s->leaf = kept.leaf;
	s->bound = kept.bound;
	s->low = kept.low;
	s->candidate = kept.candidate;
	s->leaf_room = kept.leaf_room;
	s->bound_room = kept.bound_room;
	s->low_room = kept.low_room;
	s->candidate_room = kept.candidate_room;
}

void *
ann_reserve(AnnSearch *s, void *array, Size used, Size more, Size *room,
			Size width)
{
	Size want = *room;

	if (used + more <= *room)
		return array;
	while (want < used + more)
		want = want < 1024 ? 1024 : want * 2;
	if (array == NULL)
		array = MemoryContextAllocHuge(s->arrays, want * width);
	else
		array = repalloc_huge(array, want * width);
	*room = want;
	return array;
}
