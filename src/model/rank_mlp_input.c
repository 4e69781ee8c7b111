/*
 * rank_mlp_input.c
 *		What the rating network sees: ids, features and context as vectors.
 *
 * The input of a user (or item) is the vector of his id plus those of his
 * features, each times its value; that of an occasion the sum over its
 * columns. So that features learn to stand for ids, and ids with few ratings
 * do not learn these by heart, ids are dropped at random while training, as
 * in tower_train.h. All vectors lie in one table: users, items, columns of the users'
 * features, of the items', of the context.
 */
#include "model/rank_mlp_int.h"

#include <string.h>

#include "math/vec.h"

/* which columns there are; nothing else than counts is read */
void
rank_mlp_input_plan(MlpTrain *t, const JobInput *in)
{
	const JobFeatures *f[MLP_SIDES] = {&in->users, &in->items, &in->context};
	size_t rows = 0;

	t->sides = in->context.n_cols > 0 ? 3 : 2;
	t->inputs[0].n = in->n_users;
	t->inputs[1].n = in->n_items;
	for (int k = 0; k < MLP_SIDES; k++)
	{
		t->inputs[k].first = rows;
		rows += (size_t) t->inputs[k].n;
	}
	for (int k = 0; k < MLP_SIDES; k++)
	{
		t->inputs[k].n_cols = f[k]->n_cols;
		t->inputs[k].first_col = rows;
		rows += (size_t) f[k]->n_cols;
	}
	t->rows = rows;
	t->plain = rows == (size_t) in->n_users + (size_t) in->n_items;
}

bool
rank_mlp_input_layout(MlpTrain *t, Arena *arena, const JobInput *in)
{
	size_t dim = (size_t) t->plan.dim;
	size_t width = dim * (size_t) (t->sides - 1);
	bool ok = true;

	if (t->plain)
		return true;
	for (int k = 0; k < t->sides; k++)
	{
		MlpInput *x = &t->inputs[k];
		size_t cols = (size_t) x->n_cols;

		x->grad = arena_alloc(arena, cols * dim, sizeof(float));
		x->stamp = arena_alloc(arena, cols, sizeof(int32_t));
		/* a row for what all have, behind the columns */
		x->map = arena_alloc(arena, (cols + 1) * width, sizeof(float));
		ok = ok && x->grad != NULL && x->stamp != NULL && x->map != NULL;
	}
	t->out[0] = arena_alloc(arena, (size_t) in->n_users * width, sizeof(float));
	t->out[1] = arena_alloc(arena, (size_t) in->n_items * dim, sizeof(float));
	if (t->sides > 2)
		ok = ok && context_columns_layout(&t->by, arena, &in->context);
	return ok && t->out[0] != NULL && t->out[1] != NULL;
}

void
rank_mlp_input_start(MlpTrain *t)
{
	const JobShared *job = t->run->job;
	const JobFeatures *f[2] = {&job->input.users, &job->input.items};

	for (int k = 0; k < 2; k++)
	{
		t->inputs[k].ptr = job_at(job, f[k]->ptr);
		t->inputs[k].col = job_at(job, f[k]->col);
		t->inputs[k].val = job_at(job, f[k]->val);
	}
	if (t->sides > 2)
	{
		t->inputs[2].col = t->run->context->col;
		t->inputs[2].val = t->run->context->val;
	}
	for (int k = 0; k < t->sides && t->run->team->rank == 0; k++)
		if (t->inputs[k].n_cols > 0)
			memset(t->inputs[k].stamp, 0,
				   sizeof(int32_t) * (size_t) t->inputs[k].n_cols);
	if (t->sides > 2 && t->run->team->rank == 0)
		context_columns_fill(&t->by, t->run->context, t->run->ds, t->run->all);
}

/* entries of a user, an item, or an interaction's context */
static void
entries_of(const MlpTrain *t, int side, int64_t id, int64_t *from, int64_t *to)
{
	const MlpInput *x = &t->inputs[side];

	*from = *to = 0;
	if (side == 2)
	{
		*from = context_from(t->run->context, id);
		*to = context_to(t->run->context, id);
	}
	else if (x->n_cols > 0)
	{
		*from = x->ptr[id];
		*to = x->ptr[id + 1];
	}
}

bool
rank_mlp_has_id(const MlpTrain *t, int side, int64_t id)
{
	uint64_t z = t->run->job->config.seed * 2 + (uint64_t) side;
	int64_t from;
	int64_t to;

	entries_of(t, side, id, &from, &to);
	if (!t->dropping || from == to)
		return true;
	z = (z << 32 ^ (uint64_t) t->step << 40 ^ (uint64_t) id) +
		0x9e3779b97f4a7c15ULL * (uint64_t) (t->step + 1);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	z ^= z >> 31;
	return (double) (z >> 11) * 0x1p-53 >= RANK_MLP_DROPOUT;
}

static void
add_columns(const MlpTrain *t, int side, int64_t id, float *to)
{
	const MlpInput *x = &t->inputs[side];
	size_t dim = (size_t) t->plan.dim;
	int64_t from;
	int64_t end;

	entries_of(t, side, id, &from, &end);
	for (int64_t e = from; e < end; e++)
		vec_axpy(x->val[e],
				 t->vectors + (x->first_col + (size_t) x->col[e]) * dim, to,
				 (int) dim);
}

