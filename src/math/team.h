/*
 * team.h
 *		Several processes (or threads, in tests) that compute one job.
 *
 * All members run the same code over the same shared memory and differ by
 * rank. team_barrier makes them wait for each other; team_range cuts a range
 * of rows into contiguous parts; team_take hands out pieces of unequal work.
 * A member that fails or is cancelled sets
 * the shared stop flag, and everybody else leaves at the next barrier or
 * team_stopped. Work between two calls of team_stopped should take less than
 * 50 ms.
 */
#ifndef RECSYS_TEAM_H
#define RECSYS_TEAM_H

#include <stdbool.h>
#include <stdint.h>

#include "math/status.h"

#define TEAM_MAX 64

/* in shared memory, zero at the start */
typedef struct TeamShared
{
	int32_t arrived;    /* members waiting at the barrier */
	int32_t generation; /* barriers passed */
	int32_t stop;       /* RsStatus of the first member that stopped */
	struct
	{
		int64_t n;    /* pieces of a member's part that are handed out */
		char pad[56]; /* a cache line of its own */
	} taken[TEAM_MAX];
} TeamShared;

typedef struct Team
{
	TeamShared *shared;
	int rank; /* 0 .. size-1 */
	int size; /* 1 .. TEAM_MAX */
} Team;

extern RsStatus team_barrier(Team *team);
/* stop everybody, with this reason; the first reason stays */
extern void team_stop(Team *team, RsStatus why);
/* RS_OK, or why the team is to stop; also asks math_interrupted */
extern RsStatus team_stopped(Team *team);
/*
 * A piece of 0 .. n-1 that nobody has had since the last barrier, -1 when
 * there is none: first of the member's own part (team_range), which will be
 * in its cache, then of the others'. One loop between two barriers.
 */
extern int64_t team_take(Team *team, int64_t n);
/* this member's part [*from, *to) of 0 .. n-1 */
extern void team_range(const Team *team, int64_t n, int64_t *from, int64_t *to);

#endif
