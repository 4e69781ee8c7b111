/*
 * gibbs_link.c
 *		Between scores and ratings: the noise precision, or the cutpoints and
 *		latent values of the ordinal model.
 *
 * Ordinal: level y is seen where score + N(0, 1) lies in (cut[y], cut[y+1]).
 * The cutpoints are drawn with the latent values integrated out (Cowles
 * 1996), each by a Metropolis step whose proposal is the normal approximation
 * at the mode; the likelihood is taken from a histogram of the scores of each
 * level, so its cost does not grow with the data. Bins of 0.05 against noise
 * of 1 are as good as exact.
 */
#include "model/gibbs.h"

#include <math.h>
#include <string.h>

#include "math/rng.h"
#include "math/vec.h"

#define BIN_LOW (-12.8)
#define BIN_STEP 0.05

enum
{
	STREAM_LATENT = 4,
	STREAM_ALPHA,
	STREAM_CUT,
	STREAM_NOISE
};

static double
phi(double x)
{
	return 0.3989422804014327 * exp(-0.5 * x * x);
}

static double
cdf(double x)
{
	return 0.5 * erfc(-x * M_SQRT1_2);
}

/* Acklam's rational approximation, 1e-9 relative */
static double
cdf_inverse(double p)
{
	double q;
	double r;

	if (p < 0.02425)
	{
		q = sqrt(-2 * log(p > 1e-300 ? p : 1e-300));
		return (((((-7.784894002430293e-03 * q - 3.223964580411365e-01) * q -
				   2.400758277161838e+00) *
					  q -
				  2.549732539343734e+00) *
					 q +
				 4.374664141464968e+00) *
					q +
				2.938163982698783e+00) /
			   ((((7.784695709041462e-03 * q + 3.224671290700398e-01) * q +
				  2.445134137142996e+00) *
					 q +
				 3.754408661907416e+00) *
					q +
				1);
	}
	if (p > 1 - 0.02425)
		return -cdf_inverse(1 - p);
	q = p - 0.5;
	r = q * q;
	return (((((-3.969683028665376e+01 * r + 2.209460984245205e+02) * r -
			   2.759285104469687e+02) *
				  r +
			  1.383577518672690e+02) *
				 r -
			 3.066479806614716e+01) *
				r +
			2.506628277459239e+00) *
		   q /
		   (((((-5.447609879822406e+01 * r + 1.615858368580409e+02) * r -
			   1.556989798598866e+02) *
				  r +
			  6.680131188771972e+01) *
				 r -
			 1.328068155288572e+01) *
				r +
			1);
}

/* standard normal between a and b, from a uniform u */
static double
truncated_normal(double a, double b, double u)
{
	double low;
	double high;

	if (a > 0)
		return -truncated_normal(-b, -a, 1 - u);
	if (b < -6)
	{
		/* the tail is all but exponential */
		double width = a > -1e30 ? 1 - exp(b * (b - a)) : 1;

		return b - log(1 - u * width) / b;
	}
	low = cdf(a);
	high = cdf(b);
	return fmin(fmax(cdf_inverse(low + u * (high - low)), a), b);
}

static inline double
score_of(const Gibbs *g, const float *user, int32_t item)
{
	const GibbsSide *q = &g->side[1];

	return vec_dot(user, q->design + (size_t) item * (size_t) g->width,
				   g->width) +
		   (double) q->bias[item];
}

/* ---- Gaussian ---- */

static void
draw_user_noise(Gibbs *g, int32_t u, double ss, double n)
{
	Rng rng;
	double nu = g->noise_nu;

	rng_init(&rng, g->seed, gibbs_stream(g, 0, STREAM_NOISE, u));
	g->side[0].noise[u] = (float) (rng_gamma(&rng, 0.5 * (nu + n)) /
								   (0.5 * (nu + g->alpha * ss)));
}

