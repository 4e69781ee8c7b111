/*
 * gibbs_ordinal.c
 *		The ordinal model's cutpoints, latent values and noise.
 *
 * Level y is seen where score + noise lies in (cut[y], cut[y+1]); the noise
 * is normal with precision noise[user] * noise[item], both out of a fixed
 * set of classes. Given scores and noise, the cutpoints are drawn with the
 * latent values integrated out (Cowles 1996), each by a Metropolis step whose
 * proposal is the normal approximation at the mode; the likelihood is taken
 * from a histogram of the scores of each level and noise class, so its cost
 * does not grow with the data. Then latent values, then noise classes.
 */
#include "model/gibbs.h"

#include <math.h>
#include <string.h>

#include "math/rng.h"

#define BIN_LOW (-12.8f)
#define BIN_STEP 0.1f
#define CELLS (GIBBS_NOISE * GIBBS_BINS)
#define BLOCK 64
#define FAR 30.0f /* cutpoints at infinity, in standard deviations */

enum
{
	STREAM_LATENT = 4,
	STREAM_CUT = 6,
	STREAM_NOISE
};

static double
cdf(double x)
{
	return 0.5 * erfc(-x * M_SQRT1_2);
}

/* Newton's method on the distribution, from Giles' approximation */
static double
cdf_inverse(double p)
{
	double x =
		approx_normal((float) fmin(fmax(2 * p - 1, -0.999999), 0.999999));

	for (int k = 0; k < 3; k++)
		x -= (cdf(x) - p) / (0.3989422804014327 * exp(-0.5 * x * x));
	return x;
}

/* standard normal between a and b where float is too short, from u */
static double
truncated_tail(double a, double b, double u)
{
	double low;
	double high;

	if (a > 0)
		return -truncated_tail(-b, -a, 1 - u);
	if (b < -5)
	{
		/* the tail is all but exponential */
		double width = a > -FAR ? 1 - exp(b * (b - a)) : 1;

		return fmax(b - log(1 - u * width) / b, a);
	}
	low = cdf(a);
	high = cdf(b);
	if (high - low < 1e-14)
		return 0.5 * (fmax(a, b - 1) + b);
	return fmin(fmax(cdf_inverse(low + u * (high - low)), a), b);
}

/* ---- scores and their histogram ---- */

static int32_t *
histogram_of(const Gibbs *g, int member)
{
	return g->histogram + (size_t) member * (size_t) g->n_levels * CELLS;
}

static float
root_of(int class)
{
	return powf((float) GIBBS_NOISE_STEP,
				(float) (class - (GIBBS_NOISE - 1) / 2));
}

/* target holds the scores afterwards */
static void
score_chunk(Gibbs *g, int c)
{
	const Dataset *ds = g->run->ds;
	const GibbsSide *s = &g->side[0];
	int32_t *hist = histogram_of(g, g->run->team->rank);
	int64_t from;
	int64_t to;

	gibbs_chunk(s->n, c, &from, &to);
	for (int64_t u = from; u < to; u++)
	{
		const float *p = s->vec + (size_t) u * (size_t) g->width;

		for (int64_t r = s->ptr[u]; r < s->end[u]; r++)
		{
			float x = (float) gibbs_rating_score(g, p, ds->item[r], r);
			float b = (x - BIN_LOW) * (1 / BIN_STEP);
			int bin = b > 0 ? (b < GIBBS_BINS - 1 ? (int) b : GIBBS_BINS - 1)
							: 0; /* NaN too */
			int noise = s->noise_class[u] + g->side[1].noise_class[ds->item[r]];

			g->target[r] = x;
			hist[(int) g->rating[r] * CELLS + noise * GIBBS_BINS + bin]++;
		}
	}
}

/* summed into the first member's, each member some cells */
static void
sum_histograms(Gibbs *g)
{
	int64_t from;
	int64_t to;

	team_range(g->run->team, (int64_t) g->n_levels * CELLS, &from, &to);
	for (int m = 1; m < g->run->team->size; m++)
		for (int64_t k = from; k < to; k++)
			g->histogram[k] += histogram_of(g, m)[k];
}

/* ---- cutpoints ---- */

/* the cells that a cutpoint's likelihood depends on */
typedef struct Cells
{
	int n;
	float x[2 * CELLS];
	float root[2 * CELLS];
	float count[2 * CELLS];
	float sign[2 * CELLS];  /* 1: the cutpoint is the upper end, -1: lower */
	float other[2 * CELLS]; /* distribution at the other end */
} Cells;

