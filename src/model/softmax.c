/*
 * softmax.c
 *		Batches, optimizer steps and epochs of the softmax.
 *
 * A member owns the users of a contiguous range, for the whole training: it
 * alone reads and writes their embeddings. A batch is
 *
 *	all:    candidates and their weights (each member for itself)
 *	member: softmax_block over its users of the batch; their update
 *	barrier
 *	member: sum of the gradients of its part of the candidates; update
 *	barrier
 */
#include "model/softmax.h"

#include <math.h>
#include <string.h>

#include "math/dense.h"
#include "math/hooks.h"
#include "math/rng.h"
#include "math/vec.h"

#define TILE_FLOATS (512 * 1024) /* of a score matrix: stays in cache */
#define STREAM_ITEM (1ULL << 40) /* of initial values, beyond any user */
#define STREAM_SHUFFLE (1ULL << 41)
#define STREAM_NEGATIVE (1ULL << 42)

static int
max_candidates(const SoftmaxConfig *config, int32_t n_items)
{
	int64_t most = (int64_t) config->batch + config->negatives;

	return config->all || most > n_items ? n_items : (int) most;
}

void
softmax_limits(Softmax *sm, int most)
{
	sm->max_cand = max_candidates(&sm->config, sm->n_items);
	sm->tile = TILE_FLOATS / sm->max_cand;
	sm->tile = sm->tile < 16 ? 16 : sm->tile > most ? most : sm->tile;
}

static int
state_arrays(const SoftmaxConfig *config)
{
	switch (config->optimizer)
	{
		case OPTIMIZER_SGD:
			return 0;
		case OPTIMIZER_ADAM:
			return 2;
		default:
			return 1;
	}
}

size_t
softmax_size(const SoftmaxConfig *config, int32_t n_users, int32_t n_items,
			 int64_t n, int workers)
{
	size_t d = (size_t) config->dim;
	size_t tables = 1 + (size_t) state_arrays(config);
	size_t size = 4096;

	size += 2 * arena_need((size_t) n, sizeof(int32_t));
	size += arena_need((size_t) n_items, sizeof(int64_t));
	size += tables * arena_need((size_t) n_users * d, sizeof(float));
	size += tables * arena_need((size_t) n_items * d, sizeof(float));
	size += arena_need((size_t) workers *
						   (size_t) max_candidates(config, n_items) * d,
					   sizeof(float));
	size += arena_need(TEAM_MAX * 8, sizeof(double));
	return size;
}

RsStatus
softmax_alloc(Softmax *sm)
{
	SoftmaxScratch *own = &sm->own;
	size_t d = (size_t) sm->config.dim;
	size_t cand = (size_t) sm->max_cand;
	size_t batch = (size_t) sm->config.batch;
	size_t tile = (size_t) sm->tile;

	own->slot = math_alloc_array((size_t) sm->n_items, sizeof(int32_t));
	own->cand = math_alloc_array(cand, sizeof(int32_t));
	own->weight = math_alloc_array(cand, sizeof(float));
	own->logq = math_alloc_array(cand, sizeof(float));
	own->fill = math_alloc_array((size_t) sm->n_users, sizeof(int32_t));
	own->users = math_alloc_array(batch, sizeof(int32_t));
	own->ptr = math_alloc_array(batch + 1, sizeof(int32_t));
	own->pos = math_alloc_array(batch, sizeof(int32_t));
	own->row = math_alloc_array(batch, sizeof(float));
	own->pick = math_alloc_array(cand, sizeof(float));
	own->q = math_alloc_array(tile * d, sizeof(float));
	own->dq = math_alloc_array(tile * d, sizeof(float));
	own->qn = math_alloc_array(tile, sizeof(float));
	own->c = math_alloc_array(cand * d, sizeof(float));
	own->cn = math_alloc_array(cand, sizeof(float));
	own->s = math_alloc_array(tile * cand, sizeof(float));
	if (own->slot == NULL || own->cand == NULL || own->weight == NULL ||
		own->logq == NULL || own->fill == NULL || own->users == NULL ||
		own->ptr == NULL || own->pos == NULL || own->row == NULL ||
		own->pick == NULL || own->q == NULL || own->dq == NULL ||
		own->qn == NULL || own->c == NULL || own->cn == NULL || own->s == NULL)
		return RS_NO_MEMORY;
	memset(own->slot, -1, sizeof(int32_t) * (size_t) sm->n_items);
	memset(own->fill, 0, sizeof(int32_t) * (size_t) sm->n_users);
	return RS_OK;
}