/* sum of weighted squared residuals and count, chunk c of users */
static void
residual_chunk(Gibbs *g, int c)
{
	const Dataset *ds = g->run->ds;
	GibbsSide *s = &g->side[0];
	double *sum = g->sums + (size_t) c * (size_t) g->sums_width;
	int64_t from;
	int64_t to;

	sum[0] = sum[1] = 0;
	gibbs_chunk(s->n, c, &from, &to);
	for (int64_t u = from; u < to; u++)
	{
		double ss = 0;
		const float *p = s->vec + (size_t) u * (size_t) g->width;

		for (int64_t r = s->ptr[u]; r < s->end[u]; r++)
		{
			double e = g->target[r] - score_of(g, p, ds->item[r]);

			ss += e * e * g->side[1].noise[ds->item[r]];
		}
		sum[1] += (double) (s->end[u] - s->ptr[u]);
		if (g->own_noise)
			draw_user_noise(g, (int32_t) u, ss,
							(double) (s->end[u] - s->ptr[u]));
		sum[0] += ss * s->noise[u];
	}
}

static void
item_noise_chunk(Gibbs *g, int c)
{
	GibbsSide *s = &g->side[1];
	const GibbsSide *o = &g->side[0];
	int64_t from;
	int64_t to;

	gibbs_chunk(s->n, c, &from, &to);
	for (int64_t i = from; i < to; i++)
	{
		double ss = 0;
		Rng rng;
		double nu = g->noise_nu2;

		for (int64_t r = s->ptr[i]; r < s->end[i]; r++)
		{
			int32_t u = s->index[r];
			double e = g->target[s->place[r]] -
					   score_of(g, o->vec + (size_t) u * (size_t) g->width,
								(int32_t) i);

			ss += e * e * o->noise[u];
		}
		rng_init(&rng, g->seed, gibbs_stream(g, 1, STREAM_NOISE, i));
		s->noise[i] =
			(float) (rng_gamma(&rng,
							   0.5 * (nu + (double) (s->end[i] - s->ptr[i]))) /
					 (0.5 * (nu + g->alpha * ss)));
	}
}

static RsStatus
draw_alpha(Gibbs *g)
{
	Team *team = g->run->team;
	double ss = 0;
	double n = 0;
	Rng rng;
	RsStatus st;

	for (int c = team->rank; c < RANK_CHUNKS; c += team->size)
	{
		residual_chunk(g, c);
		if (team_stopped(team) != RS_OK)
			break;
	}
	if ((st = team_barrier(team)) != RS_OK)
		return st;
	if (g->noise_nu2 > 0)
		for (int c = team->rank; c < RANK_CHUNKS; c += team->size)
			item_noise_chunk(g, c);
	for (int c = 0; c < RANK_CHUNKS; c++)
	{
		ss += g->sums[(size_t) c * (size_t) g->sums_width];
		n += g->sums[(size_t) c * (size_t) g->sums_width + 1];
	}
	if (!isfinite(ss))
		return RS_DIVERGED;
	rng_init(&rng, g->seed, gibbs_stream(g, 0, STREAM_ALPHA, 0));
	/* capped: perfect fits must not make the precision overflow */
	g->alpha = fmin(rng_gamma(&rng, 0.5 * (1 + n)) / (0.5 * (1 + ss)), 1e4);
	return team_barrier(team);
}

/* ---- ordinal ---- */

static int32_t *
histogram_of(const Gibbs *g, int c)
{
	return g->histogram + (size_t) c * (size_t) (g->n_levels * GIBBS_BINS);
}

/* target holds the scores afterwards */
static void
score_chunk(Gibbs *g, int c)
{
	const Dataset *ds = g->run->ds;
	const GibbsSide *s = &g->side[0];
	int32_t *hist = histogram_of(g, c);
	int64_t from;
	int64_t to;

	memset(hist, 0, sizeof(int32_t) * (size_t) (g->n_levels * GIBBS_BINS));
	gibbs_chunk(s->n, c, &from, &to);
	for (int64_t u = from; u < to; u++)
	{
		const float *p = s->vec + (size_t) u * (size_t) g->width;

		for (int64_t r = s->ptr[u]; r < s->end[u]; r++)
		{
			double x = score_of(g, p, ds->item[r]);
			double b = (x - BIN_LOW) / BIN_STEP;
			int bin = b > 0 ? (b < GIBBS_BINS - 1 ? (int) b : GIBBS_BINS - 1)
							: 0; /* NaN too */

			g->target[r] = (float) x;
			hist[(int) g->rating[r] * GIBBS_BINS + bin]++;
		}
	}
}

