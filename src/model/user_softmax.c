#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
/*
 * user_softmax.c
 *		Training by the softmax that a user's positives share.
 *
 * A step of the team, for one batch of visits:
 *
 *	users phase	Each member takes the visits of its own users (user modulo
 *				team size), merges two visits of one user, computes scores
 *				against the shared negatives, updates its users, and leaves
 *				in shared memory: the unit user rows, the gradient of the
 *				negatives from its users, and its (item, user row) pairs.
 *	barrier
 *	items phase	Each member gathers, for its own items (item modulo team
 *				size), what all members left, and updates the items.
 *	barrier
 *
 * Sums are formed in the order of members and pairs, so the same seed and
 * team size give the same bytes.
 */
#include "model/user_softmax.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "math/blas.h"
#include "math/hooks.h"
#include "math/rng.h"
#include "math/vec.h"

#define BETA1 0.9f
#define BETA2 0.999f
#define ADAM_EPSILON 1e-10f
#define TILE 256 /* users of one product */

/* a (item, user row) pair of the batch */
typedef struct Pair
{
	int32_t item;
	int32_t row;
} Pair;

/* one visit of a user to a batch: positives from .. from + n - 1 */
typedef struct Visit
{
	int32_t user;
	int32_t n;
	int64_t from;
} Visit;

typedef struct Trainer
{
	Team *team;
	const DatasetSide *data;
	const UserSoftmaxConfig *config;
	int dim;
	int n_neg;

	/* shared by the team */
	float *users;  /* (n_users, dim) */
	float *items;  /* (n_items, dim) */
	float *user_m; /* Adam's moments, as users */
	float *user_v;
	float *item_m;
	float *item_v;
	int32_t *positive; /* (interactions) items, shuffled within each user */
	Visit *visit;      /* (n_visits) in the order of the epoch */
	int64_t n_visits;
	int32_t *item_order; /* (n_items) negatives are taken from it in turn */
	float *row;          /* (members, batch, dim) unit users of the batch */
	float *neg_grad;     /* (members, n_neg, dim) */
	Pair *pair;          /* (members, batch * positives) */
	int32_t *n_pairs;    /* (members) */
	double *loss;        /* (members) */

	/* of this member alone */
	float *neg_unit; /* (n_neg, dim) */
	float *neg_length;
	float *score;     /* (TILE, n_neg) */
	float *user_grad; /* (TILE, dim) */
	float *user_length;
	int32_t *batch_user; /* (batch) users of the merged visits */
	int32_t *weight;     /* (batch) their positives */
	int32_t *mine;       /* (batch) visits of this member, by user */
	float *acc;          /* (capacity, dim) gradients of touched items */
	int32_t *acc_item;
	int32_t n_acc;
	int32_t *acc_of; /* (n_items) place in acc */
	int32_t *stamp;  /* (n_items) batch that acc_of is of */
	int32_t now;
	int64_t step;
} Trainer;

static int
negatives_of(const UserSoftmaxConfig *config, int64_t n_items)
{
	return (int) (config->negatives < n_items ? config->negatives : n_items);
}

static int64_t
visits_of(const UserSoftmaxConfig *config, const DatasetSide *data)
{
	int64_t n = 0;

	for (int32_t u = 0; u < data->n_rows; u++)
		n += (data->end[u] - data->ptr[u] + config->positives - 1) /
			 config->positives;
	return n;
}

size_t
user_softmax_arena_size(const UserSoftmaxConfig *config, int64_t n_users,
						int64_t n_items, int64_t n_interactions, int members)
{
	size_t d = (size_t) config->dim;
	size_t u = (size_t) n_users;
	size_t i = (size_t) n_items;
	size_t b = (size_t) config->batch;
	size_t neg = (size_t) negatives_of(config, n_items);
	size_t pairs = b * (size_t) config->positives;
	size_t w = (size_t) members;
	size_t size = 0;

	size += 2 * arena_need(u * d, 4) + 2 * arena_need(i * d, 4);
	size += arena_need((size_t) n_interactions, 4) + arena_need(i, 4);
	size +=
		arena_need((size_t) n_interactions / (size_t) config->positives + u + 1,
				   sizeof(Visit));
	size += arena_need(w * b * d, 4) + arena_need(w * neg * d, 4);
	size += arena_need(w * pairs, sizeof(Pair)) + 2 * arena_need(w, 8);
	size += w * (arena_need(neg * d, 4) + arena_need(neg, 4) +
				 arena_need(TILE * neg, 4) + arena_need(TILE * d, 4) +
				 arena_need(b, 4) * 4 + arena_need(i, 4) * 2 +
				 arena_need((neg + w * pairs) * d, 4) +
				 arena_need(neg + w * pairs, 4));
	return size;
}

