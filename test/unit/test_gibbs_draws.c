/*
 * test_gibbs_draws.c
 *		Every draw of the Gibbs sampler against the model that gibbs.h states.
 *
 * Everything is drawn from the prior, ratings from that, and then the
 * sampler takes two sweeps from there. If its draws are those of the model,
 * what it leaves is of the same joint distribution as what it was given
 * (Geweke 2004; from the prior each time, so that samples are independent
 * and no chain has to mix). Scaled by their own precision (vectors, features,
 * context, noise) or sent through their distribution (precisions) all
 * numbers then have mean 0, variance 1 and no correlation. No formula of a
 * conditional is repeated here.
 *
 * Precisions' prior is so wide that ratings of its tails are beyond float32.
 * So either these stay as they are and the rest is drawn, or they are drawn
 * and the ratings say nothing (alpha 0).
 */
#include "check.h"
#include "rank_testing.h"

#include "math/hooks.h"
#include "model/gibbs_setup.h"

#define USERS 4
#define ITEMS 5
#define RATINGS 14
#define COLS 3   /* of each table of features, in two groups */
#define SWEEPS 2 /* the map of the context takes turns */
#define MOST_COLS (ITEMS + COLS)
#define MOST_FULL 11
#define MOST_NUMBERS 400

/* the block of a job */
typedef struct Block
{
	JobShared job;
	int32_t user[RATINGS];
	int32_t item[RATINGS];
	float rating[RATINGS];
	struct
	{
		int64_t ptr[RATINGS + 1];
		int32_t col[RATINGS * COLS];
		float val[RATINGS * COLS];
	} table[3];
	char arena[1 << 23] __attribute__((aligned(64)));
} Block;

static Block block;
static Team team;
static Arena arena;
static Dataset ds;
static RankRun run;
static Context context;
static GibbsTrain train;
static Rng rng;

/* dense: features of users, items, ratings */
static double x[3][RATINGS][MOST_COLS];

/* a sample's numbers, and sums over samples */
static int n_numbers;
static double number[MOST_NUMBERS];
static double sum[MOST_NUMBERS];
static double product[MOST_NUMBERS][MOST_NUMBERS];

/* ---- a training that is never run ---- */

static void
fill_table(JobFeatures *f, int which, int32_t rows, int first)
{
	f->n_rows = rows;
	f->n_cols = COLS;
	f->n_groups = 2;
	f->group_start[1] = 1;
	f->group_start[2] = COLS;
	f->ptr = job_offset(&block.job, block.table[which].ptr);
	f->col = job_offset(&block.job, block.table[which].col);
	f->val = job_offset(&block.job, block.table[which].val);
	for (int32_t r = 0; r < rows; r++)
	{
		for (int32_t c = 0; c < COLS; c++)
		{
			float v = (float) (0.5 + rng_uniform(&rng));

			if (rng_uniform(&rng) < 0.4)
				continue;
			block.table[which].col[f->nnz] = c;
			block.table[which].val[f->nnz++] = v;
			x[which][r][first + c] = v;
		}
		block.table[which].ptr[r + 1] = f->nnz;
	}
}

/* who rated what, one item twice, and that as features: value n^-1/2 */
static void
fill_ratings(JobInput *in)
{
	static const int32_t user[] = {0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3};
	static const int32_t item[] = {0, 1, 2, 4, 0, 2, 3, 0, 1, 3, 4, 1, 1, 4};
	double n[2][ITEMS] = {{0}};

	in->n = RATINGS;
	in->n_users = USERS;
	in->n_items = ITEMS;
	in->user = job_offset(&block.job, block.user);
	in->item = job_offset(&block.job, block.item);
	in->rating = job_offset(&block.job, block.rating);
	for (int r = 0; r < RATINGS; r++)
	{
		block.user[r] = user[r];
		block.item[r] = item[r];
		block.rating[r] = (float) r;
		n[0][block.user[r]]++;
		n[1][block.item[r]]++;
	}
	for (int r = 0; r < RATINGS; r++)
	{
		int u = block.user[r];
		int i = block.item[r];

		x[0][u][i] += 1 / sqrt(n[0][u]);
		x[1][i][u] += 1 / sqrt(n[1][i]);
	}
}

