/*
 * job.c
 *		What a training does, from interactions to vectors.
 *
 * For now a stand-in: random vectors, so that the parts around it can be
 * built and tested; the learners replace it.
 */
#include "model/job.h"

#include <string.h>

#include "math/arena.h"
#include "math/rng.h"

size_t
job_arena_size(const JobConfig *config, const JobInput *input, int workers)
{
	size_t dim = config->dim > 0 ? (size_t) config->dim : 32;

	(void) workers;
	return arena_need((size_t) input->n_users * dim, sizeof(float)) +
		   arena_need((size_t) input->n_items * dim, sizeof(float)) +
		   arena_need((size_t) input->n_items, sizeof(int32_t)) +
		   arena_need((size_t) input->n_users, sizeof(int32_t)) + 4096;
}

void
job_log(JobShared *job, const char *stage, int epoch, double loss,
		const char *metric, double value, double seconds)
{
	JobLog *log;

	if (job->n_log >= JOB_MAX_LOG)
		return;
	log = &job->log[job->n_log];
	memset(log, 0, sizeof(*log));
	strncpy(log->stage, stage, sizeof(log->stage) - 1);
	log->epoch = epoch;
	log->train_loss = loss;
	strncpy(log->metric, metric, sizeof(log->metric) - 1);
	log->value = value;
	log->seconds = seconds;
	__atomic_store_n(&job->n_log, job->n_log + 1, __ATOMIC_RELEASE);
}

RsStatus
job_run(Team *team, JobShared *job)
{
	Arena arena;
	const JobInput *in = &job->input;
	JobOutput *out = &job->output;
	int dim = job->config.dim > 0 ? job->config.dim : 32;
	float *u;
	float *v;
	int32_t *nu;
	int32_t *ni;
	const int32_t *user = job_at(job, in->user);
	const int32_t *item = job_at(job, in->item);
	Rng rng;

	arena_init(&arena, job_at(job, job->arena), job->size - job->arena);
	u = arena_alloc(&arena, (size_t) in->n_users * (size_t) dim, sizeof(float));
	v = arena_alloc(&arena, (size_t) in->n_items * (size_t) dim, sizeof(float));
	ni = arena_alloc(&arena, (size_t) in->n_items, sizeof(int32_t));
	nu = arena_alloc(&arena, (size_t) in->n_users, sizeof(int32_t));
	if (u == NULL || v == NULL || ni == NULL || nu == NULL)
		return RS_NO_MEMORY;
	if (team->rank == 0)
	{
		rng_init(&rng, job->config.seed, 0);
		for (int64_t i = 0; i < (int64_t) in->n_users * dim; i++)
			u[i] = (float) rng_normal(&rng);
		for (int64_t i = 0; i < (int64_t) in->n_items * dim; i++)
			v[i] = (float) rng_normal(&rng);
		for (int64_t r = 0; r < in->n; r++)
		{
			nu[user[r]]++;
			ni[item[r]]++;
		}
		out->n_interactions = in->n;
		out->dim = dim;
		out->user_vector = job_offset(job, u);
		out->item_vector = job_offset(job, v);
		out->item_count = job_offset(job, ni);
		out->user_count = job_offset(job, nu);
		job_log(job, "retrieval", 1, 1.0, "", 0, 0);
	}
	return team_barrier(team);
}
