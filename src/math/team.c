/*
 * team.c
 *		Barrier, stop flag and division of work of a team.
 *
 * The barrier spins for a few microseconds, then yields, which returns at
 * once on a core that nobody else wants, and then sleeps in short naps: the
 * phases between barriers last from 0.1 ms to seconds, and there may be fewer
 * cores than members. A nap of 20 us takes 80 with the timer's slack, so that
 * equal parts of some ms should not get there.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "math/team.h"

#include <sched.h>
#include <time.h>

#include "math/hooks.h"

#define SPINS 2000
#define YIELDS 300

static inline void
cpu_pause(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#endif
}

static void
nap(int turn)
{
	struct timespec t = {0, turn < YIELDS + 80 ? 20000 : 200000};

	if (turn < YIELDS)
		sched_yield();
	else
		nanosleep(&t, NULL);
}

void
team_stop(Team *team, RsStatus why)
{
	int32_t none = RS_OK;

	__atomic_compare_exchange_n(&team->shared->stop, &none, (int32_t) why,
								false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

RsStatus
team_stopped(Team *team)
{
	if (math_interrupted())
		team_stop(team, RS_CANCELLED);
	return (RsStatus) __atomic_load_n(&team->shared->stop, __ATOMIC_ACQUIRE);
}

/* nobody computes: all pieces can be taken again */
static void
start_again(Team *team)
{
	for (int r = 0; r < team->size; r++)
		__atomic_store_n(&team->shared->taken[r].n, 0, __ATOMIC_RELAXED);
}

int64_t
team_take(Team *team, int64_t n)
{
	for (int k = 0; k < team->size; k++)
	{
		int r = (team->rank + k) % team->size;
		int64_t *taken = &team->shared->taken[r].n;
		int64_t from = n * r / team->size;
		int64_t to = n * (r + 1) / team->size;
		int64_t at;

		if (from + __atomic_load_n(taken, __ATOMIC_RELAXED) >= to)
			continue;
		at = from + __atomic_fetch_add(taken, 1, __ATOMIC_RELAXED);
		if (at < to)
			return at;
	}
	return -1;
}

RsStatus
team_barrier(Team *team)
{
	TeamShared *s = team->shared;
	int32_t mine;

	if (team->size == 1)
	{
		start_again(team);
		return team_stopped(team);
	}
	mine = __atomic_load_n(&s->generation, __ATOMIC_ACQUIRE);
	if (__atomic_add_fetch(&s->arrived, 1, __ATOMIC_ACQ_REL) == team->size)
	{
		__atomic_store_n(&s->arrived, 0, __ATOMIC_RELAXED);
		start_again(team);
		__atomic_store_n(&s->generation, mine + 1, __ATOMIC_RELEASE);
		return team_stopped(team);
	}
	for (int turn = 0;
		 __atomic_load_n(&s->generation, __ATOMIC_ACQUIRE) == mine; turn++)
	{
		if (turn < SPINS)
			cpu_pause();
		else
		{
			RsStatus st = team_stopped(team);

			if (st != RS_OK)
				return st;
			nap(turn - SPINS);
		}
	}
	return team_stopped(team);
}

void
team_range(const Team *team, int64_t n, int64_t *from, int64_t *to)
{
	*from = n * team->rank / team->size;
	*to = n * (team->rank + 1) / team->size;
}
