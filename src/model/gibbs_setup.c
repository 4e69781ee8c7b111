/*
 * gibbs_setup.c
 *		The start of a training by Gibbs sampling: what is chosen, memory,
 *		ratings, features, first vectors.
 */
#include "model/gibbs_setup.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* from so many users, items and ratings on: who rated what, too */
#define IMPLICIT_SIDE 400
#define IMPLICIT_ROWS 5000

/*
 * What somebody rated tells little where there is little to choose from, or
 * the ratings are few: held-out RMSE 1 to 2 % worse with 20 items or 20 users
 * and with 3,000 rows, .5 % with 100 and 300 items; 1 % better with 1,500 x
 * 1,000, 2 % on MovieLens-100K.
 */
static bool
wants_implicit(const JobConfig *config, const JobInput *input)
{
	if (config->implicit >= 0)
		return config->implicit > 0;
	return input->n_users >= IMPLICIT_SIDE && input->n_items >= IMPLICIT_SIDE &&
		   input->n >= IMPLICIT_ROWS;
}

/*
 * Chosen on validation rows of MovieLens-100K: more factors than 10 gain
 * nothing below a million ratings. The time grows with the ratings, so large
 * tables get fewer sweeps.
 */
void
gibbs_plan(GibbsPlan *p, const JobConfig *config, const JobInput *input)
{
	bool best = config->preset == PRESET_BEST;

	memset(p, 0, sizeof(*p));
	p->dim = input->n < 500000 ? 10 : 15;
	/* features take longer to settle, the context longer to draw */
	p->sweeps = best                                            ? 1000
				: input->n >= 500000                            ? 150
				: input->context.n_cols > 0                     ? 200
				: input->users.n_cols + input->items.n_cols > 0 ? 400
																: 250;
	/* next to retrieval, dim and epochs are meant for that: not too much */
	if (config->dim > 0 && (!config->retrieval || config->dim < p->dim))
		p->dim = config->dim;
	if (config->epochs > 0)
		p->sweeps =
			config->retrieval && config->epochs < 60 ? 60 : config->epochs;
	if (p->dim > GIBBS_MAX_DIM)
		p->dim = GIBBS_MAX_DIM;
	p->burn = p->sweeps < 60 ? p->sweeps / 3 : 20;
	p->rank = p->dim <= 10 ? 32 : 3 * p->dim;
	if (p->rank > GIBBS_MAX_DIM)
		p->rank = GIBBS_MAX_DIM;
	/* of ratings without levels it turns into the Gaussian model */
	p->ordinal = config->ranking_loss != LOSS_GIBBS;
	p->implicit[0] = p->implicit[1] = wants_implicit(config, input);
	p->given[0] = input->users.n_cols > 0;
	p->given[1] = input->items.n_cols > 0;
}

static int
width_of(int full)
{
	return full <= 8 ? 8 : (full + 15) / 16 * 16;
}

/* every allocation; with a dry arena it measures */
static bool
layout_side(GibbsTrain *t, Arena *arena, GibbsSide *s, int32_t n)
{
	Gibbs *g = &t->g;
	size_t w = (size_t) g->width;
	size_t rows = (size_t) n;
	size_t groups = (rows + LANES - 1) / LANES;
	size_t tri = lanes_triangle(g->full);
	size_t cols = (size_t) s->n_cols;

	s->n = n;
	s->n_groups = (int32_t) groups;
	s->vec = arena_alloc(arena, rows * w, sizeof(float));
	s->design = arena_alloc(arena, rows * w, sizeof(float));
	s->bias = arena_alloc(arena, rows, sizeof(float));
	s->noise = arena_alloc(arena, rows, sizeof(float));
	s->noise_class = arena_alloc(arena, rows, sizeof(uint8_t));
	s->lower = arena_alloc(arena, groups * tri, sizeof(Lanes));
	s->linear = arena_alloc(arena, groups * (size_t) g->full, sizeof(Lanes));
	t->root[s->number] = arena_alloc(arena, rows, sizeof(float));
	if (t->root[s->number] == NULL)
		return false;
	if (cols == 0)
		return true;
	s->hessian = arena_alloc(arena, groups * tri, sizeof(Lanes));
	s->row_work = arena_alloc(arena, rows * w, sizeof(float));
	s->fit = arena_alloc(arena, rows * w, sizeof(float));
	s->beta = arena_alloc(arena, cols * w, sizeof(float));
	s->residual = arena_alloc(arena, cols * w, sizeof(float));
	s->direction = arena_alloc(arena, cols * w, sizeof(float));
	s->image = arena_alloc(arena, cols * w, sizeof(float));
	s->diagonal = arena_alloc(arena, cols * w, sizeof(float));
	s->group_dot = arena_alloc(arena, groups, sizeof(double));
	return s->diagonal != NULL && s->group_dot != NULL;
}