void
rank_mlp_input(const MlpTrain *t, int side, int64_t id, float *to)
{
	size_t dim = (size_t) t->plan.dim;

	if (side == 2 || !rank_mlp_has_id(t, side, id))
		memset(to, 0, sizeof(float) * dim);
	else
		memcpy(to, t->vectors + (t->inputs[side].first + (size_t) id) * dim,
			   sizeof(float) * dim);
	add_columns(t, side, id, to);
}

/*
 * A step for the columns of one side, those of this member's part: rows are
 * the gradients (n, stride apart) by the inputs of ids, summed for a column
 * in the order of ids.
 */
void
rank_mlp_columns_step(MlpTrain *t, int side, const int32_t *ids,
					  const uint32_t *places, int n, const float *rows,
					  size_t stride)
{
	MlpInput *x = &t->inputs[side];
	size_t dim = (size_t) t->plan.dim;
	int64_t low;
	int64_t high;

	if (x->n_cols == 0)
		return;
	team_range(t->run->team, x->n_cols, &low, &high);
	for (int update = 0; update < 2; update++)
		for (int k = 0; k < n; k++)
		{
			int64_t from;
			int64_t to;

			entries_of(t, side, ids != NULL ? ids[k] : (int64_t) places[k],
					   &from, &to);
			for (int64_t e = from; e < to; e++)
			{
				int32_t c = x->col[e];
				float *g = x->grad + (size_t) c * dim;

				if (c < low || c >= high)
					continue;
				if (!update && x->stamp[c] != t->step)
				{
					x->stamp[c] = t->step;
					memset(g, 0, sizeof(float) * dim);
				}
				if (!update)
					vec_axpy(x->val[e], rows + (size_t) k * stride, g,
							 (int) dim);
				else if (x->stamp[c] == t->step)
				{
					x->stamp[c] = 0;
					rank_mlp_optimize(t, x->first_col + (size_t) c, g);
				}
			}
		}
}

/* ---- output ---- */

/* vectors of one side and the map of its features; width floats a row */
static void
write_side(MlpTrain *t, int side, size_t width)
{
	MlpInput *x = &t->inputs[side];
	DatasetSide d = side == 0 ? dataset_users(t->run->ds, t->run->all)
							  : dataset_items(t->run->ds, t->run->all);
	size_t dim = (size_t) t->plan.dim;

	memset(x->map, 0, sizeof(float) * ((size_t) x->n_cols + 1) * width);
	memset(t->out[side], 0, sizeof(float) * (size_t) x->n * width);
	for (int32_t c = 0; c < x->n_cols; c++)
		memcpy(x->map + (size_t) c * width,
			   t->vectors + (x->first_col + (size_t) c) * dim,
			   sizeof(float) * dim);
	for (int32_t r = 0; r < x->n; r++)
	{
		float *to = t->out[side] + (size_t) r * width;

		if (d.end[r] > d.ptr[r] || x->n_cols == 0)
			rank_mlp_input(t, side, r, to);
		else
			add_columns(t, side, r, to);
	}
}

/* columns of the context lie behind a user's coordinates */
static void
write_context(MlpTrain *t)
{
	MlpInput *x = &t->inputs[2];
	size_t dim = (size_t) t->plan.dim;
	size_t width = 2 * dim;
	float *mean = x->map + (size_t) x->n_cols * width;
	float *base = t->inputs[0].map + (size_t) t->inputs[0].n_cols * width;

	memset(x->map, 0, sizeof(float) * ((size_t) x->n_cols + 1) * width);
	for (int32_t c = 0; c < x->n_cols; c++)
		memcpy(x->map + (size_t) c * width + dim,
			   t->vectors + (x->first_col + (size_t) c) * dim,
			   sizeof(float) * dim);
	context_center(t->run->context, &t->by, t->run->ds, t->run->all,
				   (int) width, x->map, mean);
	for (int32_t r = 0; r < t->inputs[0].n; r++)
		memcpy(t->out[0] + (size_t) r * width + dim, mean + dim,
			   sizeof(float) * dim);
	memcpy(base + dim, mean + dim, sizeof(float) * dim);
}

void
rank_mlp_input_output(MlpTrain *t)
{
	JobShared *job = t->run->job;
	JobOutput *out = &job->output;
	size_t dim = (size_t) t->plan.dim;
	size_t width = dim * (size_t) (t->sides - 1);

	out->user_ranking_dim = (int) width;
	out->item_ranking_dim = (int) dim;
	if (t->plain)
	{
		out->user_ranking = job_offset(job, t->vectors);
		out->item_ranking =
			job_offset(job, t->vectors + t->inputs[1].first * dim);
		return;
	}
	write_side(t, 0, width);
	write_side(t, 1, dim);
	if (t->sides > 2)
	{
		write_context(t);
		out->context_user_map = job_offset(job, t->inputs[2].map);
	}
	out->user_ranking = job_offset(job, t->out[0]);
	out->item_ranking = job_offset(job, t->out[1]);
	if (t->inputs[0].n_cols > 0)
		out->user_ranking_map = job_offset(job, t->inputs[0].map);
	if (t->inputs[1].n_cols > 0)
		out->item_ranking_map = job_offset(job, t->inputs[1].map);
}