void
softmax_free(Softmax *sm)
{
	SoftmaxScratch *own = &sm->own;

	math_release(own->slot);
	math_release(own->cand);
	math_release(own->weight);
	math_release(own->logq);
	math_release(own->fill);
	math_release(own->users);
	math_release(own->ptr);
	math_release(own->pos);
	math_release(own->row);
	math_release(own->pick);
	math_release(own->q);
	math_release(own->dq);
	math_release(own->qn);
	math_release(own->c);
	math_release(own->cn);
	math_release(own->s);
	memset(own, 0, sizeof(*own));
}

static bool
alloc_shared(Softmax *sm, Arena *arena, int workers, int64_t n)
{
	size_t d = (size_t) sm->config.dim;
	size_t nu = (size_t) sm->n_users * d;
	size_t nv = (size_t) sm->n_items * d;

	sm->row_user = arena_alloc(arena, (size_t) n, sizeof(int32_t));
	sm->row_item = arena_alloc(arena, (size_t) n, sizeof(int32_t));
	sm->item_freq = arena_alloc(arena, (size_t) sm->n_items, sizeof(int64_t));
	sm->u = arena_alloc(arena, nu, sizeof(float));
	sm->v = arena_alloc(arena, nv, sizeof(float));
	for (int k = 0; k < state_arrays(&sm->config); k++)
	{
		sm->u_state[k] = arena_alloc(arena, nu, sizeof(float));
		sm->v_state[k] = arena_alloc(arena, nv, sizeof(float));
		if (sm->u_state[k] == NULL || sm->v_state[k] == NULL)
			return false;
	}
	sm->dc = arena_alloc(arena, (size_t) workers * (size_t) sm->max_cand * d,
						 sizeof(float));
	sm->loss = arena_alloc(arena, TEAM_MAX * 8, sizeof(double));
	return sm->row_user != NULL && sm->row_item != NULL &&
		   sm->item_freq != NULL && sm->u != NULL && sm->v != NULL &&
		   sm->dc != NULL && sm->loss != NULL;
}

/* training rows, and how often each item occurs */
static void
expand_rows(Softmax *sm, const Dataset *ds)
{
	int64_t at = 0;

	memset(sm->item_freq, 0, sizeof(int64_t) * (size_t) sm->n_items);
	for (int32_t u = 0; u < ds->n_users; u++)
		for (int64_t r = ds->user_ptr[u]; r < ds->user_end[u]; r++)
		{
			sm->item_freq[ds->item[r]]++;
			sm->row_user[at] = u;
			sm->row_item[at++] = ds->item[r];
		}
}

/* rows [from, to) of a table: initial values, each row a stream of its own */
static void
init_rows(const Softmax *sm, float *table, float *const *state, int32_t from,
		  int32_t to, uint64_t stream)
{
	int d = sm->config.dim;
	float a0 = sm->config.optimizer == OPTIMIZER_ADAGRAD ? 0.1f : 0.0f;

	for (int32_t r = from; r < to; r++)
	{
		float *row = table + (size_t) r * (size_t) d;
		Rng rng;

		rng_init(&rng, sm->config.seed, stream + (uint64_t) r);
		for (int k = 0; k < d; k++)
			row[k] = (float) (2 * rng_uniform(&rng) - 1) * sm->config.init;
		for (int a = 0; a < state_arrays(&sm->config); a++)
			for (int k = 0; k < d; k++)
				state[a][(size_t) r * (size_t) d + (size_t) k] = a0;
	}
}

/* users of this member: contiguous, with an equal part of the rows */
static void
own_users(Softmax *sm, const Team *team, const Dataset *ds)
{
	int64_t seen = 0;
	int64_t total = ds->n - ds->n_held;
	int member = 0;

	sm->user_from = sm->user_to = sm->n_users;
	for (int32_t u = 0; u < sm->n_users; u++)
	{
		while (member < team->size - 1 &&
			   seen >= total * (member + 1) / team->size)
			member++;
		if (member == team->rank && u < sm->user_from)
			sm->user_from = u;
		if (member == team->rank)
			sm->user_to = u + 1;
		seen += ds->user_end[u] - ds->user_ptr[u];
	}
}