static void
add_set(GibbsSide *s, int32_t end)
{
	s->set_start[++s->n_sets] = end;
}

/* number the columns of all blocks; nothing else than counts is known yet */
static void
count_columns(GibbsTrain *t, const JobInput *in)
{
	for (int k = 0; k < 2; k++)
	{
		GibbsSide *s = &t->g.side[k];
		int32_t n_other = k == 0 ? in->n_items : in->n_users;
		const JobFeatures *f = k == 0 ? &in->users : &in->items;

		s->number = k;
		if (t->plan.implicit[k])
		{
			s->blocks[s->n_blocks].first = s->n_cols;
			s->blocks[s->n_blocks++].n_cols = n_other;
			s->n_cols += n_other;
			add_set(s, s->n_cols);
		}
		if (t->plan.given[k])
		{
			s->blocks[s->n_blocks].first = s->n_cols;
			s->blocks[s->n_blocks++].n_cols = f->n_cols;
			for (int j = 0; j < f->n_groups; j++)
				add_set(s, s->n_cols + f->group_start[j + 1]);
			s->n_cols += f->n_cols;
		}
	}
}

static bool
given_layout(GibbsGiven *x, Arena *arena, const JobFeatures *f)
{
	x->col_ptr = arena_alloc(arena, (size_t) f->n_cols + 2, sizeof(int64_t));
	x->row = arena_alloc(arena, (size_t) f->nnz, sizeof(int32_t));
	x->val = arena_alloc(arena, (size_t) f->nnz, sizeof(float));
	return x->col_ptr != NULL && x->row != NULL && x->val != NULL;
}

/* by column from by row; one member */
static void
given_fill(GibbsGiven *x, const JobShared *job, const JobFeatures *f)
{
	const int64_t *ptr = job_at(job, f->ptr);
	const int32_t *col = job_at(job, f->col);
	const float *val = job_at(job, f->val);

	memset(x->col_ptr, 0, sizeof(int64_t) * ((size_t) f->n_cols + 2));
	for (int64_t e = 0; e < f->nnz; e++)
		x->col_ptr[col[e] + 2]++;
	for (int32_t c = 2; c < f->n_cols + 2; c++)
		x->col_ptr[c] += x->col_ptr[c - 1];
	for (int32_t r = 0; r < f->n_rows; r++)
		for (int64_t e = ptr[r]; e < ptr[r + 1]; e++)
		{
			int64_t at = x->col_ptr[col[e] + 1]++;

			x->row[at] = r;
			x->val[at] = val[e];
		}
}

