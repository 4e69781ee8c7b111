/*
 * gibbs_link.c
 *		The noise of the Gaussian model: precision of all, of each user and of
 *		each item.
 *
 * Some users repeat themselves and some do not; the same error of a fit says
 * more about the former. noise[] are factors of the common precision with a
 * gamma prior of mean 1.
 */
#include "model/gibbs.h"

#include <math.h>
#include <string.h>

#include "math/rng.h"
#include "math/vec.h"

enum
{
	STREAM_ALPHA = 5,
	STREAM_NOISE = 7
};

static void
draw_user_noise(Gibbs *g, int32_t u, double ss, double n)
{
	Rng rng;
	double nu = g->noise_shape[0];

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
			double e = g->target[r] - gibbs_rating_score(g, p, ds->item[r], r);

			ss += e * e * g->side[1].noise[ds->item[r]];
		}
		sum[1] += (double) (s->end[u] - s->ptr[u]);
		if (g->own_noise)
			draw_user_noise(g, (int32_t) u, ss,
							(double) (s->end[u] - s->ptr[u]));
		sum[0] += ss * s->noise[u];
	}
}

double
gibbs_item_squares(const Gibbs *g, int64_t i)
{
	const GibbsSide *s = &g->side[1];
	const GibbsSide *o = &g->side[0];
	double ss = 0;

	for (int64_t k = s->ptr[i]; k < s->end[i]; k++)
	{
		int32_t u = s->index[k];
		double e =
			g->target[s->place[k]] -
			gibbs_rating_score(g, o->vec + (size_t) u * (size_t) g->width,
							   (int32_t) i, s->place[k]);

		ss += e * e * o->noise[u];
	}
	return ss;
}

static void
item_noise_chunk(Gibbs *g, int c)
{
	GibbsSide *s = &g->side[1];
	int64_t from;
	int64_t to;

	gibbs_chunk(s->n, c, &from, &to);
	for (int64_t i = from; i < to; i++)
	{
		double ss = gibbs_item_squares(g, i);
		double nu = g->noise_shape[1];
		Rng rng;

		rng_init(&rng, g->seed, gibbs_stream(g, 1, STREAM_NOISE, i));
		s->noise[i] =
			(float) (rng_gamma(&rng,
							   0.5 * (nu + (double) (s->end[i] - s->ptr[i]))) /
					 (0.5 * (nu + g->alpha * ss)));
	}
}

RsStatus
gibbs_all_chunks(Gibbs *g, GibbsChunkWork work)
{
	Team *team = g->run->team;
	int c;

	while ((c = (int) team_take(team, RANK_CHUNKS)) >= 0)
	{
		work(g, c);
		if (team_stopped(team) != RS_OK)
			break;
	}
	return team_barrier(team);
}

static RsStatus
draw_alpha(Gibbs *g)
{
	Team *team = g->run->team;
	double ss = 0;
	double n = 0;
	int c;
	Rng rng;
	RsStatus st;

	if ((st = gibbs_all_chunks(g, residual_chunk)) != RS_OK)
		return st;
	for (c = 0; c < RANK_CHUNKS; c++)
	{
		ss += g->sums[(size_t) c * (size_t) g->sums_width];
		n += g->sums[(size_t) c * (size_t) g->sums_width + 1];
	}
	if (!isfinite(ss))
		return RS_DIVERGED;
	rng_init(&rng, g->seed, gibbs_stream(g, 0, STREAM_ALPHA, 0));
	/* capped: perfect fits must not make the precision overflow */
	g->alpha = fmin(rng_gamma(&rng, 0.5 * (1 + n)) / (0.5 * (1 + ss)), 1e4);
	/* after alpha, whose sum of squares has the items' noise as it was */
	if (g->noise_shape[1] > 0)
		while ((c = (int) team_take(team, RANK_CHUNKS)) >= 0)
			item_noise_chunk(g, c);
	return team_barrier(team);
}

RsStatus
gibbs_draw_noise(Gibbs *g)
{
	return g->ordinal ? gibbs_draw_latent(g) : draw_alpha(g);
}