static RsStatus
allocate(Trainer *t, Arena *arena)
{
	size_t d = (size_t) t->dim;
	size_t u = (size_t) t->data->n_rows;
	size_t i = (size_t) t->data->n_cols;
	size_t b = (size_t) t->config->batch;
	size_t neg = (size_t) t->n_neg;
	size_t pairs = b * (size_t) t->config->positives;
	size_t w = (size_t) t->team->size;
	size_t n = (size_t) t->data->ptr[t->data->n_rows];

	t->n_visits = visits_of(t->config, t->data);
	t->user_m = arena_alloc(arena, u * d, 4);
	t->user_v = arena_alloc(arena, u * d, 4);
	t->item_m = arena_alloc(arena, i * d, 4);
	t->item_v = arena_alloc(arena, i * d, 4);
	t->positive = arena_alloc(arena, n, 4);
	t->item_order = arena_alloc(arena, i, 4);
	t->visit = arena_alloc(arena, (size_t) t->n_visits, sizeof(Visit));
	t->row = arena_alloc(arena, w * b * d, 4);
	t->neg_grad = arena_alloc(arena, w * neg * d, 4);
	t->pair = arena_alloc(arena, w * pairs, sizeof(Pair));
	t->n_pairs = arena_alloc(arena, w, 4);
	t->loss = arena_alloc(arena, w, 8);
	for (size_t m = 0; m < w; m++)
	{
		/* every member walks over the private parts of all */
		Trainer p = *t;

		p.neg_unit = arena_alloc(arena, neg * d, 4);
		p.neg_length = arena_alloc(arena, neg, 4);
		p.score = arena_alloc(arena, TILE * neg, 4);
		p.user_grad = arena_alloc(arena, TILE * d, 4);
		p.user_length = arena_alloc(arena, b, 4);
		p.batch_user = arena_alloc(arena, b, 4);
		p.weight = arena_alloc(arena, b, 4);
		p.mine = arena_alloc(arena, b, 4);
		p.acc = arena_alloc(arena, (neg + w * pairs) * d, 4);
		p.acc_item = arena_alloc(arena, neg + w * pairs, 4);
		p.acc_of = arena_alloc(arena, i, 4);
		p.stamp = arena_alloc(arena, i, 4);
		if (p.stamp == NULL)
			return RS_NO_MEMORY;
		if (m == (size_t) t->team->rank)
			*t = p;
	}
	return RS_OK;
}

static void
zero_part(const Team *team, float *rows, int64_t n, int dim)
{
	int64_t from;
	int64_t to;

	team_range(team, n, &from, &to);
	memset(rows + from * dim, 0, (size_t) (to - from) * (size_t) dim * 4);
}

/* normal values, row r by the stream (seed, stream + r) */
static void
random_rows(const Team *team, float *rows, int64_t n, int dim, float scale,
			uint64_t seed, uint64_t stream)
{
	int64_t from;
	int64_t to;

	team_range(team, n, &from, &to);
	for (int64_t r = from; r < to; r++)
	{
		Rng rng;

		rng_init(&rng, seed, stream + (uint64_t) r);
		for (int c = 0; c < dim; c++)
			rows[r * dim + c] = scale * (float) rng_normal(&rng);
	}
}