bool
gibbs_layout(GibbsTrain *t, Arena *arena, const JobInput *in, int workers)
{
	Gibbs *g = &t->g;
	bool ok;

	g->dim = t->plan.dim;
	g->full = g->dim + 1;
	g->width = width_of(g->full);
	count_columns(t, in);
	for (int k = 0; k < 2; k++)
		t->mean.extra[k] = t->plan.given[k]
							   ? (k == 0 ? &in->users : &in->items)->n_cols + 1
							   : 0;
	t->mean.context = in->context.n_cols;
	g->sums_width =
		(2 + (g->side[0].n_sets > g->side[1].n_sets ? g->side[0].n_sets
													: g->side[1].n_sets)) *
			g->full +
		4;
	g->sums = arena_alloc(arena, RANK_CHUNKS * (size_t) g->sums_width,
						  sizeof(double));
	t->scaled = arena_alloc(arena, (size_t) in->n, sizeof(float));
	g->target = arena_alloc(arena, (size_t) in->n, sizeof(float));
	g->histogram = arena_alloc(
		arena, (size_t) workers * GIBBS_MAX_LEVELS * GIBBS_NOISE * GIBBS_BINS,
		t->plan.ordinal ? sizeof(int32_t) : 0);
	ok = g->sums != NULL && t->scaled != NULL && g->target != NULL &&
		 layout_side(t, arena, &g->side[0], in->n_users) &&
		 layout_side(t, arena, &g->side[1], in->n_items) &&
		 gibbs_mean_layout(&t->mean, arena, t->plan.rank, g->dim, in->n_users,
						   in->n_items);
	for (int k = 0; k < 2 && ok; k++)
	{
		size_t n = (size_t) (k == 0 ? in->n_users : in->n_items);

		t->out[k] = arena_alloc(arena,
								gibbs_mean_rows(&t->mean, k, (int32_t) n) *
									((size_t) t->plan.rank + 3),
								sizeof(float));
		t->noise_sum[k] = arena_alloc(arena, n, sizeof(double));
		ok = t->out[k] != NULL && t->noise_sum[k] != NULL;
		if (ok && t->plan.given[k])
			ok = given_layout(&t->given[k], arena,
							  k == 0 ? &in->users : &in->items);
	}
	if (ok && in->context.n_cols > 0)
	{
		g->context = &t->context;
		ok = gibbs_context_layout(g->context, arena, in, g->width);
		g->offset = g->context->offset;
	}
	return ok;
}

static int
compare_floats(const void *a, const void *b)
{
	float x = *(const float *) a;
	float y = *(const float *) b;

	return (x > y) - (x < y);
}

/* the distinct ratings, rising; 0 when there are too many, or the team stops */
static int
find_levels(const RankRun *run, float *levels)
{
	const Dataset *ds = run->ds;
	int n = 0;

	for (int32_t u = 0; u < ds->n_users; u++)
	{
		if (rank_stopped(run, u))
			return 0;
		for (int64_t r = ds->user_ptr[u]; r < rank_user_end(run, u); r++)
		{
			float y = rank_target(run, r);
			int k = 0;

			while (k < n && levels[k] != y)
				k++;
			if (k < n)
				continue;
			if (n == GIBBS_MAX_LEVELS)
				return 0;
			levels[n++] = y;
		}
	}
	qsort(levels, (size_t) n, sizeof(float), compare_floats);
	return n;
}

/*
 * A level far away from the others, by 20 standard deviations of all
 * ratings, is rather an error or the tail of counts: its small probability
 * times its distance would spoil every expected rating.
 */
static bool
levels_near(const GibbsTrain *t)
{
	for (int j = 1; j < t->g.n_levels && t->g.n_levels > 2; j++)
		if (t->levels[j] - t->levels[j - 1] > 20 * t->scale)
			return false;
	return true;
}

static void
prepare_ratings(GibbsTrain *t, const RankBias *bias)
{
	const Dataset *ds = t->run->ds;
	int64_t count[GIBBS_MAX_LEVELS] = {0};

	t->shift = bias->mean;
	t->scale = rank_deviation(t->run, bias->mean);
	t->g.n_levels = t->g.ordinal ? find_levels(t->run, t->levels) : 0;
	if (t->g.n_levels < 2 || !levels_near(t))
		t->g.ordinal = false; /* one value, or a scale without levels */
	t->g.free_mean = !t->g.ordinal;
	t->g.own_noise = true;
	for (int32_t u = 0; u < ds->n_users && !rank_stopped(t->run, u); u++)
		for (int64_t r = ds->user_ptr[u]; r < rank_user_end(t->run, u); r++)
		{
			float y = rank_target(t->run, r);
			int k = 0;

			if (!t->g.ordinal)
			{
				t->scaled[r] = (float) ((y - t->shift) / t->scale);
				continue;
			}
			while (t->levels[k] != y)
				k++;
			count[k]++;
			t->scaled[r] = (float) k;
		}
	if (t->g.ordinal)
		gibbs_init_cuts(&t->g, count);
}

