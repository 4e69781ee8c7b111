/*
 * tower_train.c
 *		Two towers with features and hidden layers: memory, start, epochs.
 *
 * tower_step.c has the steps.
 */
#include "model/tower_train.h"

#include <math.h>
#include <string.h>

#include "math/dense.h"
#include "math/hooks.h"
#include "math/rng.h"
#include "math/vec.h"

#define TILE 256 /* rows of tower_vectors */

/* ---- memory ---- */

bool
tower_rows_layout(TowerRows *r, Arena *arena, int64_t n, int dim)
{
	size_t size = (size_t) n * (size_t) dim;

	r->n = n;
	r->dim = dim;
	r->x = arena_alloc(arena, size, sizeof(float));
	r->m = arena_alloc(arena, size, sizeof(float));
	r->v = arena_alloc(arena, size, sizeof(float));
	r->g = arena_alloc(arena, size, sizeof(float));
	r->stamp = arena_alloc(arena, (size_t) n, sizeof(int32_t));
	r->touched = arena_alloc(arena, (size_t) n, sizeof(int32_t));
	return r->x != NULL && r->m != NULL && r->v != NULL && r->g != NULL &&
		   r->stamp != NULL && r->touched != NULL;
}

/* floats of one batch: inputs, vectors, gradients and activations */
static size_t
work_floats(const Towers *t)
{
	size_t b = (size_t) t->config.batch;
	size_t d = (size_t) t->config.dim;

	return (b + (size_t) t->sm.max_cand) * (3 * d + 2 * t->net.n_acts) + b * d;
}

/* the softmax's rows are those of a batch */
static void
init_softmax(Towers *t)
{
	Softmax *sm = &t->sm;

	memset(sm, 0, sizeof(*sm));
	sm->config.dim = t->config.dim;
	sm->config.batch = t->config.batch;
	sm->config.negatives = t->config.negatives;
	sm->config.hard = t->config.hard;
	sm->config.remove_accidental = t->config.remove_accidental;
	sm->config.normalize = true;
	sm->config.temperature = t->config.temperature;
	sm->n_items = t->side[1].n;
	softmax_limits(sm, 128);
	/* their scratch numbers the candidates, too */
	sm->n_users =
		sm->max_cand > t->config.batch ? sm->max_cand : t->config.batch;
}

/* every allocation; a dry arena measures */
static bool
layout(Towers *t, Arena *arena, const JobInput *in)
{
	const JobFeatures *f[2] = {&in->users, &in->items};
	bool ok = true;

	tower_init(&t->net, t->config.dim, t->config.hidden, t->config.n_hidden);
	for (int k = 0; k < 2; k++)
	{
		TowerSide *s = &t->side[k];

		s->n = k == 0 ? in->n_users : in->n_items;
		s->n_cols = f[k]->n_rows > 0 ? f[k]->n_cols : 0;
		s->known = arena_alloc(arena, (size_t) s->n, sizeof(bool));
		ok = ok && s->known != NULL &&
			 tower_rows_layout(&s->id, arena, s->n, t->config.dim) &&
			 tower_rows_layout(&s->feature, arena, s->n_cols + 1,
							   t->config.dim) &&
			 tower_rows_layout(&s->layer, arena, 1, (int) t->net.n_params);
	}
	t->user = arena_alloc(arena, (size_t) in->n, sizeof(int32_t));
	t->item = arena_alloc(arena, (size_t) in->n, sizeof(int32_t));
	t->share = arena_alloc(arena, (size_t) in->n_items, sizeof(float));
	t->drawn = arena_alloc(arena, (size_t) in->n_items, sizeof(int32_t));
	init_softmax(t);
	t->work = arena_alloc(arena, work_floats(t), sizeof(float));
	t->with_id =
		arena_alloc(arena, (size_t) t->config.batch + (size_t) t->sm.max_cand,
					sizeof(bool));
	ok = ok && tower_query_layout(&t->query, arena, in, t->config.dim,
								  t->config.history, t->config.batch);
	t->sm.dc = arena_alloc(arena,
						   (size_t) TOWER_PIECES * (size_t) t->sm.max_cand *
							   (size_t) t->config.dim,
						   sizeof(float));
	t->loss = arena_alloc(arena, TOWER_PIECES, sizeof(double));
	return ok && t->user != NULL && t->item != NULL && t->share != NULL &&
		   t->drawn != NULL && t->work != NULL && t->with_id != NULL &&
		   t->sm.dc != NULL && t->loss != NULL;
}

