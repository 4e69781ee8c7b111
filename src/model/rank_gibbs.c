/*
 * rank_gibbs.c
 *		The ranking learner by Gibbs sampling.
 */
#include "model/rank_gibbs.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "math/hooks.h"
#include "math/rng.h"
#include "math/vec.h"
#include "model/gibbs.h"
#include "model/gibbs_mean.h"

#define PAIRS 4096

GibbsProbe *gibbs_probe;

typedef struct GibbsPlan
{
	int dim;
	int sweeps;
	int burn;
	int rank;
	bool ordinal;
	bool implicit[2]; /* features: what the row's ratings are of */
	bool given[2];    /* features from the tables */
} GibbsPlan;

/* features from the tables by column, and their rows; shared */
typedef struct GibbsGiven
{
	int64_t *col_ptr; /* (n_cols + 1) */
	int32_t *row;     /* (nnz) */
	float *val;       /* (nnz) */
} GibbsGiven;

typedef struct GibbsTrain
{
	RankRun *run;
	GibbsPlan plan;
	Gibbs g;
	GibbsMean mean;
	GibbsGiven given[2];
	double shift;
	double scale;
	float *scaled;  /* (n) standardised ratings or level numbers */
	float *root[2]; /* (n) number of ratings ^ -1/2 */
	float levels[GIBBS_MAX_LEVELS];
	double cut_sum[GIBBS_MAX_LEVELS + 1];
	float *out[2];        /* (n, rank + 2), one more for an ordinal model */
	double *noise_sum[2]; /* (n) of noise variances, shared */
	int32_t *pair; /* (2 PAIRS) rank 0: users and items to measure with */
	double *pair_sum;
} GibbsTrain;

#ifdef GIBBS_TUNING
static double
env(const char *name, double otherwise)
{
	const char *v = getenv(name);

	return v != NULL ? atof(v) : otherwise;
}
#else
#define env(name, otherwise) (otherwise)
#endif

/*
 * Chosen on validation rows of MovieLens-100K: more factors than 10 gain
 * nothing below a million ratings. The time grows with the ratings, so large
 * tables get fewer sweeps.
 */
static void
plan_make(GibbsPlan *p, const JobConfig *config, const JobInput *input)
{
	bool best = config->preset == PRESET_BEST;

	memset(p, 0, sizeof(*p));
	p->dim = config->dim > 0      ? config->dim
			 : input->n < 500000  ? 10
			 : input->n < 5000000 ? 15
								  : 31;
	if (p->dim > GIBBS_MAX_DIM)
		p->dim = GIBBS_MAX_DIM;
	p->sweeps = config->epochs > 0   ? config->epochs
				: best               ? 1000
				: input->n < 500000  ? 300
				: input->n < 5000000 ? 150
									 : 80;
	p->burn = p->sweeps < 60 ? p->sweeps / 3 : 20;
	p->rank = p->dim <= 10 ? 32 : 3 * p->dim;
	if (p->rank > GIBBS_MAX_DIM)
		p->rank = GIBBS_MAX_DIM;
	/* of ratings without levels it turns into the Gaussian model */
	p->ordinal = config->ranking_loss != LOSS_GIBBS;
	p->implicit[0] = env("IU", 1) != 0;
	p->implicit[1] = env("II", 1) != 0;
	p->given[0] = input->users.n_cols > 0 && env("FU", 1) != 0;
	p->given[1] = input->items.n_cols > 0 && env("FI", 1) != 0;
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

static bool
train_layout(GibbsTrain *t, Arena *arena, const JobInput *in, int workers)
{
	Gibbs *g = &t->g;
	bool ok;

	g->dim = t->plan.dim;
	g->full = g->dim + 1;
	g->width = width_of(g->full);
	count_columns(t, in);
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

		t->out[k] =
			arena_alloc(arena, n * ((size_t) t->plan.rank + 3), sizeof(float));
		t->noise_sum[k] = arena_alloc(arena, n, sizeof(double));
		ok = t->out[k] != NULL && t->noise_sum[k] != NULL;
		if (ok && t->plan.given[k])
			ok = given_layout(&t->given[k], arena,
							  k == 0 ? &in->users : &in->items);
	}
	return ok;
}

size_t
rank_gibbs_size(const JobConfig *config, const JobInput *input, int workers)
{
	GibbsTrain *t = math_alloc_zero(sizeof(GibbsTrain));
	Arena dry = {(char *) 64, SIZE_MAX / 2, 0};
	bool ok;

	plan_make(&t->plan, config, input);
	ok = train_layout(t, &dry, input, workers);
	math_release(t);
	return ok ? dry.used + 64 * (JOB_MAX_PARAMS + 4) * 16 : SIZE_MAX;
}