static void
init_side(GibbsTrain *t, GibbsSide *s)
{
	const Dataset *ds = t->run->ds;
	bool all = t->run->all;
	DatasetSide d =
		s->number == 0 ? dataset_users(ds, all) : dataset_items(ds, all);
	DatasetSide o =
		s->number == 0 ? dataset_items(ds, all) : dataset_users(ds, all);
	const JobInput *in = &t->run->job->input;
	const JobFeatures *f = s->number == 0 ? &in->users : &in->items;
	int b = 0;

	s->ptr = d.ptr;
	s->end = d.end;
	s->index = d.index;
	s->place = s->number == 0 ? NULL : ds->row;
	for (int k = 0; k < t->g.full; k++)
		s->lambda[k] = k < t->g.dim ? 20 : 4;
	for (int k = t->g.full; k < t->g.width; k++)
		s->lambda[k] = 1;
	for (int j = 0; j < s->n_sets; j++)
		for (int k = 0; k < t->g.width; k++)
			s->set_lambda[j][k] = 20;
	if (t->plan.implicit[s->number])
	{
		GibbsBlock *x = &s->blocks[b++];

		x->ptr = d.ptr;
		x->end = d.end;
		x->col = d.index;
		x->row_scale = t->root[s->number];
		x->col_ptr = o.ptr;
		x->col_end = o.end;
		x->row = o.index;
	}
	if (t->plan.given[s->number])
	{
		GibbsBlock *x = &s->blocks[b++];

		x->ptr = job_at(t->run->job, f->ptr);
		x->end = x->ptr + 1;
		x->col = job_at(t->run->job, f->col);
		x->val = job_at(t->run->job, f->val);
		x->col_ptr = t->given[s->number].col_ptr;
		x->col_end = x->col_ptr + 1;
		x->row = t->given[s->number].row;
		x->col_val = t->given[s->number].val;
	}
	if (t->run->team->rank != 0)
		return;
	if (t->plan.given[s->number])
		given_fill(&t->given[s->number], t->run->job, f);
	for (int32_t r = 0; r < s->n; r++)
	{
		double n = (double) (s->end[r] - s->ptr[r]);

		t->root[s->number][r] = (float) (1 / sqrt(n > 1 ? n : 1));
	}
	memset(t->mean.bias[s->number], 0,
		   sizeof(double) * gibbs_mean_rows(&t->mean, s->number, s->n));
	memset(t->noise_sum[s->number], 0, sizeof(double) * (size_t) s->n);
	gibbs_init_side(&t->g, s);
}

/* rank 0 prepares the ratings, the others repeat it for their own levels */
RsStatus
gibbs_prepare(GibbsTrain *t, const RankBias *bias)
{
	Team *team = t->run->team;
	Gibbs *g = &t->g;
	RsStatus st;

	if (team->rank == 0)
	{
		prepare_ratings(t, bias);
		memcpy(g->target, t->scaled, sizeof(float) * (size_t) t->run->ds->n);
	}
	if ((st = team_barrier(team)) != RS_OK)
		return st;
	if (team->rank != 0)
		prepare_ratings(t, bias);
	g->rating = t->scaled;
	init_side(t, &g->side[0]);
	init_side(t, &g->side[1]);
	if (g->context != NULL && (st = gibbs_context_init(g->context, g)) != RS_OK)
		return st;
	return team_barrier(team);
}