void
tower_limit(TowerConfig *c, const JobInput *in)
{
	if (c->batch > in->n)
		c->batch = (int) in->n;
}

size_t
tower_train_size(const TowerConfig *c, const JobInput *in)
{
	Towers *t = math_alloc_zero(sizeof(Towers));
	Arena dry = {(char *) 64, SIZE_MAX / 2, 0};
	bool ok;

	if (t == NULL)
		return SIZE_MAX;
	t->config = *c;
	ok = layout(t, &dry, in);
	math_release(t);
	return ok ? dry.used + 4096 : SIZE_MAX;
}

/* ---- start ---- */

void
tower_rows_start(TowerRows *r, uint64_t seed, uint64_t number, double scale)
{
	size_t size = (size_t) r->n * (size_t) r->dim;
	Rng rng;

	rng_init(&rng, seed, number);
	for (size_t k = 0; k < size; k++)
		r->x[k] = scale > 0 ? (float) (scale * rng_normal(&rng)) : 0;
	memset(r->m, 0, sizeof(float) * size);
	memset(r->v, 0, sizeof(float) * size);
	memset(r->stamp, 0, sizeof(int32_t) * (size_t) r->n);
}

static void
start_side(Towers *t, int k, const DatasetSide *d)
{
	TowerSide *s = &t->side[k];
	uint64_t seed = t->config.seed;

	for (int32_t r = 0; r < s->n; r++)
		s->known[r] = d->end[r] > d->ptr[r];
	tower_rows_start(&s->id, seed, 0, 0);
	tower_rows_start(&s->feature, seed, 0, 0);
	tower_rows_start(&s->layer, seed, 0, 0);
	tower_init_params(&t->net, seed + (uint64_t) k, s->layer.x);
}

/* interactions, and the rows that have any */
static int64_t
count_interactions(const DatasetSide *d, int32_t *n_with)
{
	int64_t n = 0;

	*n_with = 0;
	for (int32_t r = 0; r < d->n_rows; r++)
	{
		n += d->end[r] - d->ptr[r];
		*n_with += d->end[r] > d->ptr[r];
	}
	return n;
}

static void
start_interactions(Towers *t, const DatasetSide *users,
				   const DatasetSide *items)
{
	int64_t at = 0;
	int32_t drawn = 0;

	for (int32_t u = 0; u < users->n_rows; u++)
		for (int64_t e = users->ptr[u]; e < users->end[u]; e++)
		{
			if (t->query.place != NULL)
				t->query.place[at] = (uint32_t) e;
			t->user[at] = u;
			t->item[at++] = users->index[e];
		}
	for (int32_t i = 0; i < items->n_rows; i++)
	{
		int64_t n = items->end[i] - items->ptr[i];

		t->share[i] = (float) ((double) n / (double) t->n);
		if (n > 0)
			t->drawn[drawn++] = i;
	}
}