/* ---- ratings ---- */

static int
compare_floats(const void *a, const void *b)
{
	float x = *(const float *) a;
	float y = *(const float *) b;

	return (x > y) - (x < y);
}

/* the distinct ratings, rising; 0 when there are too many */
static int
find_levels(const RankRun *run, float *levels)
{
	const Dataset *ds = run->ds;
	int n = 0;

	for (int32_t u = 0; u < ds->n_users; u++)
		for (int64_t r = ds->user_ptr[u]; r < rank_user_end(run, u); r++)
		{
			int k = 0;

			while (k < n && levels[k] != ds->rating[r])
				k++;
			if (k < n)
				continue;
			if (n == GIBBS_MAX_LEVELS)
				return 0;
			levels[n++] = ds->rating[r];
		}
	qsort(levels, (size_t) n, sizeof(float), compare_floats);
	return n;
}

static void
prepare_ratings(GibbsTrain *t, const RankBias *bias)
{
	const Dataset *ds = t->run->ds;
	int64_t count[GIBBS_MAX_LEVELS] = {0};

	t->shift = bias->mean;
	t->scale = rank_deviation(t->run, bias->mean);
	t->g.n_levels = t->g.ordinal ? find_levels(t->run, t->levels) : 0;
	if (t->g.n_levels < 2)
		t->g.ordinal = false; /* one value, or a scale without levels */
	t->g.free_mean = !t->g.ordinal;
	t->g.own_noise = env("NOISE", 1) != 0;
	for (int32_t u = 0; u < ds->n_users; u++)
		for (int64_t r = ds->user_ptr[u]; r < rank_user_end(t->run, u); r++)
		{
			int k = 0;

			if (!t->g.ordinal)
			{
				t->scaled[r] = (float) ((ds->rating[r] - t->shift) / t->scale);
				continue;
			}
			while (t->levels[k] != ds->rating[r])
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
	memset(t->mean.bias[s->number], 0, sizeof(double) * (size_t) s->n);
	memset(t->noise_sum[s->number], 0, sizeof(double) * (size_t) s->n);
	gibbs_init_side(&t->g, s);
}

static double
probe_rating(const GibbsTrain *t, double s, double root)
{
	double y = t->levels[0];

	if (!t->g.ordinal)
		return t->shift + t->scale * s;
	for (int j = 1; j < t->g.n_levels; j++)
		y += (t->levels[j] - t->levels[j - 1]) * 0.5 *
			 erfc((t->g.cut[j] - s) * root * M_SQRT1_2);
	return y;
}

static void
probe_sample(GibbsTrain *t)
{
	GibbsProbe *p = gibbs_probe;
	Gibbs *g = &t->g;

	p->samples += 1;
	for (int64_t k = 0; k < p->n; k++)
	{
		const float *u = g->side[0].vec + (size_t) p->user[k] * g->width;
		const float *q = g->side[1].design + (size_t) p->item[k] * g->width;
		double s = vec_dot(u, q, g->width) + g->side[1].bias[p->item[k]];

		p->sum[k] += probe_rating(t, s,
								  sqrt(g->side[0].noise[p->user[k]] *
									   (double) g->side[1].noise[p->item[k]]));
		p->score[k] += s;
		p->square[k] += s * s;
	}
}

/* pairs of the users and items of random ratings */
static void
choose_pairs(GibbsTrain *t)
{
	const Dataset *ds = t->run->ds;
	Rng rng;

	rng_init(&rng, t->g.seed, 13);
	for (int k = 0; k < PAIRS; k++)
	{
		int64_t r = (int64_t) rng_below(&rng, (uint64_t) ds->n);
		int32_t low = 0;
		int32_t high = ds->n_users - 1;

		t->pair[2 * k + 1] = ds->item[rng_below(&rng, (uint64_t) ds->n)];
		while (low < high)
		{
			int32_t mid = low + (high - low) / 2;

			if (ds->user_ptr[mid + 1] > r)
				high = mid;
			else
				low = mid + 1;
		}
		t->pair[2 * k] = low;
	}
}

/* what the link of the stored model needs: cutpoints, noise, variance */
static void
sample_ordinal(GibbsTrain *t)
{
	Gibbs *g = &t->g;
	Team *team = t->run->team;

	for (int j = 0; j <= g->n_levels; j++)
		t->cut_sum[j] += g->cut[j];
	for (int side = 0; side < 2; side++)
	{
		int64_t from;
		int64_t to;

		team_range(team, g->side[side].n, &from, &to);
		for (int64_t r = from; r < to; r++)
			t->noise_sum[side][r] += 1 / g->side[side].noise[r];
	}
	for (int k = 0; k < PAIRS && team->rank == 0; k++)
	{
		double x = gibbs_score(
			g, g->side[0].vec + (size_t) t->pair[2 * k] * (size_t) g->width,
			t->pair[2 * k + 1]);

		t->pair_sum[2 * k] += x;
		t->pair_sum[2 * k + 1] += x * x;
	}
}

/* mean over the pairs of the posterior variance of a score */
static double
score_variance(const GibbsTrain *t)
{
	double n = t->mean.samples;
	double v = 0;

	for (int k = 0; k < PAIRS; k++)
	{
		double mean = t->pair_sum[2 * k] / n;

		v += fmax(t->pair_sum[2 * k + 1] / n - mean * mean, 0) / PAIRS;
	}
	return v;
}

static RsStatus
sweep(GibbsTrain *t)
{
	Gibbs *g = &t->g;
	RsStatus st;

	if ((st = gibbs_draw_noise(g)) != RS_OK ||
		(st = gibbs_draw_side(g, &g->side[0])) != RS_OK ||
		(st = gibbs_draw_side(g, &g->side[1])) != RS_OK)
		return st;
	if (g->sweep <= t->plan.burn)
		return RS_OK;
	if (g->ordinal)
		sample_ordinal(t);
	if (gibbs_probe != NULL && t->run->team->rank == 0)
		probe_sample(t);
	return gibbs_mean_add(&t->mean, g);
}

static void
tell_choice(GibbsTrain *t)
{
	char text[200];

	if (t->g.ordinal)
		snprintf(text, sizeof(text),
				 "Ranking: Bayesian factorization, %d factors, %d samples, "
				 "ordinal since the ratings have %d levels.",
				 t->g.dim, t->mean.samples, t->g.n_levels);
	else
		snprintf(text, sizeof(text),
				 "Ranking: Bayesian factorization, %d factors, %d samples, "
				 "normal noise.",
				 t->g.dim, t->mean.samples);
	rank_add_choice(t->run, text);
}

static RsStatus
output(GibbsTrain *t, const RankBias *bias)
{
	JobOutput *out = &t->run->job->output;
	const GibbsMean *m = &t->mean;
	int dim = m->rank + (t->g.ordinal ? 3 : 2);
	float k = 1 / (float) m->samples;
	float scale = t->g.ordinal ? 1 : (float) t->scale;
	RsStatus st;

	if (t->run->team->rank == 0)
	{
		for (int side = 0; side < 2; side++)
			for (int32_t r = 0; r < t->g.side[side].n; r++)
			{
				float *to = t->out[side] + (size_t) r * (size_t) dim;
				const float *x = m->basis[side] + (size_t) r * (size_t) m->rank;
				float b = (float) m->bias[side][r] * k * scale;

				for (int f = 0; f < m->rank; f++)
					to[f] = x[f] * (side == 0 ? 1 : k * scale);
				to[m->rank] =
					side == 0 ? b + (t->g.ordinal ? 0 : (float) t->shift) : 1;
				to[m->rank + 1] = side == 0 ? 1 : b;
				if (t->g.ordinal)
					to[m->rank + 2] = (float) t->noise_sum[side][r] * k;
			}
		out->ranking = RANKING_FACTOR;
		out->user_ranking_dim = out->item_ranking_dim = dim;
		out->user_ranking = job_offset(t->run->job, t->out[0]);
		out->item_ranking = job_offset(t->run->job, t->out[1]);
	}
	if ((st = rank_add_means(t->run, t->out[0], t->out[1], dim)) != RS_OK)
		return st;
	if (t->g.ordinal)
	{
		int n = t->g.n_levels;
		float *levels = rank_add_param(t->run, "levels", 1, n, 0);
		float *cuts = rank_add_param(t->run, "cutpoints", 1, n - 1, 0);
		float *noise = rank_add_param(t->run, "noise", 1, 1, 0);
		float *variance = rank_add_param(t->run, "variance", 1, 1, 0);

		for (int j = 0; j < n; j++)
			levels[j] = t->levels[j];
		for (int j = 1; j < n; j++)
			cuts[j - 1] = (float) t->cut_sum[j] * k;
		noise[0] = 1;
		if (t->run->team->rank == 0)
			variance[0] = (float) score_variance(t);
	}
	if ((st = rank_add_clamp(t->run, bias)) != RS_OK)
		return st;
	tell_choice(t);
	return team_barrier(t->run->team);
}

static void
report(GibbsTrain *t, int k)
{
	JobShared *job = t->run->job;
	double seconds = rank_clock() - t->run->started;
	double noise = t->g.ordinal ? 1 : t->scale / sqrt(t->g.alpha);
	int every = t->plan.sweeps / 20;

	if (t->run->team->rank != 0)
		return;
	job->progress.epoch = k;
	job->progress.epochs = t->plan.sweeps;
	job->progress.loss = noise;
	job->progress.rate =
		k * (double) rank_n_train(t->run) / (seconds > 0 ? seconds : 1);
	job->output.epochs = k;
	if (every < 1 || k % every == 0)
		job_log(job, "ranking", k, noise, "", 0, seconds);
}

/* rank 0 looks at the clock, so that all members stop at the same sweep */
static bool
time_is_up(GibbsTrain *t)
{
	double limit = t->run->job->config.max_seconds;
	double *flag = t->g.sums + t->g.sums_width - 1;
	bool up;

	if (!(limit > 0))
		return false;
	if (t->run->team->rank == 0)
		*flag = rank_clock() - t->run->started > limit;
	if (team_barrier(t->run->team) != RS_OK)
		return true;
	up = *flag != 0;
	return team_barrier(t->run->team) != RS_OK || up;
}

static RsStatus
train(GibbsTrain *t, const RankBias *bias)
{
	RsStatus st;

	for (int k = 1; k <= t->plan.sweeps; k++)
	{
		t->g.sweep = k;
		if ((st = sweep(t)) != RS_OK)
			return st;
		report(t, k);
		if (t->mean.samples > 0 && time_is_up(t))
			break;
	}
	if ((st = gibbs_mean_finish(&t->mean, &t->g)) != RS_OK)
		return st;
	return output(t, bias);
}

/* rank 0 prepares the ratings, the others repeat it for their own levels */
static RsStatus
prepare(GibbsTrain *t, const RankBias *bias)
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
	choose_pairs(t);
	init_side(t, &g->side[0]);
	init_side(t, &g->side[1]);
	return team_barrier(team);
}