static void
gather_cells(const Gibbs *g, int j, Cells *cells)
{
	int n = 0;

	for (int side = 0; side < 2; side++)
	{
		const int32_t *hist = g->histogram + (size_t) (j - 1 + side) * CELLS;
		double end = side == 0 ? g->cut[j - 1] : g->cut[j + 1];

		for (int k = 0; k < CELLS; k++)
		{
			float root;
			float x;

			if (hist[k] == 0)
				continue;
			root = root_of(k / GIBBS_BINS);
			x = BIN_LOW + ((float) (k % GIBBS_BINS) + 0.5f) * BIN_STEP;
			cells->x[n] = x;
			cells->root[n] = root;
			cells->count[n] = (float) hist[k];
			cells->sign[n] = side == 0 ? 1 : -1;
			cells->other[n] = isinf(end) ? (float) side
										 : approx_cdf(root * ((float) end - x));
			n++;
		}
	}
	cells->n = n;
}

/* log likelihood of the cutpoint at c, and its first two derivatives */
CLONES static double
cut_likelihood(const Cells *cells, float c, double *d1, double *d2)
{
	float sum = 0;
	float first = 0;
	float second = 0;

#pragma GCC ivdep
	for (int k = 0; k < cells->n; k++)
	{
		float root = cells->root[k];
		float sign = cells->sign[k];
		float t = root * (c - cells->x[k]);
		float p = sign * (approx_cdf(t) - cells->other[k]);
		float h;

		p = p > 1e-6f ? p : 1e-6f;
		h = sign * root * approx_density(t) / p;
		sum += cells->count[k] * approx_log(p);
		first += cells->count[k] * h;
		second -= cells->count[k] * h * (h + root * t);
	}
	*d1 = first;
	*d2 = second;
	return sum;
}

static void
draw_cut(Gibbs *g, const Cells *cells, int j, Rng *rng)
{
	double low = g->cut[j - 1];
	double high = g->cut[j + 1];
	double old = g->cut[j];
	double mode = old;
	double d1;
	double d2 = -1;
	double sd;
	double now;
	double new;
	double proposal;

	for (int k = 0; k < 6; k++)
	{
		double step;

		cut_likelihood(cells, (float) mode, &d1, &d2);
		step = d2 < -1e-6 ? -d1 / d2 : 0;
		step = fmin(fmax(step, -0.5), 0.5);
		if (mode + step <= low)
			step = 0.5 * (low - mode);
		if (mode + step >= high)
			step = 0.5 * (high - mode);
		mode += step;
		if (fabs(step) < 1e-3)
			break;
	}
	/* 1.2: heavier than the target, as a proposal should be */
	sd = 1.2 / sqrt(fmax(-d2, 1e-2));
	proposal = mode + sd * rng_normal(rng);
	if (!(proposal > low + 1e-4 && proposal < high - 1e-4) ||
		fabs(proposal) > 12)
		return;
	now = cut_likelihood(cells, (float) old, &d1, &d2);
	new = cut_likelihood(cells, (float) proposal, &d1, &d2);
	now -= 0.5 * ((proposal - mode) / sd) * ((proposal - mode) / sd);
	new -= 0.5 * ((old - mode) / sd) * ((old - mode) / sd);
	if (log(1 - rng_uniform(rng)) < new - now)
		g->cut[j] = proposal;
}

/* every member for itself, from the same sums */
static void
draw_cuts(Gibbs *g)
{
	Cells *cells = (Cells *) g->scratch;
	Rng rng;

	rng_init(&rng, g->seed, gibbs_stream(g, 0, STREAM_CUT, 0));
	for (int j = 1; j < g->n_levels; j++)
	{
		gather_cells(g, j, cells);
		draw_cut(g, cells, j, &rng);
	}
}

double
gibbs_ordinal_loss(const Gibbs *g)
{
	double sum = 0;
	double total = 0;

	for (int y = 0; y < g->n_levels; y++)
		for (int k = 0; k < CELLS; k++)
		{
			double count = g->histogram[(size_t) y * CELLS + (size_t) k];
			double root;
			double x;

			if (count == 0)
				continue;
			root = root_of(k / GIBBS_BINS);
			x = BIN_LOW + (k % GIBBS_BINS + 0.5) * BIN_STEP;
			total += count;
			sum -= count * log(fmax(cdf(root * (g->cut[y + 1] - x)) -
										cdf(root * (g->cut[y] - x)),
									1e-12));
		}
	return total > 0 ? sum / total : 0;
}

size_t
gibbs_ordinal_scratch(void)
{
	return sizeof(Cells);
}

/* cutpoints that give each level its share when all scores are 0 */
void
gibbs_init_cuts(Gibbs *g, const int64_t *count)
{
	double total = 0;
	double sum = 0;

	for (int y = 0; y < g->n_levels; y++)
		total += (double) count[y];
	g->cut[0] = -INFINITY;
	g->cut[g->n_levels] = INFINITY;
	for (int y = 0; y + 1 < g->n_levels; y++)
	{
		sum += (double) count[y];
		g->cut[y + 1] = cdf_inverse(sum / total);
	}
}

/* ---- latent values and noise ---- */

