/*
 * gibbs_side.c
 *		One side of a sweep: all users given all items, or the other way.
 */
#include "model/gibbs.h"

#include <math.h>
#include <string.h>

#include "math/rng.h"
#include "model/gibbs_context.h"

/* numbers of streams within a sweep and side */
enum
{
	STREAM_VECTOR,
	STREAM_PERTURB,
	STREAM_HYPER
};

typedef struct Scratch
{
	float *square;   /* (width, width) */
	float *vector;   /* (width) */
	float *normal;   /* (LANES, width) */
	Lanes *triangle; /* (triangle) three times */
	Lanes *triangle2;
	Lanes *triangle3;
	Lanes *x; /* (width) */
	Lanes *y;
} Scratch;

size_t
gibbs_scratch_size(const Gibbs *g)
{
	size_t w = (size_t) g->width;
	size_t size = sizeof(float) * (w * w + w + LANES * w) +
				  sizeof(Lanes) * (3 * lanes_triangle(g->width) + 2 * w) + 1024;

	if (g->ordinal && size < gibbs_ordinal_scratch())
		size = gibbs_ordinal_scratch();
	return size;
}

static void *
take(char **at, size_t bytes)
{
	char *p = *at;

	*at += (bytes + 63) & ~(size_t) 63;
	return p;
}

static Scratch
scratch_of(const Gibbs *g)
{
	size_t w = (size_t) g->width;
	size_t tri = lanes_triangle(g->width) * sizeof(Lanes);
	char *at = g->scratch;
	Scratch s;

	s.triangle = take(&at, tri);
	s.triangle2 = take(&at, tri);
	s.triangle3 = take(&at, tri);
	s.x = take(&at, w * sizeof(Lanes));
	s.y = take(&at, w * sizeof(Lanes));
	s.square = take(&at, w * w * sizeof(float));
	s.vector = take(&at, w * sizeof(float));
	s.normal = take(&at, LANES * w * sizeof(float));
	return s;
}

uint64_t
gibbs_stream(const Gibbs *g, int side, int what, int64_t row)
{
	return (((uint64_t) g->sweep * 2 + (uint64_t) side) * 8 + (uint64_t) what)
			   << 36 ^
		   (uint64_t) row;
}

/* ---- A and g of a row ---- */

typedef struct Seen
{
	const GibbsSide *side;
	const GibbsSide *other;
	const float *target;
	int full;
} Seen;

/* square (full, w) += sum z z^T, vector (w) += sum z t; w is constant */
static inline __attribute__((always_inline)) void
accumulate_width(const Seen *x, int64_t from, int64_t to, int w,
				 float *restrict square, float *restrict vector)
{
	static const int32_t none = 0;
	const GibbsSide *o = x->other;

	for (int64_t k = from; k < to; k += 4)
	{
		const float *z[4];
		float t[4];
		float p[4];

		for (int j = 0; j < 4; j++)
		{
			bool in = k + j < to;
			int32_t id = in ? x->side->index[k + j] : none;
			int64_t at = in ? k + j : k;

			if (x->side->place != NULL)
				at = x->side->place[at];
			z[j] = o->design + (size_t) id * (size_t) w;
			p[j] = in ? o->noise[id] : 0;
			t[j] = p[j] * (x->target[at] - o->bias[id]);
		}
		for (int c = 0; c < w; c++)
			vector[c] += t[0] * z[0][c] + t[1] * z[1][c] + t[2] * z[2][c] +
						 t[3] * z[3][c];
		for (int f = 0; f < x->full; f++)
		{
			float a = p[0] * z[0][f];
			float b = p[1] * z[1][f];
			float c = p[2] * z[2][f];
			float d = p[3] * z[3][f];
			float *restrict row = square + (size_t) f * (size_t) w;

			for (int e = 0; e < w; e++)
				row[e] += a * z[0][e] + b * z[1][e] + c * z[2][e] + d * z[3][e];
		}
	}
}

CLONES static void
accumulate(const Seen *x, int64_t from, int64_t to, int w, float *square,
		   float *vector)
{
	switch (w)
	{
		case 8:
			accumulate_width(x, from, to, 8, square, vector);
			break;
		case 16:
			accumulate_width(x, from, to, 16, square, vector);
			break;
		case 32:
			accumulate_width(x, from, to, 32, square, vector);
			break;
		case 48:
			accumulate_width(x, from, to, 48, square, vector);
			break;
		default:
			accumulate_width(x, from, to, w, square, vector);
			break;
	}
}

