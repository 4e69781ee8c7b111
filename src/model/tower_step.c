/*
 * tower_step.c
 *		Two towers with features and hidden layers: one batch.
 *
 * Rows gathered (users a row each, items once each) - inputs summed
 * - layers - softmax and its gradients (softmax_block.c) - layers backwards -
 * gradients scattered to the rows they are of - Adam. The team meets before
 * the softmax and behind it: what lies between the two belongs to one tower,
 * and each tower to one member.
 */
#include "model/tower_train.h"

#include <math.h>
#include <string.h>

#include "math/dense.h"
#include "math/rng.h"
#include "math/vec.h"

#define BETA1 0.9f
#define BETA2 0.999f
#define EPSILON 1e-8f
/* of contexts and history: they have no warm start */
#define FASTER 3

/* ---- inputs, and their gradients ---- */

void
tower_input(const TowerSide *s, int32_t row, bool with_id, float *x)
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

/* faster: times the learning rate */
static void
adam(const Towers *t, TowerRows *r, float faster)
{
	float root = (float) (1 / sqrt(1 - pow(BETA2, (double) t->step)));
	float rate = (float) (faster * t->config.learning_rate /
						  (1 - pow(BETA1, (double) t->step)));

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
		tower_input(s, b->row[r], b->with_id[r], b->x + (size_t) r * d);
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
	adam(t, &s->layer, 1);
	adam(t, &s->id, 1);
	adam(t, &s->feature, 1);
}

static int32_t
add_candidate(SoftmaxScratch *own, int32_t item)
{
	int32_t at = own->slot[item];

	if (at < 0)
	{
		at = own->slot[item] = own->n_cand;
		own->fill[at] = item;
		own->weight[own->n_cand++] = 0;
	}
	own->weight[at] += 1;
	return at;
}

/*
 * The distinct items of the batch and of the negatives beside it, with their
 * weights; places of the rows. Negatives are items with interactions: the
 * others are to be judged by their features, not to be pushed away.
 */
static void
find_candidates(Towers *t, const int32_t *item, int n)
{
	SoftmaxScratch *own = &t->sm.own;
	int negatives = t->config.negatives;
	Rng rng;

	own->n_cand = 0;
	for (int r = 0; r < n; r++)
		own->pos[r] = add_candidate(own, item[r]);
	rng_init(&rng, t->config.seed,
			 tower_stream(TOWER_STREAM_NEGATIVE, t->step));
	for (int k = 0; k < negatives; k++)
		add_candidate(own, t->drawn[rng_below(&rng, (uint64_t) t->n_drawn)]);
	for (int j = 0; j < own->n_cand; j++)
	{
		int32_t i = own->fill[j];
		double times =
			(double) t->share[i] * n + (double) negatives / (double) t->n_drawn;

		own->slot[i] = -1;
		own->cand[j] = j;
		own->logq[j] = t->config.logq ? (float) log(times) : 0;
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
	size_t part = (size_t) t->sm.max_cand * (size_t) t->config.dim;
	int n = t->sm.own.n_cand * t->config.dim;

	for (int p = 1; p < TOWER_PIECES; p++)
		vec_axpy(1, t->sm.dc + (size_t) p * part, t->sm.dc, n);
}

/* memory for up to `most` rows */
static Batch
take_batch(const Towers *t, float **at, int most, const int32_t *row, int n,
		   bool *with_id)
{
	size_t b = (size_t) most;
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

	rng_init(&rng, t->config.seed,
			 tower_stream(TOWER_STREAM_DROP, 2 * t->step + side));
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
		adam(t, &t->query.column, FASTER);
	}
	backward(t, side, b, dy);
	if (side == 0 && t->config.history > 0)
		adam(t, &t->query.history, FASTER);
}

/* this member's pieces of the n users */
static RsStatus
run_softmax(Team *team, Towers *t, int n)
{
	Softmax *sm = &t->sm;
	size_t part = (size_t) t->sm.max_cand * (size_t) t->config.dim;
	RsStatus st = RS_OK;

	softmax_candidates(sm);
	for (int p = team->rank; p < TOWER_PIECES && st == RS_OK; p += team->size)
	{
		take_users(sm, n * p / TOWER_PIECES, n * (p + 1) / TOWER_PIECES);
		st = softmax_block(team, sm, sm->dc + (size_t) p * part, keep_gradients,
						   &t->loss[p]);
		if (st == RS_OK && !isfinite(t->loss[p]))
			st = RS_DIVERGED;
	}
	if (st != RS_OK)
		team_stop(team, st);
	return st;
}

RsStatus
tower_step(Team *team, Towers *t, int64_t from, int n)
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
	batch[0] =
		take_batch(t, &at, t->config.batch, t->user + from, n, t->with_id);
	batch[0].item = t->item + from;
	batch[1] = take_batch(t, &at, sm->max_cand, sm->own.fill, sm->own.n_cand,
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