static void
start(int dim)
{
	static float set_lambda[2][GIBBS_MAX_GROUPS][GIBBS_WIDTH];
	RankBias bias = {0};
	DatasetOptions opt = {
		.ratings = true, .rows = true, .sources = true, .repeats = true};
	JobInput *in = &block.job.input;
	Gibbs *g = &train.g;

	memset(&block, 0, sizeof(block));
	memset(&train, 0, sizeof(train));
	memset(&run, 0, sizeof(run));
	memset(x, 0, sizeof(x));
	rng_init(&rng, 5, (uint64_t) dim);
	team = (Team){&block.job.team, 0, 1};
	arena_init(&arena, block.arena, sizeof(block.arena));
	block.job.config = test_config();
	block.job.config.ranking_loss = LOSS_GIBBS;
	block.job.config.implicit = 1;
	block.job.config.dim = dim;
	fill_ratings(in);
	fill_table(&in->users, 0, USERS, ITEMS);
	fill_table(&in->items, 1, ITEMS, USERS);
	fill_table(&in->context, 2, RATINGS, 0);
	CHECK(dataset_build(&team, &arena, &block.job, &opt, &ds) == RS_OK);
	context_find(&block.job, &ds, &context);
	run = (RankRun){.team = &team,
					.job = &block.job,
					.arena = &arena,
					.ds = &ds,
					.context = &context};
	train.run = g->run = &run;
	gibbs_plan(&train.plan, &block.job.config, in);
	CHECK(gibbs_layout(&train, &arena, in, 1));
	g->seed = 3;
	g->noise_shape[0] = g->noise_shape[1] = 2;
	g->cg_steps = 200;
	g->cg_tolerance = 1e-5f;
	g->scratch = math_alloc_zero(gibbs_scratch_size(g));
	for (int k = 0; k < 2; k++)
		g->side[k].set_lambda = set_lambda[k];
	CHECK(gibbs_prepare(&train, &bias) == RS_OK);
	for (int r = 0; r < RATINGS; r++)
		CHECK(ds.source[r] == (uint32_t) r && ds.item[r] == block.item[r]);
}

/* ---- the model ---- */

/* precisions' prior: Gamma(1/2, rate / 2) */
static float
draw_precision(double rate)
{
	double z = rng_normal(&rng);

	return (float) (z * z / rate);
}

static float
draw_coordinate(double precision)
{
	return (float) (rng_normal(&rng) / sqrt(precision));
}

static bool
has_mean(const Gibbs *g, int side, int f)
{
	return f < g->dim || side == 0;
}

static void
draw_precisions(Gibbs *g, bool wide)
{
	for (int side = 0; side < 2; side++)
		for (int f = 0; f < g->full; f++)
		{
			GibbsSide *s = &g->side[side];

			s->lambda[f] = wide ? draw_precision(1) : 1.5f + (float) (f % 3);
			s->mu[f] = 0;
			if (has_mean(g, side, f))
				s->mu[f] = wide    ? draw_coordinate(s->lambda[f])
						   : f % 2 ? -0.8f
								   : 0.6f;
			for (int k = 0; k < s->n_sets; k++)
				s->set_lambda[k][f] = wide ? draw_precision(GIBBS_SET_RATE)
										   : 1 + 0.5f * (float) k;
			for (int k = 0; k < 2; k++)
				g->context->lambda[side][k][f] =
					wide ? draw_precision(GIBBS_SET_RATE)
						 : 2 + (float) (k + side);
		}
}

static double
feature_sum(const Gibbs *g, const GibbsSide *s, int row, int f)
{
	double y = 0;

	for (int c = 0; c < s->n_cols; c++)
		y += x[s->number][row][c] * s->beta[c * g->width + f];
	return y;
}

static void
draw_vectors(Gibbs *g, GibbsSide *s)
{
	int w = g->width;

	for (int f = 0; f < g->full; f++)
	{
		for (int c = 0; c < s->n_cols; c++)
			s->beta[c * w + f] =
				draw_coordinate(s->set_lambda[gibbs_set_of(s, c, 0)][f]);
		for (int c = 0; c < COLS; c++)
			g->context->map[s->number][c * w + f] =
				draw_coordinate(g->context->lambda[s->number][c > 0][f]);
	}
	for (int r = 0; r < s->n; r++)
	{
		for (int f = 0; f < g->full; f++)
			s->vec[r * w + f] = (float) (s->mu[f] + feature_sum(g, s, r, f) +
										 draw_coordinate(s->lambda[f]));
		memcpy(s->design + r * w, s->vec + r * w, sizeof(float) * (size_t) w);
		s->design[r * w + g->dim] = 1;
		s->bias[r] = s->vec[r * w + g->dim];
		/* Gamma(1, 1): noise_shape is 2 */
		s->noise[r] = (float) -log(1 - rng_uniform(&rng));
	}
}

/* <P[u] + T[c], Q[i] + S[c]> + biases of all four, or of users and items */
static double
score(const Gibbs *g, int r, bool with_context)
{
	double y = 0;

	for (int f = 0; f < g->full; f++)
	{
		double at[2];

		for (int side = 0; side < 2; side++)
		{
			int row = side == 0 ? block.user[r] : block.item[r];

			at[side] = g->side[side].vec[row * g->width + f];
			for (int c = 0; c < COLS && with_context; c++)
				at[side] +=
					x[2][r][c] * g->context->map[side][c * g->width + f];
		}
		y += f < g->dim ? at[0] * at[1] : at[0] + at[1];
	}
	return y;
}

static double
rating_precision(const Gibbs *g, int r)
{
	return g->alpha * g->side[0].noise[block.user[r]] *
		   g->side[1].noise[block.item[r]];
}

static void
draw_all(Gibbs *g, bool wide)
{
	draw_precisions(g, wide);
	draw_vectors(g, &g->side[0]);
	draw_vectors(g, &g->side[1]);
	g->alpha = wide ? 0 : draw_precision(1);
	for (int r = 0; r < RATINGS; r++)
	{
		g->context->offset[r] =
			(float) (score(g, r, true) - score(g, r, false));
		g->target[r] = (float) score(g, r, true);
		if (!wide)
			g->target[r] += draw_coordinate(rating_precision(g, r));
	}
}