static RsStatus
prepare(Trainer *t, bool warm)
{
	const UserSoftmaxConfig *c = t->config;
	const DatasetSide *d = t->data;

	/* the arena may have been used before */
	zero_part(t->team, t->user_m, d->n_rows, t->dim);
	zero_part(t->team, t->user_v, d->n_rows, t->dim);
	zero_part(t->team, t->item_m, d->n_cols, t->dim);
	zero_part(t->team, t->item_v, d->n_cols, t->dim);
	memset(t->stamp, 0, (size_t) d->n_cols * 4);
	if (!warm)
	{
		random_rows(t->team, t->users, d->n_rows, t->dim, c->init, c->seed, 0);
		random_rows(t->team, t->items, d->n_cols, t->dim, c->init, c->seed,
					(uint64_t) 1 << 40);
	}
	return team_barrier(t->team);
}

/* shuffle this member's users' positives, and let rank 0 order the visits */
static RsStatus
begin_epoch(Trainer *t, int epoch)
{
	const DatasetSide *d = t->data;
	uint64_t stream = ((uint64_t) epoch + 1) << 42;
	int p = t->config->positives;
	int64_t from;
	int64_t to;
	Rng rng;

	team_range(t->team, d->n_rows, &from, &to);
	for (int64_t u = from; u < to; u++)
	{
		int64_t at = d->ptr[u];
		int64_t n = d->end[u] - at;

		rng_init(&rng, t->config->seed, stream + (uint64_t) u);
		for (int64_t k = 0; k < n; k++)
		{
			int64_t j = (int64_t) rng_below(&rng, (uint64_t) k + 1);

			t->positive[at + k] = t->positive[at + j];
			t->positive[at + j] = d->index[at + k];
		}
	}
	if (t->team->rank == 0)
	{
		int64_t n = 0;

		rng_init(&rng, t->config->seed, stream - 1);
		for (int32_t u = 0; u < d->n_rows; u++)
			for (int64_t at = d->ptr[u]; at < d->end[u]; at += p)
			{
				int64_t left = d->end[u] - at;
				int64_t j = (int64_t) rng_below(&rng, (uint64_t) n + 1);

				t->visit[n] = t->visit[j];
				t->visit[j] = (Visit){u, (int32_t) (left < p ? left : p), at};
				n++;
			}
		for (int32_t i = 0; i < d->n_cols; i++)
		{
			int32_t j = (int32_t) rng_below(&rng, (uint64_t) i + 1);

			t->item_order[i] = t->item_order[j];
			t->item_order[j] = i;
		}
	}
	return team_barrier(t->team);
}

/* unit vector of src into dst; returns the length, at least 1e-12 */
static inline float
unit_row(float *dst, const float *src, int dim)
{
	float length = sqrtf(vec_dot(src, src, dim));
	float f;

	if (length < 1e-12f)
		length = 1e-12f;
	f = 1 / length;
	for (int c = 0; c < dim; c++)
		dst[c] = src[c] * f;
	return length;
}

/*
 * Adam on one row of parameters x, given g, the gradient with respect to the
 * unit row h = x / length: the chain rule takes out the part along h.
 */
static inline void
adam_row(float *restrict x, float *restrict m, float *restrict v,
		 const float *restrict g, const float *restrict h, float length,
		 int dim, float rate, float root)
{
	float along = vec_dot(g, h, dim);
	float f = 1 / length;

	for (int c = 0; c < dim; c++)
	{
		float d = (g[c] - along * h[c]) * f;

		m[c] = BETA1 * m[c] + (1 - BETA1) * d;
		v[c] = BETA2 * v[c] + (1 - BETA2) * d * d;
		x[c] -= rate * m[c] / (sqrtf(v[c]) * root + ADAM_EPSILON);
	}
}

static int
by_user(const void *a, const void *b, void *arg)
{
	const Visit *v = arg;
	int32_t x = v[*(const int32_t *) a].user;
	int32_t y = v[*(const int32_t *) b].user;

	if (x != y)
		return x < y ? -1 : 1;
	return *(const int32_t *) a - *(const int32_t *) b;
}

