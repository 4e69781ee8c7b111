/*
 * test_tower_step.c
 *		A batch of the towers against the softmax row by row: loss and the
 *		gradients of ids, with negatives, hard ones, logQ, accidental hits.
 *
 * Towers without features and layers add nothing to the embeddings of ids, so
 * what they have is the reference's gradient through rows of unit length.
 */
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "math/rng.h"
#include "model/tower_train.h"

#define USERS 11
#define ITEMS 9
#define UNKNOWN 4 /* an item without an interaction */
#define DIM 6
#define MOST 80
#define NEGATIVES 7
#define RATE 1e-3f

static int64_t user_ptr[USERS + 1];
static int64_t item_ptr[ITEMS + 1];
static int64_t item_end[ITEMS];
static int32_t item[MOST];
static int n_rows;
static Dataset ds;

static void
make_data(void)
{
	int32_t of[ITEMS] = {0};
	Rng rng;

	rng_init(&rng, 5, 0);
	for (int u = 0; u < USERS; u++)
	{
		user_ptr[u] = n_rows;
		for (int i = 0; i < ITEMS; i++)
			if (i != UNKNOWN && rng_uniform(&rng) < 0.5)
			{
				item[n_rows++] = i;
				of[i]++;
			}
	}
	user_ptr[USERS] = n_rows;
	for (int i = 0; i < ITEMS; i++)
		item_end[i] = item_ptr[i + 1] = item_ptr[i] + of[i];
	ds = (Dataset){.n_users = USERS,
				   .n_items = ITEMS,
				   .n = n_rows,
				   .user_ptr = user_ptr,
				   .user_end = user_ptr + 1,
				   .item = item,
				   .item_ptr = item_ptr,
				   .item_end = item_end};
}

static double
length(const float *x)
{
	double square = 0;

	for (int k = 0; k < DIM; k++)
		square += (double) x[k] * x[k];
	return sqrt(square);
}

/* grad by the unit row of x becomes that by x */
static void
chain_rule(double *grad, const float *x)
{
	double l = length(x);
	double along = 0;

	for (int k = 0; k < DIM; k++)
		along += grad[k] * x[k] / l;
	for (int k = 0; k < DIM; k++)
		grad[k] = (grad[k] - along * x[k] / l) / l;
}

/*
 * The first batch's loss and gradients by u and v (all users, all items); the
 * rows are shuffled, which changes nothing of it. Each row is a user of its
 * own to the reference: so are they to the towers.
 */
static double
plain(const TowerConfig *c, const float *u, const float *v, double *du,
	  double *dv)
{
	SoftmaxConfig s = {.dim = DIM,
					   .negatives = c->negatives,
					   .hard = c->hard,
					   .logq = c->logq,
					   .remove_accidental = c->remove_accidental,
					   .temperature = c->temperature};
	static float unit_u[MOST * DIM];
	static float unit_v[ITEMS * DIM];
	static double d_row[MOST * DIM];
	int32_t row[MOST];
	int32_t user[MOST];
	int32_t cand[MOST + NEGATIVES];
	double log_q[ITEMS];
	double loss;
	Rng rng;

	for (int i = 0; i < ITEMS; i++)
	{
		for (int k = 0; k < DIM; k++)
			unit_v[i * DIM + k] =
				(float) (v[i * DIM + k] / length(v + i * DIM));
		log_q[i] = log((double) (item_end[i] - item_ptr[i]) +
					   (double) c->negatives / (ITEMS - 1));
	}
	for (int u1 = 0; u1 < USERS; u1++)
		for (int64_t r = user_ptr[u1]; r < user_ptr[u1 + 1]; r++)
		{
			row[r] = (int32_t) r;
			user[r] = u1;
			cand[r] = item[r];
			for (int k = 0; k < DIM; k++)
				unit_u[r * DIM + k] =
					(float) (u[u1 * DIM + k] / length(u + u1 * DIM));
		}
	rng_init(&rng, c->seed, tower_stream(TOWER_STREAM_NEGATIVE, 1));
	for (int k = 0; k < c->negatives; k++)
	{
		int32_t i = (int32_t) rng_below(&rng, ITEMS - 1);

		cand[n_rows + k] = i < UNKNOWN ? i : i + 1;
	}
	memset(d_row, 0, sizeof(d_row));
	memset(du, 0, sizeof(double) * USERS * DIM);
	memset(dv, 0, sizeof(double) * ITEMS * DIM);
	loss = softmax_plain(&s, row, cand, n_rows, unit_u, unit_v,
						 c->logq ? log_q : NULL, d_row, dv, ITEMS);
	for (int k = 0; k < n_rows * DIM; k++)
		du[user[k / DIM] * DIM + k % DIM] += d_row[k];
	for (int r = 0; r < USERS; r++)
		chain_rule(du + r * DIM, u + r * DIM);
	for (int r = 0; r < ITEMS; r++)
		chain_rule(dv + r * DIM, v + r * DIM);
	return loss;
}

