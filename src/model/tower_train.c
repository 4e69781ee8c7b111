/*
 * tower_train.c
 *		Two towers with features and hidden layers: batches and their steps.
 *
 * A batch: rows gathered (users a row each, items once each) - inputs summed
 * - layers - softmax and its gradients (softmax_block.c) - layers backwards -
 * gradients scattered to the rows they are of - Adam. The team meets before
 * the softmax and behind it: what lies between the two belongs to one tower,
 * and each tower to one member.
 */
#include "model/tower_train.h"

#include <math.h>
#include <string.h>

#include "math/dense.h"
#include "math/hooks.h"
#include "math/rng.h"
#include "math/vec.h"

#define BETA1 0.9f
#define BETA2 0.999f
#define EPSILON 1e-8f
#define INIT_STD 0.1
#define TILE 256 /* rows of tower_vectors */
#define PIECES 4 /* of a batch's users, whatever the team: sums stay the same */

enum
{
	STREAM_INIT = 1,
	STREAM_ORDER,
	STREAM_DROP
};

static uint64_t
stream(int what, int64_t number)
{
	return ((uint64_t) what << 56) ^ (uint64_t) number;
}

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
work_floats(const TowerConfig *c, const Tower *net)
{
	size_t b = (size_t) c->batch;
	size_t d = (size_t) c->dim;

	return 2 * b * (3 * d + 2 * net->n_acts) + 2 * b * d + net->n_params + 64;
}

/* the softmax's rows are those of a batch */
static void
init_softmax(Towers *t)
{
	Softmax *sm = &t->sm;

	memset(sm, 0, sizeof(*sm));
	sm->config.dim = t->config.dim;
	sm->config.batch = t->config.batch;
	sm->config.remove_accidental = true;
	sm->config.normalize = true;
	sm->config.temperature = t->config.temperature;
	sm->n_users = t->config.batch;
	sm->n_items = t->side[1].n;
	sm->max_cand = t->config.batch;
	sm->tile = 128;
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
	t->log_p = arena_alloc(arena, (size_t) in->n_items, sizeof(float));
	t->work =
		arena_alloc(arena, work_floats(&t->config, &t->net), sizeof(float));
	t->with_id = arena_alloc(arena, 2 * (size_t) t->config.batch, sizeof(bool));
	ok = ok && tower_query_layout(&t->query, arena, in, t->config.dim,
								  t->config.history, t->config.batch);
	init_softmax(t);
	t->sm.dc = arena_alloc(arena,
						   (size_t) PIECES * (size_t) t->config.batch *
							   (size_t) t->config.dim,
						   sizeof(float));
	t->loss = arena_alloc(arena, PIECES, sizeof(double));
	return ok && t->user != NULL && t->item != NULL && t->log_p != NULL &&
		   t->work != NULL && t->with_id != NULL && t->sm.dc != NULL &&
		   t->loss != NULL;
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
	tower_rows_start(&s->id, seed, stream(STREAM_INIT, 3 * k), INIT_STD);
	tower_rows_start(&s->feature, seed, stream(STREAM_INIT, 3 * k + 1),
					 s->n_cols > 0 ? INIT_STD : 0);
	tower_rows_start(&s->layer, seed, 0, 0);
	tower_init_params(&t->net, seed + (uint64_t) k, s->layer.x);
}

static int64_t
count_interactions(const DatasetSide *users)
{
	int64_t n = 0;

	for (int32_t u = 0; u < users->n_rows; u++)
		n += users->end[u] - users->ptr[u];
	return n;
}

