/*
 * tower_query.c
 *		What only the users' tower has: the history of a user, and the context.
 */
#include "model/tower_query.h"

#include <math.h>
#include <string.h>

#include "math/vec.h"

#define INIT_STD 0.1
#define DROPOUT 0.2 /* of contexts */

bool
tower_query_layout(TowerQuery *q, Arena *arena, const JobInput *in, int dim,
				   int n_history, int batch)
{
	bool ok = true;

	q->dim = dim;
	q->n_history = n_history;
	q->context.n_cols = in->context.n_cols;
	if (n_history > 0)
	{
		q->last =
			arena_alloc(arena, (size_t) in->n_users * ((size_t) n_history + 1),
						sizeof(int32_t));
		q->n_last = arena_alloc(arena, (size_t) in->n_users, sizeof(int32_t));
		ok = q->last != NULL && q->n_last != NULL &&
			 tower_rows_layout(&q->history, arena, in->n_items, dim);
	}
	if (in->context.n_cols == 0)
		return ok;
	q->place = arena_alloc(arena, (size_t) in->n, sizeof(uint32_t));
	q->with_context = arena_alloc(arena, (size_t) batch, sizeof(bool));
	q->length = arena_alloc(arena, (size_t) batch, sizeof(float));
	q->unit = arena_alloc(arena, (size_t) dim, sizeof(float));
	return ok && q->place != NULL && q->with_context != NULL &&
		   q->length != NULL && q->unit != NULL &&
		   tower_rows_layout(&q->column, arena, in->context.n_cols, dim);
}

/* when interaction r was: its time, else its place among the input's rows */
static double
moment(const TowerQuery *q, const Dataset *ds, int64_t r)
{
	return ds->time != NULL ? ds->time[r] : (double) q->context.source[r];
}

/* the newest items of user u, those of equal time by falling number */
static void
find_last(TowerQuery *q, const Dataset *ds, int32_t u, int64_t to)
{
	int most = q->n_history + 1;
	int32_t *last = q->last + (size_t) u * (size_t) most;
	int n = 0;

	/* last holds offsets from the user's first row until the end */
	for (int64_t r = ds->user_ptr[u]; r < to; r++)
	{
		int k = n < most ? n : most - 1;

		if (n == most &&
			moment(q, ds, ds->user_ptr[u] + last[k]) > moment(q, ds, r))
			continue;
		while (k > 0 &&
			   moment(q, ds, ds->user_ptr[u] + last[k - 1]) <= moment(q, ds, r))
		{
			last[k] = last[k - 1];
			k--;
		}
		last[k] = (int32_t) (r - ds->user_ptr[u]);
		n += n < most;
	}
	for (int k = 0; k < n; k++)
		last[k] = ds->item[ds->user_ptr[u] + last[k]];
	q->n_last[u] = n;
}

RsStatus
tower_query_start(TowerQuery *q, Team *team, const JobShared *job,
				  const Dataset *ds, bool all, uint64_t seed)
{
	RsStatus st = RS_OK;

	if (q->context.n_cols > 0 || (q->n_history > 0 && ds->time == NULL))
		context_find(job, ds, &q->context);
	if (team->rank != 0)
		return st;
	if (q->context.n_cols > 0)
		tower_rows_start(&q->column, seed, 101, INIT_STD / 4);
	if (q->n_history == 0)
		return st;
	tower_rows_start(&q->history, seed, 102, INIT_STD);
	for (int32_t u = 0; u < ds->n_users; u++)
	{
		find_last(q, ds, u, all ? ds->user_ptr[u + 1] : ds->user_end[u]);
		if ((u & 255) == 0 && team_stopped(team) != RS_OK)
			return team_stopped(team);
	}
	return st;
}

/* ---- history ---- */

/* those of a user's last items that count for this target; how many */
static int
history_of(const TowerQuery *q, int32_t user, int32_t item, int32_t *to)
{
	size_t most = (size_t) q->n_history + 1;
	const int32_t *last = q->last + (size_t) user * most;
	int n = 0;

	for (int k = 0; k < q->n_last[user] && n < q->n_history; k++)
		if (last[k] != item)
			to[n++] = last[k];
	return n;
}

void
tower_add_history(const TowerQuery *q, int32_t user, int32_t item, float *x)
{
	int32_t items[JOB_MAX_HISTORY];
	int n = q->n_history > 0 ? history_of(q, user, item, items) : 0;

	for (int k = 0; k < n; k++)
		vec_axpy(1 / (float) n,
				 q->history.x + (size_t) items[k] * (size_t) q->dim, x, q->dim);
}

void
tower_scatter_history(TowerQuery *q, int32_t user, int32_t item,
					  const float *dx, int32_t now)
{
	int32_t items[JOB_MAX_HISTORY];
	int n = q->n_history > 0 ? history_of(q, user, item, items) : 0;

	for (int k = 0; k < n; k++)
		vec_axpy(1 / (float) n, dx, tower_gradient(&q->history, items[k], now),
				 q->dim);
}

/* ---- context ---- */

void
tower_add_context(TowerQuery *q, const uint32_t *place, int n, float *y,
				  Rng *rng)
{
	const Context *c = &q->context;

	for (int k = 0; k < n; k++, y += q->dim)
	{
		float length = sqrtf(vec_dot(y, y, q->dim)) + 1e-12f;

		q->length[k] = length;
		q->with_context[k] = rng_uniform(rng) >= DROPOUT;
		for (int f = 0; f < q->dim; f++)
			y[f] /= length;
		for (int64_t e = context_from(c, place[k]);
			 q->with_context[k] && e < context_to(c, place[k]); e++)
			vec_axpy(c->val[e],
					 q->column.x + (size_t) c->col[e] * (size_t) q->dim, y,
					 q->dim);
	}
}

void
tower_scatter_context(TowerQuery *q, const uint32_t *place, int n,
					  const float *y, float *dq, int32_t now)
{
	const Context *c = &q->context;
	float *unit = q->unit;

	for (int k = 0; k < n; k++, y += q->dim, dq += q->dim)
	{
		float along;

		memcpy(unit, y, sizeof(float) * (size_t) q->dim);
		for (int64_t e = context_from(c, place[k]);
			 q->with_context[k] && e < context_to(c, place[k]); e++)
		{
			vec_axpy(-c->val[e],
					 q->column.x + (size_t) c->col[e] * (size_t) q->dim, unit,
					 q->dim);
			vec_axpy(c->val[e], dq, tower_gradient(&q->column, c->col[e], now),
					 q->dim);
		}
		/* through the division by the length */
		along = (float) vec_dot(unit, dq, q->dim);
		for (int f = 0; f < q->dim; f++)
			dq[f] = (dq[f] - along * unit[f]) / q->length[k];
	}
}