typedef struct Member
{
	Team team;
	const TowerConfig *config;
	JobShared *job;
	void *block;
	size_t size;
	float *u; /* what the first member has before the step */
	float *v;
	Towers t;
	double loss;
	RsStatus status;
} Member;

/* one epoch of one batch */
static void *
member_main(void *arg)
{
	Member *m = arg;
	JobProgress progress = {0};
	Arena arena;

	arena_init(&arena, m->block, m->size);
	m->status = tower_train_init(&m->team, &arena, m->job, &ds, m->config,
								 false, &m->t);
	if (m->status == RS_OK && m->team.rank == 0)
	{
		for (int k = 0; k < 2; k++)
			tower_rows_start(&m->t.side[k].id, 3, (uint64_t) k, 0.1);
		memcpy(m->u, m->t.side[0].id.x, sizeof(float) * USERS * DIM);
		memcpy(m->v, m->t.side[1].id.x, sizeof(float) * ITEMS * DIM);
	}
	if (m->status == RS_OK)
		m->status = team_barrier(&m->team);
	if (m->status == RS_OK)
		m->status = tower_train_epoch(&m->team, &m->t, 1, &progress, &m->loss);
	return NULL;
}

static void
check_side(const TowerRows *rows, const double *want, int n)
{
	for (int r = 0; r < n; r++)
	{
		if (n == ITEMS && r == UNKNOWN)
		{
			CHECK(rows->stamp[r] == 0); /* never a candidate */
			continue;
		}
		for (int k = r * DIM; k < (r + 1) * DIM; k++)
			CHECK(fabs((double) rows->g[k] * n_rows - want[k]) <
				  2e-3 * (1 + fabs(want[k])));
	}
}

static void
test_batch(const TowerConfig *c, int members)
{
	float u[USERS * DIM];
	float v[ITEMS * DIM];
	double du[USERS * DIM];
	double dv[ITEMS * DIM];
	double want;
	TeamShared shared = {0};
	pthread_t thread[3];
	Member m[3];
	JobShared *job = calloc(1, sizeof(JobShared));
	size_t size;
	void *block;

	job->input.n = n_rows;
	job->input.n_users = USERS;
	job->input.n_items = ITEMS;
	size = tower_train_size(c, &job->input);
	block = aligned_alloc(64, (size + 63) / 64 * 64);
	memset(block, 0, size);
	for (int r = members - 1; r >= 0; r--)
	{
		m[r] = (Member){
			{&shared, r, members}, c, job, block, size, .u = u, .v = v};
		if (r > 0)
			pthread_create(&thread[r], NULL, member_main, &m[r]);
		else
			member_main(&m[r]);
	}
	for (int r = 1; r < members; r++)
		pthread_join(thread[r], NULL);
	for (int r = 0; r < members; r++)
		CHECK(m[r].status == RS_OK);
	want = plain(c, u, v, du, dv);
	CHECK(fabs(m[0].loss * n_rows - want) < 1e-4 * (1 + fabs(want)));
	check_side(&m[0].t.side[0].id, du, USERS);
	check_side(&m[0].t.side[1].id, dv, ITEMS);
	for (int r = 0; r < members; r++)
		tower_train_free(&m[r].t);
	free(block);
	free(job);
}

int
main(void)
{
	make_data();
	for (int kind = 0; kind < 16; kind++)
	{
		TowerConfig c = {.dim = DIM,
						 .batch = n_rows,
						 .negatives = kind & 1 ? NEGATIVES : 0,
						 .logq = kind & 2,
						 .remove_accidental = kind & 4,
						 .temperature = kind & 8 ? 0.3f : 1,
						 .learning_rate = RATE,
						 .seed = 7};

		for (int members = 1; members <= 3; members++)
			test_batch(&c, members);
		for (c.hard = 1; c.hard < ITEMS; c.hard += 2)
			test_batch(&c, 1 + c.hard % 4 / 2);
	}
	return check_summary();
}