/* this member's visits of the batch as rows, two of one user merged */
static int
gather_users(Trainer *t, const Visit *visit, int n)
{
	Pair *pair = t->pair + (size_t) t->team->rank * (size_t) t->config->batch *
							   (size_t) t->config->positives;
	float *row = t->row + (size_t) t->team->rank * (size_t) t->config->batch *
							  (size_t) t->dim;
	int32_t base = t->team->rank * t->config->batch;
	int n_mine = 0;
	int n_rows = 0;
	int32_t n_pairs = 0;

	for (int k = 0; k < n; k++)
		if (visit[k].user % t->team->size == t->team->rank)
			t->mine[n_mine++] = k;
	qsort_r(t->mine, (size_t) n_mine, sizeof(int32_t), by_user, (void *) visit);
	for (int k = 0; k < n_mine; k++)
	{
		const Visit *v = &visit[t->mine[k]];

		if (n_rows == 0 || t->batch_user[n_rows - 1] != v->user)
		{
			t->batch_user[n_rows] = v->user;
			t->weight[n_rows] = 0;
			t->user_length[n_rows] =
				unit_row(row + (size_t) n_rows * (size_t) t->dim,
						 t->users + (size_t) v->user * (size_t) t->dim, t->dim);
			n_rows++;
		}
		t->weight[n_rows - 1] += v->n;
		for (int p = 0; p < v->n; p++)
			pair[n_pairs++] =
				(Pair){t->positive[v->from + p], base + n_rows - 1};
	}
	t->n_pairs[t->team->rank] = n_pairs;
	return n_rows;
}

/*
 * Scores of a tile of users against the negatives become weight * softmax /
 * tau, in place. Returns the loss of the normalisers.
 */
static double
softmax_rows(Trainer *t, int first, int n)
{
	double loss = 0;
	float inverse = 1 / t->config->temperature;

	for (int r = 0; r < n; r++)
	{
		float *s = t->score + (size_t) r * (size_t) t->n_neg;
		float w = (float) t->weight[first + r];
		/* no cosine exceeds 1, so 1 / tau is a safe shift */
		float sum = vec_exp_sum(s, t->n_neg, inverse, s);
		float f = w * inverse / sum;

		for (int j = 0; j < t->n_neg; j++)
			s[j] *= f;
		loss += w * (logf(sum / (float) t->n_neg) + inverse);
	}
	return loss;
}

static RsStatus
users_phase(Trainer *t, const Visit *visit, int n, const int32_t *negative,
			float rate, float root)
{
	int d = t->dim;
	int rank = t->team->rank;
	size_t stride = (size_t) t->config->batch * (size_t) d;
	float *row = t->row + (size_t) rank * stride;
	float *neg_grad =
		t->neg_grad + (size_t) rank * (size_t) t->n_neg * (size_t) d;
	const Pair *pair = t->pair + (size_t) rank * (size_t) t->config->batch *
									 (size_t) t->config->positives;
	float inverse = 1 / t->config->temperature;
	int n_rows = gather_users(t, visit, n);
	int32_t base = rank * t->config->batch;
	int32_t p = 0;

	for (int j = 0; j < t->n_neg; j++)
		t->neg_length[j] =
			unit_row(t->neg_unit + (size_t) j * (size_t) d,
					 t->items + (size_t) negative[j] * (size_t) d, d);
	if (n_rows == 0)
		memset(neg_grad, 0, (size_t) t->n_neg * (size_t) d * 4);
	for (int first = 0; first < n_rows; first += TILE)
	{
		int m = n_rows - first < TILE ? n_rows - first : TILE;
		float *h = row + (size_t) first * (size_t) d;
		RsStatus st = team_stopped(t->team);

		if (st != RS_OK)
			return st;
		blas.sgemm(false, true, m, t->n_neg, d, inverse, h, d, t->neg_unit, d,
				   0, t->score, t->n_neg);
		t->loss[rank] += softmax_rows(t, first, m);
		blas.sgemm(false, false, m, d, t->n_neg, 1, t->score, t->n_neg,
				   t->neg_unit, d, 0, t->user_grad, d);
		blas.sgemm(true, false, t->n_neg, d, m, 1, t->score, t->n_neg, h, d,
				   first == 0 ? 0 : 1, neg_grad, d);
		for (; p < t->n_pairs[rank] && pair[p].row - base < first + m; p++)
		{
			float unit[1024];
			float *g = t->user_grad +
					   (size_t) (pair[p].row - base - first) * (size_t) d;

			unit_row(unit, t->items + (size_t) pair[p].item * (size_t) d, d);
			t->loss[rank] -=
				inverse *
				vec_dot(unit, row + (size_t) (pair[p].row - base) * (size_t) d,
						d);
			for (int c = 0; c < d; c++)
				g[c] -= inverse * unit[c];
		}
		for (int r = 0; r < m; r++)
		{
			size_t at = (size_t) t->batch_user[first + r] * (size_t) d;

			adam_row(t->users + at, t->user_m + at, t->user_v + at,
					 t->user_grad + (size_t) r * (size_t) d,
					 h + (size_t) r * (size_t) d, t->user_length[first + r], d,
					 rate * t->config->user_rate, root);
		}
	}
	return RS_OK;
}