RsStatus
softmax_init(Team *team, Arena *arena, const Dataset *ds,
			 const SoftmaxConfig *config, Softmax *sm)
{
	int64_t from;
	int64_t to;

	memset(sm, 0, sizeof(*sm));
	sm->config = *config;
	sm->n_users = ds->n_users;
	sm->n_items = ds->n_items;
	softmax_limits(sm, 512);
	if (!alloc_shared(sm, arena, team->size, ds->n))
		return RS_NO_MEMORY;
	if (softmax_alloc(sm) != RS_OK)
	{
		softmax_free(sm);
		team_stop(team, RS_NO_MEMORY);
		return RS_NO_MEMORY;
	}
	own_users(sm, team, ds);
	sm->n_rows = ds->n - ds->n_held;
	if (team->rank == 0)
		expand_rows(sm, ds);
	init_rows(sm, sm->u, sm->u_state, sm->user_from, sm->user_to, 0);
	team_range(team, ds->n_items, &from, &to);
	init_rows(sm, sm->v, sm->v_state, (int32_t) from, (int32_t) to,
			  STREAM_ITEM);
	return team_barrier(team);
}

static void
update_row(const Softmax *sm, float *w, float *const *state, size_t at,
		   const float *grad)
{
	const SoftmaxConfig *c = &sm->config;
	float step;

	switch (c->optimizer)
	{
		case OPTIMIZER_SGD:
			vec_axpy(-c->lr, grad, w + at, c->dim);
			break;
		case OPTIMIZER_ADAM:
			step = c->lr * (float) (sqrt(1 - pow(0.999, (double) sm->step)) /
									(1 - pow(0.9, (double) sm->step)));
			dense.adam(w + at, state[0] + at, state[1] + at, grad, c->dim, step,
					   0.9f, 0.999f, 1e-7f);
			break;
		default:
			dense.adagrad(w + at, state[0] + at, grad, c->dim, c->lr, 1e-7f);
	}
}

static void
update_users(Softmax *sm, int first, int n)
{
	size_t d = (size_t) sm->config.dim;

	for (int r = 0; r < n; r++)
		update_row(sm, sm->u, sm->u_state,
				   (size_t) sm->own.users[first + r] * d,
				   sm->own.dq + (size_t) r * d);
}

/* this member's part of the candidates: sum over members, then a step */
static void
update_items(Softmax *sm, const Team *team)
{
	size_t d = (size_t) sm->config.dim;
	size_t stride = (size_t) sm->max_cand * d;
	int64_t from;
	int64_t to;

	team_range(team, sm->own.n_cand, &from, &to);
	for (int64_t j = from; j < to; j++)
	{
		float *grad = sm->dc + (size_t) j * d;

		for (int m = 1; m < team->size; m++)
			vec_axpy(1, grad + (size_t) m * stride, grad, (int) d);
		update_row(sm, sm->v, sm->v_state, (size_t) sm->own.cand[j] * d, grad);
	}
}

static void
add_candidate(SoftmaxScratch *own, int32_t item)
{
	if (own->slot[item] < 0)
	{
		own->slot[item] = own->n_cand;
		own->cand[own->n_cand] = item;
		own->weight[own->n_cand++] = 0;
	}
	own->weight[own->slot[item]] += 1;
}

/* candidates of rows [from, to), weights, and log q with the correction */
static void
pick_candidates(Softmax *sm, int64_t from, int64_t to)
{
	SoftmaxScratch *own = &sm->own;
	const SoftmaxConfig *c = &sm->config;
	double total = (double) (to - from + c->negatives);
	Rng rng;

	for (int j = 0; j < own->n_cand; j++)
		own->slot[own->cand[j]] = -1;
	own->n_cand = 0;
	if (c->all)
		for (int32_t i = 0; i < sm->n_items; i++)
			add_candidate(own, i);
	else
		for (int64_t r = from; r < to; r++)
			add_candidate(own, sm->row_item[r]);
	rng_init(&rng, c->seed, STREAM_NEGATIVE + (uint64_t) sm->step);
	for (int k = 0; !c->all && k < c->negatives; k++)
		add_candidate(own, (int32_t) rng_below(&rng, (uint64_t) sm->n_items));
	for (int j = 0; j < own->n_cand; j++)
	{
		double p = (double) sm->item_freq[own->cand[j]] / (double) sm->n_rows;
		double q = (p * (double) (to - from) +
					(double) c->negatives / (double) sm->n_items) /
				   total;

		own->logq[j] =
			c->logq && !c->all ? (float) log(q > 1e-9 ? q : 1e-9) : 0;
		if (c->logq && !c->all)
			own->weight[j] *= expf(-own->logq[j]);
	}
}