static void
start_interactions(Towers *t, const DatasetSide *users,
				   const DatasetSide *items)
{
	int64_t at = 0;

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
		double n = (double) (items->end[i] - items->ptr[i]);

		t->log_p[i] = (float) log((n > 0 ? n : 1) / (double) t->n);
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
	st = tower_query_start(&t->query, team, arena, job, ds, all, c->seed);
	if (st != RS_OK)
	{
		team_stop(team, st);
		return st;
	}
	t->n = count_interactions(&users);
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

/* ---- inputs, and their gradients ---- */

static void
input_of(const TowerSide *s, int32_t row, bool with_id, float *x)
{
	int d = s->id.dim;
	size_t w = (size_t) d;

	memcpy(x, s->feature.x + (size_t) s->n_cols * w, sizeof(float) * w);
	if (with_id)
		vec_axpy(1, s->id.x + (size_t) row * w, x, d);
	for (int64_t e = s->n_cols > 0 ? s->ptr[row] : 0;
		 s->n_cols > 0 && e < s->ptr[row + 1]; e++)
		vec_axpy(s->val[e], s->feature.x + (size_t) s->col[e] * w, x, d);
}

float *
tower_gradient(TowerRows *r, int32_t row, int32_t now)
{
	float *g = r->g + (size_t) row * (size_t) r->dim;

	if (r->stamp[row] != now)
	{
		r->stamp[row] = now;
		r->touched[r->n_touched++] = row;
		memset(g, 0, sizeof(float) * (size_t) r->dim);
	}
	return g;
}

static void
scatter(TowerSide *s, int32_t row, bool with_id, const float *dx, int32_t now)
{
	int d = s->id.dim;

	vec_axpy(1, dx, tower_gradient(&s->feature, s->n_cols, now), d);
	if (with_id)
		vec_axpy(1, dx, tower_gradient(&s->id, row, now), d);
	for (int64_t e = s->n_cols > 0 ? s->ptr[row] : 0;
		 s->n_cols > 0 && e < s->ptr[row + 1]; e++)
		vec_axpy(s->val[e], dx, tower_gradient(&s->feature, s->col[e], now), d);
}

static void
adam(const Towers *t, TowerRows *r)
{
	float root = (float) (1 / sqrt(1 - pow(BETA2, (double) t->step)));
	float rate =
		(float) (t->config.learning_rate / (1 - pow(BETA1, (double) t->step)));

	for (int32_t k = 0; k < r->n_touched; k++)
	{
		size_t at = (size_t) r->touched[k] * (size_t) r->dim;
		float *restrict x = r->x + at;
		float *restrict m = r->m + at;
		float *restrict v = r->v + at;
		const float *restrict g = r->g + at;

		for (int f = 0; f < r->dim; f++)
		{
			m[f] = BETA1 * m[f] + (1 - BETA1) * g[f];
			v[f] = BETA2 * v[f] + (1 - BETA2) * g[f] * g[f];
			x[f] -= rate * m[f] / (sqrtf(v[f]) * root + EPSILON);
		}
	}
	r->n_touched = 0;
}

/* ---- one batch ---- */

typedef struct Batch
{
	const int32_t *row;  /* (n) of the side */
	const int32_t *item; /* (n) what users are to find; NULL: the items */
	int n;
	bool *with_id;
	float *x;    /* (n, dim) */
	float *y;    /* (n, dim) */
	float *dx;   /* (n, dim) */
	float *acts; /* (n, 2 n_acts) */
} Batch;

static void
forward(const Towers *t, int side, Batch *b, Rng *rng)
{
	const TowerSide *s = &t->side[side];
	size_t d = (size_t) t->config.dim;

	for (int r = 0; r < b->n; r++)
	{
		bool other =
			s->n_cols > 0 || (b->item != NULL && t->config.history > 0);

		b->with_id[r] = !other || rng_uniform(rng) >= t->config.dropout;
		input_of(s, b->row[r], b->with_id[r], b->x + (size_t) r * d);
		if (b->item != NULL)
			tower_add_history(&t->query, b->row[r], b->item[r],
							  b->x + (size_t) r * d);
	}
	tower_forward(&t->net, s->layer.x, b->n, b->x, b->acts, b->y);
}

static void
backward(Towers *t, int side, Batch *b, const float *dy)
{
	TowerSide *s = &t->side[side];
	size_t d = (size_t) t->config.dim;
	int32_t now = (int32_t) t->step;

	s->layer.touched[0] = 0;
	s->layer.n_touched = 1;
	tower_backward(&t->net, s->layer.x, b->n, b->x, b->acts, dy, s->layer.g,
				   b->dx);
	for (int r = 0; r < b->n; r++)
	{
		scatter(s, b->row[r], b->with_id[r], b->dx + (size_t) r * d, now);
		if (b->item != NULL)
			tower_scatter_history(&t->query, b->row[r], b->item[r],
								  b->dx + (size_t) r * d, now);
	}
	adam(t, &s->layer);
	adam(t, &s->id);
	adam(t, &s->feature);
}

/* the distinct items of the batch with their weights; places of the rows */
static void
find_candidates(Towers *t, const int32_t *item, int n)
{
	SoftmaxScratch *own = &t->sm.own;

	own->n_cand = 0;
	for (int r = 0; r < n; r++)
	{
		int32_t i = item[r];

		if (own->slot[i] < 0)
		{
			own->slot[i] = own->n_cand;
			own->fill[own->n_cand] = i;
			own->weight[own->n_cand++] = 0;
		}
		own->weight[own->slot[i]] += 1;
		own->pos[r] = own->slot[i];
	}
	for (int j = 0; j < own->n_cand; j++)
	{
		int32_t i = own->fill[j];

		own->slot[i] = -1;
		own->cand[j] = j;
		own->logq[j] = t->config.logq ? t->log_p[i] + logf((float) n) : 0;
		own->weight[j] *= expf(-own->logq[j]);
	}
}

/* the softmax is of these users now */
static void
take_users(Softmax *sm, int first, int end)
{
	SoftmaxScratch *own = &sm->own;

	sm->user_from = first;
	own->n_users = end - first;
	for (int k = 0; k <= own->n_users; k++)
		own->ptr[k] = first + k;
	for (int k = 0; k < own->n_users; k++)
		own->users[k] = first + k;
}

static void
keep_gradients(Softmax *sm, int first, int n)
{
	size_t d = (size_t) sm->config.dim;

	/* u is the users' vectors; behind them there is room for gradients */
	memcpy(sm->u_state[0] + (size_t) (sm->user_from + first) * d, sm->own.dq,
		   sizeof(float) * (size_t) n * d);
}

/* the items' gradients of all pieces, into those of the first */
static void
sum_gradients(Towers *t)
{
	size_t part = (size_t) t->config.batch * (size_t) t->config.dim;
	int n = t->sm.own.n_cand * t->config.dim;

	for (int p = 1; p < PIECES; p++)
		vec_axpy(1, t->sm.dc + (size_t) p * part, t->sm.dc, n);
}

static Batch
take_batch(const Towers *t, float **at, const int32_t *row, int n,
		   bool *with_id)
{
	size_t b = (size_t) t->config.batch;
	size_t d = (size_t) t->config.dim;
	Batch out = {.row = row,
				 .n = n,
				 .with_id = with_id,
				 .x = *at,
				 .y = *at + b * d,
				 .dx = *at + 2 * b * d,
				 .acts = *at + 3 * b * d};

	*at += b * (3 * d + 2 * t->net.n_acts);
	return out;
}

/* one tower's forward pass, by the member that has it */
static void
run_forward(Towers *t, int side, Batch *b, const uint32_t *place)
{
	Rng rng;

	rng_init(&rng, t->config.seed, stream(STREAM_DROP, 2 * t->step + side));
	forward(t, side, b, &rng);
	if (side == 0 && place != NULL)
		tower_add_context(&t->query, place, b->n, b->y, &rng);
}

static void
run_backward(Towers *t, int side, Batch *b, const uint32_t *place, int rows)
{
	float *dy = side == 0 ? t->sm.u_state[0] : t->sm.dc;

	if (side == 1)
		sum_gradients(t);
	dense.scale(1 / (float) rows, dy, b->n * t->config.dim);
	if (side == 0 && place != NULL)
	{
		tower_scatter_context(&t->query, place, b->n, b->y, dy,
							  (int32_t) t->step);
		adam(t, &t->query.column);
	}
	backward(t, side, b, dy);
	if (side == 0 && t->config.history > 0)
		adam(t, &t->query.history);
}

/* this member's pieces of the n users */
static RsStatus
run_softmax(Team *team, Towers *t, int n)
{
	Softmax *sm = &t->sm;
	size_t part = (size_t) t->config.batch * (size_t) t->config.dim;
	RsStatus st = RS_OK;

	softmax_candidates(sm);
	for (int p = team->rank; p < PIECES && st == RS_OK; p += team->size)
	{
		take_users(sm, n * p / PIECES, n * (p + 1) / PIECES);
		st = softmax_block(team, sm, sm->dc + (size_t) p * part, keep_gradients,
						   &t->loss[p]);
		if (st == RS_OK && !isfinite(t->loss[p]))
			st = RS_DIVERGED;
	}
	if (st != RS_OK)
		team_stop(team, st);
	return st;
}

static RsStatus
run_batch(Team *team, Towers *t, int64_t from, int n)
{
	Softmax *sm = &t->sm;
	const uint32_t *place =
		t->query.place != NULL ? t->query.place + from : NULL;
	float *at = t->work;
	Batch batch[2];
	int member[2] = {0, team->size - 1};
	RsStatus st;

	t->step++;
	find_candidates(t, t->item + from, n);
	batch[0] = take_batch(t, &at, t->user + from, n, t->with_id);
	batch[0].item = t->item + from;
	batch[1] = take_batch(t, &at, sm->own.fill, sm->own.n_cand,
						  t->with_id + t->config.batch);
	sm->u = batch[0].y;
	sm->v = batch[1].y;
	sm->u_state[0] = at;
	for (int side = 0; side < 2; side++)
		if (team->rank == member[side])
			run_forward(t, side, &batch[side], place);
	st = team_barrier(team);
	if (st == RS_OK)
		st = run_softmax(team, t, n);
	if (st == RS_OK)
		st = team_barrier(team);
	for (int side = 0; side < 2 && st == RS_OK; side++)
		if (team->rank == member[side])
			run_backward(t, side, &batch[side], place, n);
	return st;
}

static void
shuffle(Towers *t, int epoch)
{
	Rng rng;

	rng_init(&rng, t->config.seed, stream(STREAM_ORDER, epoch));
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
		st =
			run_batch(team, t, from, (int) (t->n - from < b ? t->n - from : b));
		for (int p = 0; st == RS_OK && p < PIECES; p++)
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
			input_of(s, (int32_t) r + k, s->known[r + k], x + (size_t) k * d);
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