RsStatus
tower_train_init(Team *team, Arena *arena, JobShared *job, const Dataset *ds,
				 const TowerConfig *c, bool all, Towers *t)
{
	DatasetSide users = dataset_users(ds, all);
	DatasetSide items = dataset_items(ds, all);
	const JobInput *in = &job->input;
	RsStatus st;

	memset(t, 0, sizeof(*t));
	t->config = *c;
	if (!layout(t, arena, in) || softmax_alloc(&t->sm) != RS_OK)
	{
		team_stop(team, RS_NO_MEMORY);
		return RS_NO_MEMORY;
	}
	for (int k = 0; k < 2; k++)
	{
		const JobFeatures *f = k == 0 ? &in->users : &in->items;
		TowerSide *s = &t->side[k];

		if (s->n_cols == 0)
			continue;
		s->ptr = job_at(job, f->ptr);
		s->col = job_at(job, f->col);
		s->val = job_at(job, f->val);
	}
	st = tower_query_start(&t->query, team, job, ds, all, c->seed);
	if (st != RS_OK)
	{
		team_stop(team, st);
		return st;
	}
	t->n = count_interactions(&items, &t->n_drawn);
	if (team->rank == 0)
	{
		start_side(t, 0, &users);
		start_side(t, 1, &items);
		start_interactions(t, &users, &items);
		if (t->n == 0)
			team_stop(team, RS_NO_DATA);
	}
	return team_barrier(team);
}

void
tower_train_free(Towers *t)
{
	softmax_free(&t->sm);
}

/* ---- epochs, and vectors ---- */

static void
shuffle(Towers *t, int epoch)
{
	Rng rng;

	rng_init(&rng, t->config.seed, tower_stream(TOWER_STREAM_ORDER, epoch));
	for (int64_t k = t->n - 1; k > 0; k--)
	{
		int64_t j = (int64_t) rng_below(&rng, (uint64_t) k + 1);
		int32_t u = t->user[k];
		int32_t i = t->item[k];

		t->user[k] = t->user[j];
		t->item[k] = t->item[j];
		t->user[j] = u;
		t->item[j] = i;
		if (t->query.place != NULL)
		{
			uint32_t p = t->query.place[k];

			t->query.place[k] = t->query.place[j];
			t->query.place[j] = p;
		}
	}
}

RsStatus
tower_train_epoch(Team *team, Towers *t, int epoch, JobProgress *progress,
				  double *loss)
{
	int b = t->config.batch;
	RsStatus st;

	*loss = 0;
	if (team->rank == 0)
	{
		shuffle(t, epoch);
		progress->batches = (t->n + b - 1) / b;
	}
	st = team_barrier(team);
	for (int64_t from = 0; from < t->n && st == RS_OK; from += b)
	{
		if (team->rank == 0)
			progress->batch = from / b;
		st = tower_step(team, t, from,
						(int) (t->n - from < b ? t->n - from : b));
		for (int p = 0; st == RS_OK && p < TOWER_PIECES; p++)
			*loss += t->loss[p];
	}
	*loss /= (double) t->n;
	return st == RS_OK ? team_barrier(team) : st;
}

RsStatus
tower_vectors(Team *team, const Towers *t, int side, float *out)
{
	const TowerSide *s = &t->side[side];
	size_t d = (size_t) t->config.dim;
	float *x =
		math_alloc_array(TILE * (d + 2 * t->net.n_acts + 1), sizeof(float));
	RsStatus st = x == NULL ? RS_NO_MEMORY : RS_OK;
	int64_t from;
	int64_t to;

	/* whole tiles, so that products have the same shape in any team */
	team_range(team, (s->n + TILE - 1) / TILE, &from, &to);
	from *= TILE;
	to = to * TILE < s->n ? to * TILE : s->n;
	for (int64_t r = from; r < to && st == RS_OK; r += TILE)
	{
		int n = (int) (to - r < TILE ? to - r : TILE);
		float *y = out + (size_t) r * d;

		for (int k = 0; k < n; k++)
		{
			tower_input(s, (int32_t) r + k, s->known[r + k],
						x + (size_t) k * d);
			if (side == 0)
				tower_add_history(&t->query, (int32_t) r + k, -1,
								  x + (size_t) k * d);
		}
		tower_forward(&t->net, s->layer.x, n, x, x + TILE * d, y);
		for (int k = 0; k < n; k++, y += d)
			dense.scale(1 / (sqrtf(vec_dot(y, y, (int) d)) + 1e-12f), y,
						(int) d);
		st = team_stopped(team);
	}
	math_release(x);
	return st;
}