/* lower = A and linear = g of a group of rows, times the noise precision */
static void
see_group(const Gibbs *g, GibbsSide *s, int32_t group, const Scratch *w)
{
	Seen x = {s, &g->side[1 - s->number], g->target, g->full};
	Lanes *lower = s->lower + (size_t) group * lanes_triangle(g->full);
	Lanes *linear = s->linear + (size_t) group * (size_t) g->full;

	for (int l = 0; l < LANES; l++)
	{
		int32_t r = group * LANES + l;
		float a = 0;

		memset(w->square, 0,
			   sizeof(float) * (size_t) g->full * (size_t) g->width);
		memset(w->vector, 0, sizeof(float) * (size_t) g->width);
		if (r < s->n)
		{
			a = (float) g->alpha * s->noise[r];
			if (g->context != NULL)
				gibbs_context_see(g, s, r, w->square, w->vector);
			else
				accumulate(&x, s->ptr[r], s->end[r], g->width, w->square,
						   w->vector);
		}
		for (int i = 0; i < g->full; i++)
		{
			for (int j = 0; j <= i; j++)
				lower[lanes_at(i, j)].of[l] =
					a * w->square[(size_t) i * (size_t) g->width + (size_t) j];
			linear[i].of[l] = a * w->vector[i];
		}
	}
}

/* normals (rows of the group), one stream a row, into lanes */
static void
group_normals(const Gibbs *g, const GibbsSide *s, int32_t group, int what,
			  const Scratch *w, Lanes *out)
{
	for (int l = 0; l < LANES; l++)
		normals_fill(
			g->seed,
			gibbs_stream(g, s->number, what, (int64_t) group * LANES + l),
			w->normal + (size_t) l * (size_t) g->width, g->full);
	for (int f = 0; f < g->full; f++)
		for (int l = 0; l < LANES; l++)
			out[f].of[l] =
				w->normal[(size_t) l * (size_t) g->width + (size_t) f];
}

/* H and the linear term h - H mu + noise, v integrated out */
static void
integrate_group(const Gibbs *g, GibbsSide *s, int32_t group, const Scratch *w)
{
	int d = g->full;
	const Lanes *lower = s->lower + (size_t) group * lanes_triangle(d);
	const Lanes *linear = s->linear + (size_t) group * (size_t) d;
	Lanes *h = s->hessian + (size_t) group * lanes_triangle(d);
	Lanes *row = w->x;

	/* H = L - L C L, C = (L + A)^-1 */
	gibbs_ops.inverse(d, lower, h, w->triangle);
	for (int i = 0; i < d; i++)
		for (int j = 0; j <= i; j++)
			for (int l = 0; l < LANES; l++)
				h[lanes_at(i, j)].of[l] *= -s->lambda[i] * s->lambda[j];
	/* h = L C g, from -L C L before L is added */
	for (int i = 0; i < d; i++)
		for (int l = 0; l < LANES; l++)
			w->y[i].of[l] = linear[i].of[l] * (-1 / s->lambda[i]);
	gibbs_ops.symmetric_times(d, h, w->y, row);
	for (int i = 0; i < d; i++)
		for (int l = 0; l < LANES; l++)
		{
			h[lanes_at(i, i)].of[l] += s->lambda[i];
			w->y[i].of[l] = -s->mu[i];
		}
	gibbs_ops.symmetric_times(d, h, w->y, w->triangle2);
	for (int i = 0; i < d; i++)
		for (int l = 0; l < LANES; l++)
			row[i].of[l] += w->triangle2[i].of[l];
	memcpy(w->triangle, h, lanes_triangle(d) * sizeof(Lanes));
	gibbs_ops.cholesky(d, w->triangle);
	group_normals(g, s, group, STREAM_PERTURB, w, w->y);
	gibbs_ops.add_lower_times(d, w->triangle, w->y, row);
	for (int l = 0; l < LANES && group * LANES + l < s->n; l++)
	{
		float *to = s->row_work +
					((size_t) group * LANES + (size_t) l) * (size_t) g->width;

		for (int f = 0; f < d; f++)
			to[f] = row[f].of[l];
		for (int f = d; f < g->width; f++)
			to[f] = 0;
	}
}

