/*
 * test_team.c
 *		Barriers hold members back until all are there; pieces are handed out
 *		once each, a member's own part first.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "math/team.h"

#define MOST 5
#define PIECES 103
#define ROUNDS 50

typedef struct Member
{
	Team team;
	int32_t *count; /* (ROUNDS, PIECES) shared: how often a piece was had */
	bool early;     /* a barrier let somebody through too soon */
} Member;

static void *
member_main(void *arg)
{
	Member *m = arg;
	volatile double x = 1;

	for (int round = 0; round < ROUNDS; round++)
	{
		/* sometimes less than the team has members */
		int64_t n = round % 3 == 0 ? 2 : PIECES;
		int32_t *count = m->count + round * PIECES;
		int64_t k;
		int sum = 0;

		while ((k = team_take(&m->team, n)) >= 0)
		{
			__atomic_fetch_add(&count[k], 1, __ATOMIC_RELAXED);
			for (int j = 0; j < (int) (k % 7) * 100; j++)
				x *= 1.0001;
		}
		if (team_barrier(&m->team) != RS_OK)
			break;
		for (k = 0; k < n; k++)
			sum += __atomic_load_n(&count[k], __ATOMIC_RELAXED);
		m->early = m->early || sum != n;
	}
	return NULL;
}

static void
test_pieces(int n)
{
	TeamShared shared = {0};
	Member m[MOST];
	pthread_t thread[MOST];
	int32_t *count = calloc(ROUNDS * PIECES, sizeof(int32_t));

	for (int r = 0; r < n; r++)
	{
		m[r] = (Member){.team = {&shared, r, n}, .count = count};
		pthread_create(&thread[r], NULL, member_main, &m[r]);
	}
	for (int r = 0; r < n; r++)
		pthread_join(thread[r], NULL);
	for (int r = 0; r < n; r++)
		CHECK(!m[r].early);
	for (int round = 0; round < ROUNDS; round++)
		for (int k = 0; k < PIECES; k++)
			CHECK(count[round * PIECES + k] == (round % 3 != 0 || k < 2));
	free(count);
}

/* without a race: own part, then the next member's, then nothing */
static void
test_order(void)
{
	TeamShared shared = {0};
	Team team[3] = {{&shared, 0, 3}, {&shared, 1, 3}, {&shared, 2, 3}};
	static const int64_t want[] = {4, 5, 6, 7, 8, 9, 10, 11};

	CHECK(team_take(&team[0], 12) == 0);
	for (int k = 0; k < 8; k++)
		CHECK(team_take(&team[1], 12) == want[k]);
	CHECK(team_take(&team[1], 12) == 1);
	CHECK(team_take(&team[2], 12) == 2);
	CHECK(team_take(&team[0], 12) == 3);
	for (int r = 0; r < 3; r++)
		CHECK(team_take(&team[r], 12) == -1);
	CHECK(team_take(&team[0], 0) == -1);
}

/* a member that stops frees those who wait */
static void
test_stop(void)
{
	TeamShared shared = {0};
	Team team = {&shared, 0, 2};

	team_stop(&team, RS_NO_MEMORY);
	team_stop(&team, RS_CANCELLED);
	CHECK(team_barrier(&team) == RS_NO_MEMORY);
	CHECK(team_stopped(&team) == RS_NO_MEMORY);
}

int
main(void)
{
	for (int n = 1; n <= MOST; n++)
		test_pieces(n);
	test_order();
	test_stop();
	return check_summary();
}