/* this member's rows among [from, to), by user */
static void
pick_users(Softmax *sm, int64_t from, int64_t to)
{
	SoftmaxScratch *own = &sm->own;
	int32_t at = 0;

	own->n_users = 0;
	for (int64_t r = from; r < to; r++)
	{
		int32_t u = sm->row_user[r];

		if (u < sm->user_from || u >= sm->user_to)
			continue;
		if (own->fill[u]++ == 0)
			own->users[own->n_users++] = u;
	}
	for (int k = 0; k < own->n_users; k++)
	{
		int32_t rows = own->fill[own->users[k]];

		own->ptr[k] = own->fill[own->users[k]] = at;
		at += rows;
	}
	own->ptr[own->n_users] = at;
	for (int64_t r = from; r < to; r++)
	{
		int32_t u = sm->row_user[r];

		if (u >= sm->user_from && u < sm->user_to)
			own->pos[own->fill[u]++] = own->slot[sm->row_item[r]];
	}
	for (int k = 0; k < own->n_users; k++)
		own->fill[own->users[k]] = 0;
}

static void
shuffle(Softmax *sm, int epoch)
{
	Rng rng;

	rng_init(&rng, sm->config.seed, STREAM_SHUFFLE + (uint64_t) epoch);
	for (int64_t i = sm->n_rows - 1; i > 0; i--)
	{
		int64_t j = (int64_t) rng_below(&rng, (uint64_t) i + 1);
		int32_t u = sm->row_user[i];
		int32_t v = sm->row_item[i];

		sm->row_user[i] = sm->row_user[j];
		sm->row_item[i] = sm->row_item[j];
		sm->row_user[j] = u;
		sm->row_item[j] = v;
	}
}

static RsStatus
train_batch(Team *team, Softmax *sm, int64_t from, int64_t to, double *loss)
{
	float *dc = sm->dc + (size_t) team->rank * (size_t) sm->max_cand *
							 (size_t) sm->config.dim;
	RsStatus st;

	sm->step++;
	pick_candidates(sm, from, to);
	pick_users(sm, from, to);
	softmax_candidates(sm);
	st = softmax_block(team, sm, dc, update_users, &sm->loss[team->rank * 8]);
	if (st != RS_OK)
		return st;
	if ((st = team_barrier(team)) != RS_OK)
		return st;
	*loss = 0;
	for (int m = 0; m < team->size; m++)
		*loss += sm->loss[m * 8];
	update_items(sm, team);
	return team_barrier(team);
}

RsStatus
softmax_epoch(Team *team, Softmax *sm, int epoch, JobProgress *progress,
			  double *loss)
{
	int64_t batch = sm->config.batch;
	double sum = 0;
	RsStatus st;

	if (team->rank == 0)
	{
		if (epoch == 1 || !sm->config.shuffle_once)
			shuffle(sm, epoch);
		progress->batches = (sm->n_rows + batch - 1) / batch;
	}
	if ((st = team_barrier(team)) != RS_OK)
		return st;
	for (int64_t a = 0; a < sm->n_rows; a += batch)
	{
		int64_t b = a + batch < sm->n_rows ? a + batch : sm->n_rows;
		double part;

		if ((st = train_batch(team, sm, a, b, &part)) != RS_OK)
			return st;
		sum += part;
		if (team->rank == 0)
		{
			progress->batch = a / batch + 1;
			progress->loss = part / (double) (b - a);
		}
		/* the same for every member, so all leave here */
		if (!isfinite(sum))
			break;
	}
	*loss = sum / (double) (sm->n_rows > 0 ? sm->n_rows : 1);
	return RS_OK;
}