/* ---- what is left of it ---- */

static void
add_normal(double z)
{
	number[n_numbers++] = z;
}

/* u uniform */
static void
add_uniform(double u)
{
	number[n_numbers++] = (u - 0.5) * sqrt(12);
}

static void
add_precision(double precision, double rate)
{
	add_uniform(erf(sqrt(0.5 * rate * precision)));
}

static void
add_precisions(const Gibbs *g, const GibbsSide *s, int f)
{
	add_precision(s->lambda[f], 1);
	if (has_mean(g, s->number, f))
		add_normal(s->mu[f] * sqrt(s->lambda[f]));
	for (int k = 0; k < s->n_sets; k++)
		add_precision(s->set_lambda[k][f], GIBBS_SET_RATE);
	for (int k = 0; k < 2; k++)
		add_precision(g->context->lambda[s->number][k][f], GIBBS_SET_RATE);
}

static void
add_vectors(const Gibbs *g, const GibbsSide *s, int f)
{
	const GibbsContext *o = g->context;

	for (int c = 0; c < s->n_cols; c++)
		add_normal(s->beta[c * g->width + f] *
				   sqrt(s->set_lambda[gibbs_set_of(s, c, 0)][f]));
	for (int c = 0; c < COLS; c++)
		add_normal(o->map[s->number][c * g->width + f] *
				   sqrt(o->lambda[s->number][c > 0][f]));
	for (int r = 0; r < s->n; r++)
		add_normal(
			(s->vec[r * g->width + f] - s->mu[f] - feature_sum(g, s, r, f)) *
			sqrt(s->lambda[f]));
}

static void
add_ratings(const Gibbs *g)
{
	add_precision(g->alpha, 1);
	for (int side = 0; side < 2; side++)
		for (int r = 0; r < g->side[side].n; r++)
			add_uniform(exp(-g->side[side].noise[r]));
	for (int r = 0; r < RATINGS; r++)
		add_normal((g->target[r] - score(g, r, true)) *
				   sqrt(rating_precision(g, r)));
}

static void
add_sample(const Gibbs *g, bool wide)
{
	n_numbers = 0;
	for (int side = 0; side < 2; side++)
		for (int f = 0; f < g->full; f++)
		{
			add_vectors(g, &g->side[side], f);
			if (wide)
				add_precisions(g, &g->side[side], f);
		}
	if (!wide)
		add_ratings(g);
	for (int i = 0; i < n_numbers; i++)
	{
		sum[i] += number[i];
		for (int j = 0; j <= i; j++)
			product[i][j] += number[i] * number[j];
	}
}

/* means, variances and covariances in units of their standard errors */
static void
check_sums(int samples)
{
	double n = samples;
	double most = 0;
	double square = 0;
	double count = 0;

	for (int i = 0; i < n_numbers; i++)
		for (int j = 0; j <= i + 1; j++)
		{
			double z = j > i    ? sum[i] / sqrt(n)
					   : j == i ? (product[i][i] / n - 1) * sqrt(n / 2)
								: product[i][j] / sqrt(n);

			most = fmax(most, fabs(z));
			square += z * z;
			count++;
		}
	printf("%d numbers: largest deviation %.2f, mean square %.3f\n", n_numbers,
		   most, square / count);
	CHECK(most < 5.5);
	CHECK(fabs(square / count - 1) < 0.1);
}

static RsStatus
sweep(Gibbs *g, bool wide)
{
	RsStatus st = RS_OK;

	g->sweep++;
	if (!wide)
		st = gibbs_draw_noise(g);
	for (int side = 0; side < 2 && st == RS_OK; side++)
	{
		st = gibbs_draw_side(g, &g->side[side]);
		if (!wide)
			draw_precisions(g, false);
	}
	if (st == RS_OK)
		st = gibbs_context_draw(g);
	if (!wide)
		draw_precisions(g, false);
	return st;
}

static void
test_draws(int dim, int samples, bool wide)
{
	Gibbs *g = &train.g;
	double worst = 0;
	bool good = true;

	start(dim);
	memset(sum, 0, sizeof(sum));
	memset(product, 0, sizeof(product));
	for (int k = 0; k < samples; k++)
	{
		draw_all(g, wide);
		for (int j = 0; j < SWEEPS; j++)
			good = good && sweep(g, wide) == RS_OK;
		add_sample(g, wide);
		for (int r = 0; r < RATINGS && !wide; r++)
			worst = fmax(worst, fabs(g->context->offset[r] +
									 score(g, r, false) - score(g, r, true)) /
									(1 + fabs(g->target[r])));
	}
	check_sums(samples);
	CHECK(good);
	CHECK(worst < 1e-5);
	gibbs_context_free(g->context);
	math_release(g->scratch);
}

int
main(void)
{
	test_draws(2, 5000, true);
	test_draws(2, 15000, false);
	test_draws(MOST_FULL - 1, 1000, false);
	return check_summary();
}