/* log likelihood of cut j at c, and its first two derivatives */
static double
cut_likelihood(const Gibbs *g, const int32_t *hist, int j, double c, double *d1,
			   double *d2)
{
	const int32_t *below = hist + (size_t) (j - 1) * GIBBS_BINS;
	const int32_t *above = hist + (size_t) j * GIBBS_BINS;
	double sum = 0;

	*d1 = *d2 = 0;
	for (int b = 0; b < GIBBS_BINS; b++)
	{
		double x = BIN_LOW + (b + 0.5) * BIN_STEP;
		double at;
		double f;

		if (below[b] == 0 && above[b] == 0)
			continue;
		at = cdf(c - x);
		f = phi(c - x);
		if (below[b] > 0)
		{
			double p = fmax(at - cdf(g->cut[j - 1] - x), 1e-12);
			double h = f / p;

			sum += below[b] * log(p);
			*d1 += below[b] * h;
			*d2 -= below[b] * h * (h + (c - x));
		}
		if (above[b] > 0)
		{
			double p = fmax(cdf(g->cut[j + 1] - x) - at, 1e-12);
			double h = f / p;

			sum += above[b] * log(p);
			*d1 -= above[b] * h;
			*d2 -= above[b] * h * (h - (c - x));
		}
	}
	return sum;
}

static void
draw_cut(Gibbs *g, const int32_t *hist, int j, Rng *rng)
{
	double low = g->cut[j - 1];
	double high = g->cut[j + 1];
	double mode = g->cut[j];
	double d1;
	double d2;
	double sd;
	double now;
	double new;
	double old = g->cut[j];
	double proposal;

	for (int k = 0; k < 4; k++)
	{
		double step;

		cut_likelihood(g, hist, j, mode, &d1, &d2);
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
	if (!(proposal > low + 1e-4 && proposal < high - 1e-4))
		return;
	now = cut_likelihood(g, hist, j, old, &d1, &d2);
	new = cut_likelihood(g, hist, j, proposal, &d1, &d2);
	now -= 0.5 * ((proposal - mode) / sd) * ((proposal - mode) / sd);
	new -= 0.5 * ((old - mode) / sd) * ((old - mode) / sd);
	if (log(1 - rng_uniform(rng)) < new - now)
		g->cut[j] = proposal;
}

/* every member for itself, from the same sums */
static void
draw_cuts(Gibbs *g)
{
	int32_t *total = histogram_of(g, 0);
	Rng rng;

	rng_init(&rng, g->seed, gibbs_stream(g, 0, STREAM_CUT, 0));
	for (int j = 1; j < g->n_levels; j++)
		draw_cut(g, total, j, &rng);
}

/* histograms summed into chunk 0's, each member some bins */
static void
sum_histograms(Gibbs *g)
{
	int64_t from;
	int64_t to;

	team_range(g->run->team, g->n_levels * GIBBS_BINS, &from, &to);
	for (int c = 1; c < RANK_CHUNKS; c++)
		for (int64_t k = from; k < to; k++)
			g->histogram[k] += histogram_of(g, c)[k];
}

static void
latent_chunk(Gibbs *g, int c)
{
	const GibbsSide *s = &g->side[0];
	int64_t from;
	int64_t to;

	gibbs_chunk(s->n, c, &from, &to);
	for (int64_t u = from; u < to; u++)
	{
		Rng rng;

		rng_init(&rng, g->seed, gibbs_stream(g, 0, STREAM_LATENT, u));
		for (int64_t r = s->ptr[u]; r < s->end[u]; r++)
		{
			int y = (int) g->rating[r];
			double x = g->target[r];

			g->target[r] =
				(float) (x + truncated_normal(g->cut[y] - x, g->cut[y + 1] - x,
											  rng_uniform(&rng)));
		}
	}
}

static RsStatus
draw_latent(Gibbs *g)
{
	Team *team = g->run->team;
	RsStatus st;

	for (int c = team->rank; c < RANK_CHUNKS; c += team->size)
	{
		score_chunk(g, c);
		if (team_stopped(team) != RS_OK)
			break;
	}
	if ((st = team_barrier(team)) != RS_OK)
		return st;
	sum_histograms(g);
	if ((st = team_barrier(team)) != RS_OK)
		return st;
	draw_cuts(g);
	for (int c = team->rank; c < RANK_CHUNKS; c += team->size)
	{
		latent_chunk(g, c);
		if (team_stopped(team) != RS_OK)
			break;
	}
	return team_barrier(team);
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

RsStatus
gibbs_draw_noise(Gibbs *g)
{
	return g->ordinal ? draw_latent(g) : draw_alpha(g);
}