/* the accumulator of an item, zero when it is new in this batch */
static float *
accumulator(Trainer *t, int32_t item)
{
	float *acc;

	if (t->stamp[item] != t->now)
	{
		t->stamp[item] = t->now;
		t->acc_of[item] = t->n_acc;
		t->acc_item[t->n_acc] = item;
		memset(t->acc + (size_t) t->n_acc * (size_t) t->dim, 0,
			   (size_t) t->dim * 4);
		t->n_acc++;
	}
	acc = t->acc + (size_t) t->acc_of[item] * (size_t) t->dim;
	return acc;
}

static void
items_phase(Trainer *t, const int32_t *negative, float rate, float root)
{
	int d = t->dim;
	int w = t->team->size;
	float inverse = 1 / t->config->temperature;
	float unit[1024];

	t->now++;
	t->n_acc = 0;
	for (int j = 0; j < t->n_neg; j++)
		if (negative[j] % w == t->team->rank)
		{
			float *acc = accumulator(t, negative[j]);

			for (int m = 0; m < w; m++)
			{
				const float *g =
					t->neg_grad +
					((size_t) m * (size_t) t->n_neg + (size_t) j) * (size_t) d;

				for (int c = 0; c < d; c++)
					acc[c] += g[c];
			}
		}
	for (int m = 0; m < w; m++)
	{
		const Pair *pair = t->pair + (size_t) m * (size_t) t->config->batch *
										 (size_t) t->config->positives;

		for (int32_t p = 0; p < t->n_pairs[m]; p++)
			if (pair[p].item % w == t->team->rank)
			{
				float *acc = accumulator(t, pair[p].item);
				const float *h = t->row + (size_t) pair[p].row * (size_t) d;

				for (int c = 0; c < d; c++)
					acc[c] -= inverse * h[c];
			}
	}
	for (int32_t a = 0; a < t->n_acc; a++)
	{
		size_t at = (size_t) t->acc_item[a] * (size_t) d;
		float length = unit_row(unit, t->items + at, d);

		adam_row(t->items + at, t->item_m + at, t->item_v + at,
				 t->acc + (size_t) a * (size_t) d, unit, length, d, rate, root);
	}
}

static RsStatus
run_epoch(Trainer *t, int epoch)
{
	int b = t->config->batch;
	int64_t n_batches = (t->n_visits + b - 1) / b;
	RsStatus st = begin_epoch(t, epoch);

	t->loss[t->team->rank] = 0;
	for (int64_t k = 0; k < n_batches && st == RS_OK; k++)
	{
		int64_t left = t->n_visits - k * b;
		/* the samples follow each other through the shuffled items */
		int64_t blocks = t->data->n_cols / t->n_neg;
		const int32_t *negative = t->item_order + (k % blocks) * t->n_neg;
		double done = ((double) epoch + (double) k / (double) n_batches) /
					  t->config->epochs;
		double bias1;
		double bias2;
		float rate = t->config->learning_rate;

		t->step++;
		bias1 = 1 - pow(BETA1, (double) t->step);
		bias2 = 1 - pow(BETA2, (double) t->step);
		if (t->config->decay)
			rate *= (float) (1 - done);
		rate /= (float) bias1;
		st = users_phase(t, t->visit + k * b, (int) (left < b ? left : b),
						 negative, rate, (float) (1 / sqrt(bias2)));
		if (st == RS_OK)
			st = team_barrier(t->team);
		if (st != RS_OK)
			break;
		items_phase(t, negative, rate, (float) (1 / sqrt(bias2)));
		st = team_barrier(t->team);
	}
	return st;
}

