/*
 * rank_gibbs.c
 *		The ranking learner by Gibbs sampling: sweeps, averages, output.
 */
#include "model/rank_gibbs.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "math/hooks.h"
#include "math/rng.h"
#include "math/vec.h"
#include "model/gibbs_setup.h"

#define LATE_SAMPLES 4 /* when the time is over */

GibbsProbe *gibbs_probe;

size_t
rank_gibbs_size(const JobConfig *config, const JobInput *input, int workers)
{
	GibbsTrain *t = math_alloc_zero(sizeof(GibbsTrain));
	Arena dry = {(char *) 64, SIZE_MAX / 2, 0};
	bool ok;

	gibbs_plan(&t->plan, config, input);
	ok = gibbs_layout(t, &dry, input, workers);
	math_release(t);
	return ok ? dry.used + 64 * (JOB_MAX_PARAMS + 4) * 16 : SIZE_MAX;
}

/* ---- ratings ---- */

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
		(st = gibbs_draw_side(g, &g->side[1])) != RS_OK ||
		(g->context != NULL && (st = gibbs_context_draw(g)) != RS_OK))
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
	const JobConfig *config = &t->run->job->config;
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
	/* next to retrieval, dim is meant for that */
	if (t->run->team->rank == 0 && !config->retrieval &&
		config->dim > GIBBS_MAX_DIM)
		t->run->job->output.most_dim = GIBBS_MAX_DIM;
}

static int
vector_dim(const GibbsTrain *t)
{
	return t->mean.rank + (t->g.ordinal ? 3 : 2);
}

/* does row r stand for somebody, not for what a feature or context adds? */
static bool
is_whole(const GibbsTrain *t, int side, int64_t r)
{
	const GibbsMean *m = &t->mean;
	int32_t n = t->g.side[side].n;

	return r < n || (m->extra[side] > 0 &&
					 r + 1 == (int64_t) gibbs_mean_rows(m, side, n));
}

/*
 * Row r as a stored vector: of a row, what the context or a feature adds, or
 * (the last of the extra ones) what all have.
 */
static void
put_vector(const GibbsTrain *t, int side, int32_t r)
{
	const GibbsMean *m = &t->mean;
	int32_t n = t->g.side[side].n;
	bool whole = is_whole(t, side, r);
	const float *x = m->basis[side] + (size_t) r * (size_t) m->rank;
	float *to = t->out[side] + (size_t) r * (size_t) vector_dim(t);
	float k = 1 / (float) m->samples;
	float scale = t->g.ordinal ? 1 : (float) t->scale;
	float b = (float) m->bias[side][r] * k * scale;
	float weight = r >= n && r < n + m->context
					   ? 1 / gibbs_mean_weight(&t->g, side, r - n)
					   : 1;

	for (int f = 0; f < m->rank; f++)
		to[f] = x[f] * weight * (side == 0 ? 1 : k * scale);
	if (side == 0 && whole && !t->g.ordinal)
		b += (float) t->shift;
	to[m->rank + side] = b;
	to[m->rank + 1 - side] = whole ? 1 : 0;
	if (t->g.ordinal)
		to[m->rank + 2] = !whole  ? 0
						  : r < n ? (float) t->noise_sum[side][r] * k
								  : 1;
}

/* a row without ratings is what its features say, without the draws' noise */
static void
place_unrated(const GibbsTrain *t, int side)
{
	const GibbsSide *s = &t->g.side[side];
	const GibbsBlock *given = &s->blocks[s->n_blocks - 1];
	size_t dim = (size_t) vector_dim(t);
	const float *map = t->out[side] + (size_t) (s->n + t->mean.context) * dim;

	for (int32_t r = 0; r < s->n; r++)
	{
		float *to = t->out[side] + (size_t) r * dim;

		if (s->end[r] > s->ptr[r])
			continue;
		memcpy(to, map + (size_t) given->n_cols * dim, sizeof(float) * dim);
		for (int64_t e = given->ptr[r]; e < given->end[r]; e++)
			for (size_t f = 0; f < dim; f++)
				to[f] += given->val[e] * map[(size_t) given->col[e] * dim + f];
	}
}

