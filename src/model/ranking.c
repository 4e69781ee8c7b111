/*
 * ranking.c
 *		The ranking stage: which learner runs.
 */
#include "model/ranking.h"

size_t
ranking_arena_size(const JobConfig *config, const JobInput *input, int workers)
{
	(void) config;
	(void) input;
	(void) workers;
	return 0;
}

RsStatus
ranking_run(Team *team, JobShared *job, Arena *arena, const Dataset *ds)
{
	(void) job;
	(void) arena;
	(void) ds;
	return team_barrier(team);
}