/* first part: what the ratings say about each row */
static void
see_rows(Gibbs *g, GibbsSide *s)
{
	Scratch w = scratch_of(g);
	int d = g->full;
	int32_t k;
	int done = 0;

	while ((k = (int32_t) team_take(g->run->team, s->n_groups)) >= 0)
	{
		Lanes *lower = s->lower + (size_t) k * lanes_triangle(d);

		see_group(g, s, k, &w);
		for (int i = 0; i < d; i++)
			for (int l = 0; l < LANES; l++)
				lower[lanes_at(i, i)].of[l] += s->lambda[i];
		gibbs_ops.cholesky(d, lower);
		if (s->n_cols > 0)
			integrate_group(g, s, k, &w);
		if (++done % 8 == 0 && team_stopped(g->run->team) != RS_OK)
			break;
	}
}

/* last part: P = v + X beta given beta */
static void
draw_group(Gibbs *g, GibbsSide *s, int32_t k, const Scratch *w)
{
	int d = g->full;
	const Lanes *lower = s->lower + (size_t) k * lanes_triangle(d);
	Lanes *b = s->linear + (size_t) k * (size_t) d;

	for (int l = 0; l < LANES; l++)
	{
		int32_t r = k * LANES + l;
		const float *fit = s->n_cols > 0 && r < s->n
							   ? s->fit + (size_t) r * (size_t) g->width
							   : NULL;

		for (int f = 0; f < d; f++)
			b[f].of[l] +=
				s->lambda[f] * (s->mu[f] + (fit != NULL ? fit[f] : 0));
	}
	gibbs_ops.solve_lower(d, lower, b);
	group_normals(g, s, k, STREAM_VECTOR, w, w->y);
	for (int f = 0; f < d; f++)
		for (int l = 0; l < LANES; l++)
			b[f].of[l] += w->y[f].of[l];
	gibbs_ops.solve_upper(d, lower, b);
	for (int l = 0; l < LANES && k * LANES + l < s->n; l++)
	{
		size_t at = ((size_t) k * LANES + (size_t) l) * (size_t) g->width;

		for (int f = 0; f < d; f++)
			s->vec[at + (size_t) f] = b[f].of[l];
		memcpy(s->design + at, s->vec + at, sizeof(float) * (size_t) g->width);
		s->design[at + (size_t) g->dim] = 1;
		s->bias[k * LANES + l] = b[g->dim].of[l];
	}
}

static void
draw_rows(Gibbs *g, GibbsSide *s)
{
	Scratch w = scratch_of(g);
	int32_t k;
	int done = 0;

	while ((k = (int32_t) team_take(g->run->team, s->n_groups)) >= 0)
	{
		draw_group(g, s, k, &w);
		if (++done % 64 == 0 && team_stopped(g->run->team) != RS_OK)
			break;
	}
}

/* ---- hyperparameters ---- */

/* sums of x and x^2 over rows of (P - X beta): 2 full doubles */
static void
sum_rows(const Gibbs *g, const GibbsSide *s, int c, double *sum)
{
	int64_t from;
	int64_t to;

	gibbs_chunk(s->n, c, &from, &to);
	for (int64_t r = from; r < to; r++)
	{
		const float *p = s->vec + (size_t) r * (size_t) g->width;
		const float *fit =
			s->n_cols > 0 ? s->fit + (size_t) r * (size_t) g->width : NULL;

		for (int f = 0; f < g->full; f++)
		{
			double x = p[f] - (fit != NULL ? fit[f] : 0);

			sum[2 * f] += x;
			sum[2 * f + 1] += x * x;
		}
	}
}

int
gibbs_set_of(const GibbsSide *s, int32_t col, int hint)
{
	while (hint + 1 < s->n_sets && col >= s->set_start[hint + 1])
		hint++;
	return hint;
}

/* sums of beta^2 for each set of columns: n_sets full doubles */
static void
sum_columns(const Gibbs *g, const GibbsSide *s, int c, double *sum)
{
	int64_t from;
	int64_t to;
	int set = 0;

	gibbs_chunk(s->n_cols, c, &from, &to);
	for (int64_t k = from; k < to; k++)
	{
		const float *b = s->beta + (size_t) k * (size_t) g->width;

		set = gibbs_set_of(s, (int32_t) k, set);
		for (int f = 0; f < g->full; f++)
			sum[set * g->full + f] += (double) b[f] * b[f];
	}
}

