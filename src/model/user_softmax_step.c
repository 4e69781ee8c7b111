/*
 * user_softmax_step.c
 *		One batch of the shared softmax: the users' phase, the items' phase.
 *
 * See user_softmax.c for the order in which a team calls them.
 */
#include "model/user_softmax_int.h"

#include <string.h>

#include "math/blas.h"

#define ADAM_EPSILON 1e-10f
#define TEACHER_ROWS 64 /* of a product, see blas.h */

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

		m[c] = USER_SOFTMAX_BETA1 * m[c] + (1 - USER_SOFTMAX_BETA1) * d;
		v[c] = USER_SOFTMAX_BETA2 * v[c] + (1 - USER_SOFTMAX_BETA2) * d * d;
		x[c] -= rate * m[c] / (sqrtf(v[c]) * root + ADAM_EPSILON);
	}
}

/*
 * This member's part of a batch, in which visits are in order of users: its
 * share by number, moved so that all visits of a user belong to one member.
 */
static void
own_visits(const Trainer *t, const Visit *visit, int n, int *from, int *to)
{
	int end[2];

	for (int k = 0; k < 2; k++)
	{
		int at = (int) ((int64_t) n * (t->team->rank + k) / t->team->size);

		while (at > 0 && at < n && visit[at].user == visit[at - 1].user)
			at++;
		end[k] = at;
	}
	*from = end[0];
	*to = end[1];
}

/* this member's visits of the batch as rows, two of one user merged */
static int
gather_users(Trainer *t, const Visit *visit, int n)
{
	Pair *pair = t->of_user;
	float *row = t->row + (size_t) t->team->rank * (size_t) t->config->batch *
							  (size_t) t->dim;
	int32_t base = t->team->rank * t->config->batch;
	int from;
	int to;
	int n_rows = 0;
	int32_t n_pairs = 0;

	own_visits(t, visit, n, &from, &to);
	for (int k = from; k < to; k++)
	{
		const Visit *v = &visit[k];

		if (n_rows == 0 || t->batch_user[n_rows - 1] != v->user)
		{
			t->batch_user[n_rows] = v->user;
			t->weight[n_rows] = 0;
			t->user_length[n_rows] = user_softmax_unit(
				row + (size_t) n_rows * (size_t) t->dim,
				t->users + (size_t) v->user * (size_t) t->dim, t->dim);
			n_rows++;
		}
		t->weight[n_rows - 1] += v->n;
		for (int p = 0; p < v->n; p++)
			pair[n_pairs++] =
				(Pair){t->positive[v->from + p], base + n_rows - 1};
	}
	t->n_pairs = n_pairs;
	return n_rows;
}

/*
 * The pairs once more for the items' phase, each member's items together, so
 * that it need not look at those of all others.
 */
static void
share_pairs(Trainer *t)
{
	int w = t->team->size;
	Pair *shared = t->pair + (size_t) t->team->rank *
								 (size_t) t->config->batch *
								 (size_t) t->config->positives;
	int32_t *end = t->pair_end + (size_t) t->team->rank * (size_t) w;
	int32_t sum = 0;

	memset(end, 0, sizeof(int32_t) * (size_t) w);
	for (int32_t p = 0; p < t->n_pairs; p++)
		end[t->of_user[p].item % w]++;
	for (int m = 0; m < w; m++)
	{
		int32_t n = end[m];

		end[m] = sum;
		sum += n;
	}
	for (int32_t p = 0; p < t->n_pairs; p++)
		shared[end[t->of_user[p].item % w]++] = t->of_user[p];
}

/* exp of the teacher's scores of a tile of users, into teacher_score */
static void
ask_teacher(Trainer *t, int first, int n)
{
	const UserSoftmaxConfig *c = t->config;
	size_t td = (size_t) c->teacher_dim;

	for (int r = 0; r < n; r++)
		memcpy(t->teacher_row + (size_t) r * td,
			   c->teacher_users + (size_t) t->batch_user[first + r] * td,
			   td * 4);
	for (int r = 0; r < n; r += TEACHER_ROWS)
		blas.sgemm(false, true, n - r < TEACHER_ROWS ? n - r : TEACHER_ROWS,
				   t->n_neg, c->teacher_dim, 1 / c->temperature,
				   t->teacher_row + (size_t) r * td, c->teacher_dim,
				   t->teacher_neg, c->teacher_dim, 0,
				   t->teacher_score + (size_t) r * (size_t) t->n_neg, t->n_neg);
}