RsStatus
user_softmax_train(Team *team, const DatasetSide *data,
				   const UserSoftmaxConfig *config, Arena *arena, float *users,
				   float *items, bool warm, UserSoftmaxEpoch epoch_done,
				   void *arg)
{
	size_t mark = arena_mark(arena);
	int64_t n = 0;
	Trainer t;
	RsStatus st;

	for (int32_t u = 0; u < data->n_rows; u++)
		n += data->end[u] - data->ptr[u];
	memset(&t, 0, sizeof(t));
	t.team = team;
	t.data = data;
	t.config = config;
	t.dim = config->dim;
	t.n_neg = negatives_of(config, data->n_cols);
	t.users = users;
	t.items = items;
	if (t.dim < 1 || t.dim > 1024 || config->batch < 1 ||
		config->positives < 1 || t.n_neg < 1 || !(config->temperature > 0))
		return RS_INVALID;
	if (n < 1)
		return RS_NO_DATA;
	st = allocate(&t, arena);
	if (st == RS_OK)
		st = prepare(&t, warm);
	for (int e = 0; e < config->epochs && st == RS_OK; e++)
	{
		double loss = 0;
		bool stop = false;

		st = run_epoch(&t, e);
		if (st != RS_OK)
			break;
		for (int m = 0; m < team->size; m++)
			loss += t.loss[m];
		loss /= (double) n;
		if (!isfinite(loss))
			st = RS_DIVERGED;
		else if (epoch_done != NULL)
			st = epoch_done(arg, team, e + 1, loss, &stop);
		/* nobody may begin the next epoch before all have read the losses */
		if (st == RS_OK)
			st = team_barrier(team);
		if (stop)
			break;
	}
	arena_reset(arena, mark);
	return st;
}

RsStatus
user_softmax_normalize(Team *team, float *rows, int64_t n, int dim, float scale)
{
	int64_t from;
	int64_t to;

	team_range(team, n, &from, &to);
	for (int64_t r = from; r < to; r++)
	{
		float *x = rows + r * dim;
		float length = sqrtf(vec_dot(x, x, dim));

		if (length > 0)
			for (int c = 0; c < dim; c++)
				x[c] *= scale / length;
	}
	return team_barrier(team);
}

double
user_softmax_reference(const DatasetSide *data, int dim, float temperature,
					   const float *users, const float *items,
					   const int32_t *negatives, int n_neg, float *user_grad,
					   float *item_grad)
{
	double loss = 0;
	float u[1024];
	float v[1024];

	for (int32_t r = 0; r < data->n_rows; r++)
	{
		float lu = unit_row(u, users + (size_t) r * (size_t) dim, dim);
		double n = (double) (data->end[r] - data->ptr[r]);
		double z = 0;
		double g[1024] = {0};

		for (int j = 0; j < n_neg; j++)
		{
			unit_row(v, items + (size_t) negatives[j] * (size_t) dim, dim);
			z += exp(vec_dot(u, v, dim) / temperature);
		}
		loss += n * log(z / n_neg);
		/* the negatives with weight n * softmax, the positives with -1 */
		for (int64_t k = 0; k < n_neg + (data->end[r] - data->ptr[r]); k++)
		{
			int32_t i = k < n_neg ? negatives[k]
								  : data->index[data->ptr[r] + k - n_neg];
			float *gi = item_grad + (size_t) i * (size_t) dim;
			float li = unit_row(v, items + (size_t) i * (size_t) dim, dim);
			double s = vec_dot(u, v, dim);
			double w = k < n_neg ? n * exp(s / temperature) / z : -1;

			if (k >= n_neg)
				loss -= s / temperature;
			w /= temperature;
			for (int c = 0; c < dim; c++)
			{
				g[c] += w * v[c];
				gi[c] += (float) (w * (u[c] - s * v[c]) / li);
			}
		}
		for (int c = 0; c < dim; c++)
		{
			double along = 0;

			for (int k = 0; k < dim; k++)
				along += g[k] * u[k];
			user_grad[(size_t) r * (size_t) dim + c] +=
				(float) ((g[c] - along * u[c]) / lu);
		}
	}
	return loss;
}