/* lambda and mu at once: lambda with mu integrated out, then mu given it */
static void
draw_row_hyper(const Gibbs *g, GibbsSide *s, const double *sum, Rng *rng)
{
	double n = s->n;

	for (int f = 0; f < g->full; f++)
	{
		bool free = f < g->dim || (g->free_mean && s->number == 0);
		double mean = free ? sum[2 * f] / (n + 1) : 0;
		double ss = fmax(sum[2 * f + 1] - mean * sum[2 * f], 0);

		s->lambda[f] =
			(float) (rng_gamma(rng, 0.5 * (1 + n)) / (0.5 * (1 + ss)));
		if (free)
			s->mu[f] =
				(float) (mean + rng_normal(rng) / sqrt((n + 1) * s->lambda[f]));
	}
}

static void
draw_hyper(Gibbs *g, GibbsSide *s)
{
	Rng rng;
	double sum[2 * GIBBS_WIDTH] = {0};
	int w = g->sums_width;

	rng_init(&rng, g->seed, gibbs_stream(g, s->number, STREAM_HYPER, 0));
	for (int c = 0; c < RANK_CHUNKS; c++)
		for (int f = 0; f < 2 * g->full; f++)
			sum[f] += g->sums[(size_t) c * (size_t) w + (size_t) f];
	draw_row_hyper(g, s, sum, &rng);
	for (int set = 0; set < s->n_sets; set++)
	{
		double n = s->set_start[set + 1] - s->set_start[set];

		for (int f = 0; f < g->full; f++)
		{
			double ss = 0;

			for (int c = 0; c < RANK_CHUNKS; c++)
				ss += g->sums[(size_t) c * (size_t) w +
							  (size_t) ((2 + set) * g->full + f)];
			s->set_lambda[set][f] = (float) (rng_gamma(&rng, 0.5 * (1 + n)) /
											 (0.5 * (GIBBS_SET_RATE + ss)));
		}
	}
}

RsStatus
gibbs_draw_side(Gibbs *g, GibbsSide *s)
{
	Team *team = g->run->team;
	int c;
	RsStatus st;

	see_rows(g, s);
	if ((st = team_barrier(team)) != RS_OK)
		return st;
	if (s->n_cols > 0 && (st = gibbs_draw_beta(g, s)) != RS_OK)
		return st;
	draw_rows(g, s);
	if ((st = team_barrier(team)) != RS_OK)
		return st;
	while ((c = (int) team_take(team, RANK_CHUNKS)) >= 0)
	{
		double *sum = g->sums + (size_t) c * (size_t) g->sums_width;

		memset(sum, 0, sizeof(double) * (size_t) g->sums_width);
		sum_rows(g, s, c, sum);
		sum_columns(g, s, c, sum + 2 * g->full);
	}
	if ((st = team_barrier(team)) != RS_OK)
		return st;
	draw_hyper(g, s);
	return team_barrier(team);
}

/* small random vectors, no biases; called by one member */
void
gibbs_init_side(Gibbs *g, GibbsSide *s)
{
	for (int32_t r = 0; r < s->n; r++)
	{
		float *x = s->vec + (size_t) r * (size_t) g->width;

		memset(x, 0, sizeof(float) * (size_t) g->width);
		normals_fill(g->seed, gibbs_stream(g, s->number, STREAM_VECTOR, r), x,
					 g->dim);
		for (int f = 0; f < g->dim; f++)
			x[f] *= 0.1f;
		memcpy(s->design + (size_t) r * (size_t) g->width, x,
			   sizeof(float) * (size_t) g->width);
		s->design[(size_t) r * (size_t) g->width + (size_t) g->dim] = 1;
		s->bias[r] = 0;
		s->noise[r] = 1;
		s->noise_class[r] =
			(s->number == 0 ? GIBBS_USER_NOISE : GIBBS_ITEM_NOISE) / 2;
	}
	if (s->n_cols > 0)
	{
		memset(s->beta, 0,
			   sizeof(float) * (size_t) s->n_cols * (size_t) g->width);
		memset(s->fit, 0, sizeof(float) * (size_t) s->n * (size_t) g->width);
	}
}