/* s less the teacher's share of what the positives pull */
static void
subtract_teacher(Trainer *t, int r, float weight, float *s)
{
	float *q = t->teacher_score + (size_t) r * (size_t) t->n_neg;
	float sum = vec_exp_sum(q, t->n_neg, 1 / t->config->temperature, q);

	vec_axpy(-t->config->teacher_share * weight / sum, q, s, t->n_neg);
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
		if (t->config->teacher_share > 0)
			subtract_teacher(t, r, w * inverse, s);
		loss += w * (logf(sum / (float) t->n_neg) + inverse);
	}
	return loss;
}

RsStatus
user_softmax_users(Trainer *t, const Visit *visit, int n,
				   const int32_t *negative, float rate, float root)
{
	int d = t->dim;
	int rank = t->team->rank;
	size_t stride = (size_t) t->config->batch * (size_t) d;
	float *row = t->row + (size_t) rank * stride;
	float *neg_grad =
		t->neg_grad + (size_t) rank * (size_t) t->n_neg * (size_t) d;
	const Pair *pair = t->of_user;
	float *unit = t->unit;
	float inverse = 1 / t->config->temperature;
	float pull = inverse * (1 - t->config->teacher_share);
	int n_rows = gather_users(t, visit, n);
	/* of about equal size: a product with few rows is slow */
	int tiles = (n_rows + USER_SOFTMAX_TILE / 2) / USER_SOFTMAX_TILE;
	int tile = tiles > 1 ? (n_rows + tiles - 1) / tiles : n_rows;
	int32_t base = rank * t->config->batch;
	int32_t p = 0;
	double loss = 0; /* the members' sums lie in one cache line */

	share_pairs(t);
	for (int j = 0; j < t->n_neg; j++)
		t->neg_length[j] =
			user_softmax_unit(t->neg_unit + (size_t) j * (size_t) d,
							  t->items + (size_t) negative[j] * (size_t) d, d);
	for (int j = 0; t->config->teacher_share > 0 && j < t->n_neg; j++)
	{
		size_t td = (size_t) t->config->teacher_dim;

		memcpy(t->teacher_neg + (size_t) j * td,
			   t->config->teacher_items + (size_t) negative[j] * td, td * 4);
	}
	if (n_rows == 0)
		memset(neg_grad, 0, (size_t) t->n_neg * (size_t) d * 4);
	for (int first = 0; first < n_rows; first += tile)
	{
		int m = n_rows - first < tile ? n_rows - first : tile;
		float *h = row + (size_t) first * (size_t) d;
		RsStatus st = team_stopped(t->team);

		if (st != RS_OK)
			return st;
		blas.sgemm(false, true, m, t->n_neg, d, inverse, h, d, t->neg_unit, d,
				   0, t->score, t->n_neg);
		if (t->config->teacher_share > 0)
			ask_teacher(t, first, m);
		loss += softmax_rows(t, first, m);
		blas.sgemm(false, false, m, d, t->n_neg, 1, t->score, t->n_neg,
				   t->neg_unit, d, 0, t->user_grad, d);
		blas.sgemm(true, false, t->n_neg, d, m, 1, t->score, t->n_neg, h, d,
				   first == 0 ? 0 : 1, neg_grad, d);
		for (; p < t->n_pairs && pair[p].row - base < first + m; p++)
		{
			float *g = t->user_grad +
					   (size_t) (pair[p].row - base - first) * (size_t) d;

			user_softmax_unit(unit,
							  t->items + (size_t) pair[p].item * (size_t) d, d);
			loss -=
				inverse *
				vec_dot(unit, row + (size_t) (pair[p].row - base) * (size_t) d,
						d);
			for (int c = 0; c < d; c++)
				g[c] -= pull * unit[c];
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
	t->loss[rank] += loss;
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

void
user_softmax_items(Trainer *t, const int32_t *negative, float rate, float root)
{
	int d = t->dim;
	int w = t->team->size;
	float pull = (1 - t->config->teacher_share) / t->config->temperature;
	float *unit = t->unit;

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
		const int32_t *end = t->pair_end + (size_t) m * (size_t) w;
		int rank = t->team->rank;

		for (int32_t p = rank > 0 ? end[rank - 1] : 0; p < end[rank]; p++)
		{
			float *acc = accumulator(t, pair[p].item);
			const float *h = t->row + (size_t) pair[p].row * (size_t) d;

			vec_axpy(-pull, h, acc, d);
		}
	}
	for (int32_t a = 0; a < t->n_acc; a++)
	{
		size_t at = (size_t) t->acc_item[a] * (size_t) d;
		float length = user_softmax_unit(unit, t->items + at, d);

		adam_row(t->items + at, t->item_m + at, t->item_v + at,
				 t->acc + (size_t) a * (size_t) d, unit, length, d, rate, root);
	}
}