static bool
alloc_private(GibbsTrain *t)
{
	bool ok = true;

	t->g.scratch = math_alloc_zero(gibbs_scratch_size(&t->g));
	for (int k = 0; k < 2; k++)
	{
		GibbsSide *s = &t->g.side[k];

		s->set_lambda =
			math_alloc_array((size_t) s->n_sets + 1, sizeof(*s->set_lambda));
		ok = ok && s->set_lambda != NULL;
	}
	t->pair = math_alloc_array(2 * PAIRS, sizeof(int32_t));
	t->pair_sum = math_alloc_zero(2 * PAIRS * sizeof(double));
	return ok && t->g.scratch != NULL && t->pair != NULL && t->pair_sum != NULL;
}

RsStatus
rank_gibbs_run(RankRun *run, RankBias *bias)
{
	GibbsTrain *t = math_alloc_zero(sizeof(GibbsTrain));
	Gibbs *g;
	RsStatus st;

	if (t == NULL)
		team_stop(run->team, RS_NO_MEMORY);
	if ((st = team_barrier(run->team)) != RS_OK)
	{
		math_release(t);
		return st;
	}
	g = &t->g;
	t->run = g->run = run;
	g->seed = run->job->config.seed;
	plan_make(&t->plan, &run->job->config, &run->job->input);
	if (run->quick && t->plan.sweeps > 60)
		t->plan.sweeps = t->plan.sweeps / 3 > 60 ? t->plan.sweeps / 3 : 60;
	g->ordinal = t->plan.ordinal;
	g->noise_shape[0] = env("NU", 40);
	g->noise_shape[1] = env("NU2", 30);
	g->cg_steps = (int) env("CG", 6);
	g->cg_tolerance = 1e-2f;
	g->alpha = 1;
	if (!train_layout(t, run->arena, &run->job->input, run->team->size) ||
		!alloc_private(t))
		team_stop(run->team, RS_NO_MEMORY);
	if ((st = team_barrier(run->team)) == RS_OK)
		st = prepare(t, bias);
	if (st == RS_OK)
		st = train(t, bias);
	math_release(t->pair);
	math_release(t->pair_sum);
	math_release(g->side[0].set_lambda);
	math_release(g->side[1].set_lambda);
	math_release(g->scratch);
	math_release(t);
	return st;
}