/* z (n) = score + truncated noise; root, low, high, u (n) */
CLONES static void
draw_block(int n, const float *restrict root, const float *restrict low,
		   const float *restrict high, const float *restrict u,
		   const float *restrict score, float *restrict noise,
		   float *restrict share)
{
	for (int k = 0; k < n; k++)
	{
		float a = root[k] * (low[k] - score[k]);
		float b = root[k] * (high[k] - score[k]);
		float fa = approx_cdf(a);
		float fb = approx_cdf(b);
		float p = fa + u[k] * (fb - fa);
		float x = 2 * p - 1;

		x = x < -0.9999999f ? -0.9999999f : x;
		x = x > 0.9999999f ? 0.9999999f : x;
		x = approx_normal(x);
		x = x < a ? a : x;
		x = x > b ? b : x;
		/* a narrow or far interval is for truncated_tail */
		share[k] = fb - fa;
		noise[k] = x;
	}
}

/* returns the sum of squared noise, weighted by the items' precision */
static double
latent_rows(Gibbs *g, int64_t u, int64_t from, int n)
{
	const GibbsSide *s = &g->side[0];
	const int32_t *item = g->run->ds->item + from;
	float root[BLOCK];
	float low[BLOCK];
	float high[BLOCK];
	float uniform[BLOCK];
	float noise[BLOCK];
	float share[BLOCK];
	float *z = g->target + from;
	double ss = 0;

	for (int k = 0; k < n; k++)
	{
		int y = (int) g->rating[from + k];

		root[k] = sqrtf(s->noise[u] * g->side[1].noise[item[k]]);
		low[k] = y > 0 ? (float) g->cut[y] : -1e4f;
		high[k] = y + 1 < g->n_levels ? (float) g->cut[y + 1] : 1e4f;
	}
	uniforms_fill(g->seed, gibbs_stream(g, 0, STREAM_LATENT, from), uniform, n);
	draw_block(n, root, low, high, uniform, z, noise, share);
	for (int k = 0; k < n; k++)
	{
		double e;

		if (!(share[k] > 1e-3f))
			noise[k] = (float) truncated_tail(
				fmax(root[k] * (low[k] - z[k]), -FAR),
				fmin(root[k] * (high[k] - z[k]), FAR), uniform[k]);
		e = noise[k] / root[k];
		z[k] += (float) e;
		ss += e * e * g->side[1].noise[item[k]];
	}
	return ss;
}

/* a class of noise precision for row r of side s */
static void
draw_class(Gibbs *g, GibbsSide *s, int64_t r, double ss)
{
	int n = s->number == 0 ? GIBBS_USER_NOISE : GIBBS_ITEM_NOISE;
	double shape = g->noise_shape[s->number];
	double count = (double) (s->end[r] - s->ptr[r]);
	double log_p[GIBBS_USER_NOISE];
	double most = -INFINITY;
	double total = 0;
	float u;
	int class = 0;

	for (int k = 0; k < n; k++)
	{
		double log_w = 2 * (k - n / 2) * log(GIBBS_NOISE_STEP);

		log_p[k] =
			0.5 * (count + shape) * log_w - 0.5 * (ss + shape) * exp(log_w);
		most = fmax(most, log_p[k]);
	}
	for (int k = 0; k < n; k++)
		total += log_p[k] = exp(log_p[k] - most);
	uniforms_fill(g->seed, gibbs_stream(g, s->number, STREAM_NOISE, r), &u, 1);
	total *= u;
	while (class < n - 1 && total > log_p[class])
		total -= log_p[class ++];
	s->noise_class[r] = (uint8_t) class;
	s->noise[r] = (float) pow(GIBBS_NOISE_STEP, 2 * (class - n / 2));
}

static void
latent_chunk(Gibbs *g, int c)
{
	GibbsSide *s = &g->side[0];
	int64_t from;
	int64_t to;

	gibbs_chunk(s->n, c, &from, &to);
	for (int64_t u = from; u < to; u++)
	{
		double ss = 0;

		for (int64_t r = s->ptr[u]; r < s->end[u]; r += BLOCK)
			ss += latent_rows(
				g, u, r, s->end[u] - r < BLOCK ? (int) (s->end[u] - r) : BLOCK);
		if (g->own_noise)
			draw_class(g, s, u, ss);
	}
}

static void
item_chunk(Gibbs *g, int c)
{
	GibbsSide *s = &g->side[1];
	int64_t from;
	int64_t to;

	gibbs_chunk(s->n, c, &from, &to);
	for (int64_t i = from; i < to; i++)
		draw_class(g, s, i, gibbs_item_squares(g, i));
}

RsStatus
gibbs_draw_latent(Gibbs *g)
{
	RsStatus st;

	memset(histogram_of(g, g->run->team->rank), 0,
		   sizeof(int32_t) * (size_t) g->n_levels * CELLS);
	if ((st = gibbs_all_chunks(g, score_chunk)) != RS_OK)
		return st;
	sum_histograms(g);
	if ((st = team_barrier(g->run->team)) != RS_OK)
		return st;
	draw_cuts(g);
	if ((st = gibbs_all_chunks(g, latent_chunk)) != RS_OK || !g->own_noise)
		return st;
	return gibbs_all_chunks(g, item_chunk);
}
