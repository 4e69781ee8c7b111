/*
 * user_softmax.c
 *		Training by the softmax that a user's positives share.
 *
 * A step of the team, for one batch of visits:
 *
 *	users phase	Each member takes an equal part of the visits, which are in
 *				order of users, merges two visits of one user, computes scores
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
#include "model/user_softmax_int.h"

#include <stdlib.h>
#include <string.h>

#include "math/rng.h"

#define USERS_PIECE 256 /* whose positives are shuffled at a time */

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

/* items of one member that a batch can reach: its own are every w-th */
static size_t
items_reached(size_t neg, size_t pairs, size_t w, size_t items)
{
	size_t own = items / w + 1;

	return neg + w * pairs < own ? neg + w * pairs : own;
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
	size_t own = items_reached(neg, pairs, w, i);
	size_t size = 0;

	size += 2 * arena_need(u * d, 4) + 2 * arena_need(i * d, 4);
	size += arena_need((size_t) n_interactions, 4) + arena_need(i, 4);
	size +=
		arena_need((size_t) n_interactions / (size_t) config->positives + u + 1,
				   sizeof(Visit));
	size += arena_need(w * b * d, 4) + arena_need(w * neg * d, 4);
	size += arena_need(w * pairs, sizeof(Pair)) + arena_need(w * w, 4) +
			arena_need(w, 8);
	size += w * (arena_need(neg * d, 4) + arena_need(neg, 4) +
				 arena_need(USER_SOFTMAX_MOST * neg, 4) +
				 arena_need(USER_SOFTMAX_MOST * d, 4) + arena_need(d, 4) +
				 arena_need(b, 4) * 3 + arena_need(pairs, sizeof(Pair)) +
				 arena_need(i, 4) * 2 + arena_need(own * d, 4) +
				 arena_need(own, 4));
	if (config->teacher_share > 0)
		size += w * (arena_need(USER_SOFTMAX_MOST * neg, 4) +
					 arena_need((USER_SOFTMAX_MOST + neg) *
									(size_t) config->teacher_dim,
								4) +
					 64);
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
	size_t own = items_reached(neg, pairs, w, i);
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
	t->pair_end = arena_alloc(arena, w * w, 4);
	t->loss = arena_alloc(arena, w, 8);
	for (size_t m = 0; m < w; m++)
	{
		/* every member walks over the private parts of all */
		Trainer p = *t;

		p.neg_unit = arena_alloc(arena, neg * d, 4);
		p.neg_length = arena_alloc(arena, neg, 4);
		p.score = arena_alloc(arena, USER_SOFTMAX_MOST * neg, 4);
		if (t->config->teacher_share > 0)
		{
			size_t td = (size_t) t->config->teacher_dim;

			p.teacher_score = arena_alloc(arena, USER_SOFTMAX_MOST * neg, 4);
			p.teacher_row =
				arena_alloc(arena, (USER_SOFTMAX_MOST + neg) * td, 4);
			p.teacher_neg = p.teacher_row + USER_SOFTMAX_MOST * td;
		}
		p.user_grad = arena_alloc(arena, USER_SOFTMAX_MOST * d, 4);
		p.unit = arena_alloc(arena, d, 4);
		p.user_length = arena_alloc(arena, b, 4);
		p.batch_user = arena_alloc(arena, b, 4);
		p.weight = arena_alloc(arena, b, 4);
		p.of_user = arena_alloc(arena, pairs, sizeof(Pair));
		p.acc = arena_alloc(arena, own * d, 4);
		p.acc_item = arena_alloc(arena, own, 4);
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

/* shuffle the positives of some users */
static void
shuffle_positives(Trainer *t, int32_t from, int32_t to, uint64_t stream)
{
	const DatasetSide *d = t->data;
	Rng rng;

	for (int32_t u = from; u < to; u++)
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
}

/* the order of visits and of negatives, by one member */
static void
shuffle_visits(Trainer *t, uint64_t stream)
{
	const DatasetSide *d = t->data;
	int p = t->config->positives;
	int64_t n = 0;
	Rng rng;

	rng_init(&rng, t->config->seed, stream);
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

static int
by_user(const void *a, const void *b)
{
	const Visit *x = a;
	const Visit *y = b;

	if (x->user != y->user)
		return x->user < y->user ? -1 : 1;
	return x->from < y->from ? -1 : x->from > y->from;
}

/*
 * What an epoch consists of. Rank 0 alone orders the visits, while the
 * others shuffle positives; then all put every batch in order of users.
 */
static RsStatus
begin_epoch(Trainer *t, int epoch)
{
	uint64_t stream = ((uint64_t) epoch + 1) << 42;
	int64_t n_users = t->data->n_rows;
	int64_t b = t->config->batch;
	int64_t pieces = (n_users + USERS_PIECE - 1) / USERS_PIECE;
	int64_t k;
	RsStatus st;

	if (t->team->rank == 0)
		shuffle_visits(t, stream - 1);
	while ((k = team_take(t->team, pieces)) >= 0)
	{
		int64_t to = (k + 1) * USERS_PIECE;

		shuffle_positives(t, (int32_t) (k * USERS_PIECE),
						  (int32_t) (to < n_users ? to : n_users), stream);
	}
	if ((st = team_barrier(t->team)) != RS_OK)
		return st;
	for (k = t->team->rank * b; k < t->n_visits; k += t->team->size * b)
		qsort(t->visit + k,
			  (size_t) (t->n_visits - k < b ? t->n_visits - k : b),
			  sizeof(Visit), by_user);
	return team_barrier(t->team);
}

/* of all members in this epoch; between two phases everybody sees the same */
static double
sum_losses(const Trainer *t)
{
	double sum = 0;

	for (int m = 0; m < t->team->size; m++)
		sum += t->loss[m];
	return sum;
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
		bias1 = 1 - pow(USER_SOFTMAX_BETA1, (double) t->step);
		bias2 = 1 - pow(USER_SOFTMAX_BETA2, (double) t->step);
		if (t->config->decay)
			rate *= (float) (1 - done);
		rate /= (float) bias1;
		st =
			user_softmax_users(t, t->visit + k * b, (int) (left < b ? left : b),
							   negative, rate, (float) (1 / sqrt(bias2)));
		if (st == RS_OK)
			st = team_barrier(t->team);
		if (st != RS_OK)
			break;
		if (!isfinite(sum_losses(t)))
		{
			/* nobody may use the arena before all have looked */
			st = team_barrier(t->team);
			return st == RS_OK ? RS_DIVERGED : st;
		}
		user_softmax_items(t, negative, rate, (float) (1 / sqrt(bias2)));
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
	if (t.dim < 1 || config->batch < 1 || config->positives < 1 ||
		t.n_neg < 1 || !(config->temperature > 0))
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
		loss = sum_losses(&t) / (double) n;
		if (epoch_done != NULL)
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