/* the average context becomes part of every row; returns where the map is */
static size_t
put_context(GibbsTrain *t, int side)
{
	int32_t n = t->g.side[side].n;
	size_t dim = (size_t) vector_dim(t);
	size_t rows = gibbs_mean_rows(&t->mean, side, n);
	float *map = t->out[side] + (size_t) n * dim;
	float mean[GIBBS_MAX_DIM + 3] = {0};

	if (t->mean.context == 0)
		return 0;
	context_center(t->run->context, &t->context.by, t->run->ds, t->run->all,
				   (int) dim, map, mean);
	for (size_t r = 0; r < rows; r++)
		for (size_t f = 0; is_whole(t, side, (int64_t) r) && f < dim; f++)
			t->out[side][r * dim + f] += mean[f];
	return job_offset(t->run->job, map);
}

/* rank 0: all vectors of one side; where its maps are */
static void
put_side(GibbsTrain *t, int side, size_t *map, size_t *context)
{
	int32_t n = t->g.side[side].n;
	size_t rows = gibbs_mean_rows(&t->mean, side, n);

	for (size_t r = 0; r < rows; r++)
		put_vector(t, side, (int32_t) r);
	*context = put_context(t, side);
	*map = 0;
	if (t->mean.extra[side] == 0)
		return;
	place_unrated(t, side);
	*map =
		job_offset(t->run->job, t->out[side] + (size_t) (n + t->mean.context) *
												   (size_t) vector_dim(t));
}

static RsStatus
output(GibbsTrain *t, const RankBias *bias)
{
	JobOutput *out = &t->run->job->output;
	int dim = vector_dim(t);
	float k = 1 / (float) t->mean.samples;
	RsStatus st;

	if (t->run->team->rank == 0)
	{
		put_side(t, 0, &out->user_ranking_map, &out->context_user_map);
		put_side(t, 1, &out->item_ranking_map, &out->context_item_map);
		out->ranking = RANKING_FACTOR;
		out->user_ranking_dim = out->item_ranking_dim = dim;
		out->user_ranking = job_offset(t->run->job, t->out[0]);
		out->item_ranking = job_offset(t->run->job, t->out[1]);
	}
	if ((st = rank_add_means(t->run, t->out[0], t->out[1], dim, dim)) != RS_OK)
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
	int every = t->plan.sweeps / 20 > 0 ? t->plan.sweeps / 20 : 1;

	if (t->run->team->rank != 0)
		return;
	job->progress.epoch = k;
	job->progress.epochs = t->plan.sweeps;
	job->progress.rate =
		k * (double) rank_n_train(t->run) / (seconds > 0 ? seconds : 1);
	job->output.epochs = k;
	if (k % every != 0)
		return;
	/* minus the log likelihood, or the deviation of the noise */
	job->progress.loss =
		t->g.ordinal ? gibbs_ordinal_loss(&t->g) : t->scale / sqrt(t->g.alpha);
	job_log(job, "ranking", k, job->progress.loss, "", 0, seconds);
}

static RsStatus
train(GibbsTrain *t, const RankBias *bias)
{
	RsStatus st;
	bool late = false;

	for (int k = 1; k <= t->plan.sweeps; k++)
	{
		t->g.sweep = k;
		if ((st = sweep(t)) != RS_OK ||
			(st = rank_late(t->run, &late)) != RS_OK)
			return st;
		report(t, k);
		/* some samples there must be, of a chain that has only begun as well */
		if (late && k < t->plan.burn)
			t->plan.burn = k;
		if (late && t->mean.samples >= LATE_SAMPLES)
			break;
	}
	if ((st = gibbs_mean_finish(&t->mean, &t->g)) != RS_OK)
		return st;
	return output(t, bias);
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
	gibbs_plan(&t->plan, &run->job->config, &run->job->input);
	/* enough for metrics that are hardly worse than the final model's */
	if (run->quick && t->plan.sweeps > 60)
		t->plan.sweeps = t->plan.sweeps / 2 > 60 ? t->plan.sweeps / 2 : 60;
	g->ordinal = t->plan.ordinal;
	g->noise_shape[0] = 40;
	g->noise_shape[1] = 30;
	g->cg_steps = 6;
	g->cg_tolerance = 1e-2f;
	g->alpha = 1;
	if (!gibbs_layout(t, run->arena, &run->job->input, run->team->size) ||
		!alloc_private(t))
		team_stop(run->team, RS_NO_MEMORY);
	if ((st = team_barrier(run->team)) == RS_OK)
		st = gibbs_prepare(t, bias);
	if (st == RS_OK)
		choose_pairs(t);
	if (st == RS_OK)
		st = train(t, bias);
	math_release(t->pair);
	math_release(t->pair_sum);
	if (g->context != NULL)
		gibbs_context_free(g->context);
	math_release(g->side[0].set_lambda);
	math_release(g->side[1].set_lambda);
	math_release(g->scratch);
	math_release(t);
	return st;
}
