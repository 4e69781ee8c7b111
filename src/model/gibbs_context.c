/*
 * gibbs_context.c
 *		Features of the occasion in the Bayesian factorization: their draw.
 */
#include "model/gibbs_context.h"

#include <math.h>
#include <string.h>

#include "math/hooks.h"
#include "math/rng.h"

#define CHECK_ROWS 65536
#define OTHER_MOST 4000000 /* ratings: 256 MB */
#define FIRST_LAMBDA 20
#define CHECK_COLUMNS 16 /* between two looks at the stop flag */

enum
{
	STREAM_HYPER = 2,
	STREAM_BETA = 3
};

/* beside the rows' and features' numbers in those streams */
#define STREAM_OF(c) ((INT64_C(1) << 35) + (c))

/* ---- start ---- */

bool
gibbs_context_layout(GibbsContext *x, Arena *arena, const JobInput *in,
					 int width)
{
	const JobFeatures *f = &in->context;
	size_t n = (size_t) in->n;
	size_t cols = (size_t) f->n_cols;
	bool many = n > OTHER_MOST;

	for (int k = 0; k < 2; k++)
		x->map[k] = arena_alloc(arena, cols * (size_t) width, sizeof(float));
	x->offset = arena_alloc(arena, n, sizeof(float));
	x->error = arena_alloc(arena, n, sizeof(float));
	x->other =
		many ? NULL : arena_alloc(arena, n * (size_t) width, sizeof(float));
	x->user = arena_alloc(arena, n, sizeof(int32_t));
	x->ptr = arena_alloc(arena, n + 1, sizeof(int64_t));
	x->col = arena_alloc(arena, (size_t) f->nnz, sizeof(int32_t));
	x->val = arena_alloc(arena, (size_t) f->nnz, sizeof(float));
	x->colour = arena_alloc(arena, cols, sizeof(int32_t));
	x->start = arena_alloc(arena, cols + 2, sizeof(int32_t));
	return x->ptr != NULL && x->col != NULL && x->val != NULL &&
		   x->map[0] != NULL && x->map[1] != NULL && x->offset != NULL &&
		   x->error != NULL && (many || x->other != NULL) && x->user != NULL &&
		   x->colour != NULL && x->start != NULL &&
		   context_columns_layout(&x->by, arena, f);
}

/* a colour that no column sharing a rating with column c has */
static int32_t
free_colour(const GibbsContext *x, const int32_t *of, int32_t c, int32_t *taken)
{
	int32_t k = 0;

	for (int64_t e = x->by.ptr[c]; e < x->by.ptr[c + 1]; e++)
	{
		int64_t r = x->by.row[e];

		for (int64_t i = context_from(&x->data, r); i < context_to(&x->data, r);
			 i++)
			if (x->data.col[i] < c)
				taken[of[x->data.col[i]]] = c;
	}
	while (taken[k] == c)
		k++;
	return k;
}

/* rank 0: columns in the order of their colours */
static RsStatus
find_colours(GibbsContext *x, Team *team)
{
	int32_t n = x->data.n_cols;
	int32_t *of = math_alloc_array((size_t) n, sizeof(int32_t));
	int32_t *taken = math_alloc_array((size_t) n + 1, sizeof(int32_t));
	int32_t colours = 0;
	int32_t at = 0;

	for (int32_t k = 0; taken != NULL && k <= n; k++)
		taken[k] = -1;
	for (int32_t c = 0; of != NULL && taken != NULL && c < n; c++)
	{
		of[c] = free_colour(x, of, c, taken);
		colours = of[c] >= colours ? of[c] + 1 : colours;
		if (c % CHECK_COLUMNS == 0 && team_stopped(team) != RS_OK)
			break;
	}
	x->start[0] = colours;
	for (int32_t k = 0; of != NULL && k < colours; k++)
	{
		x->start[k + 1] = at;
		for (int32_t c = 0; c < n; c++)
			if (of[c] == k)
				x->colour[at++] = c;
	}
	x->start[colours + 1] = at;
	math_release(taken);
	math_release(of);
	return of != NULL && taken != NULL ? RS_OK : RS_NO_MEMORY;
}

/* rows of the input lie as they came: a miss for each of ptr, col and val */
static void
copy_in_order(GibbsContext *x, const Context *from, int64_t n, Team *team)
{
	int64_t to = 0;

	for (int64_t r = 0; r < n; r++)
	{
		int64_t first = context_from(from, r);
		int64_t last = context_to(from, r);

		/* the barrier behind says why */
		if (r % CHECK_ROWS == 0 && team_stopped(team) != RS_OK)
			return;
		x->ptr[r] = to;
		for (int64_t e = first; e < last; e++, to++)
		{
			x->col[to] = from->col[e];
			x->val[to] = from->val[e];
		}
	}
	x->ptr[n] = to;
}

static RsStatus
init_shared(GibbsContext *x, const Gibbs *g)
{
	const RankRun *run = g->run;
	const Dataset *ds = run->ds;
	size_t size = (size_t) x->data.n_cols * (size_t) g->width;

	memset(x->map[0], 0, sizeof(float) * size);
	memset(x->map[1], 0, sizeof(float) * size);
	memset(x->offset, 0, sizeof(float) * (size_t) ds->n);
	for (int32_t u = 0; u < ds->n_users; u++)
		for (int64_t r = ds->user_ptr[u]; r < ds->user_ptr[u + 1]; r++)
			x->user[r] = u;
	context_columns_fill(&x->by, run->context, ds, run->all);
	copy_in_order(x, run->context, ds->n, run->team);
	if (team_stopped(run->team) != RS_OK)
		return team_stopped(run->team);
	return find_colours(x, run->team);
}

RsStatus
gibbs_context_init(GibbsContext *x, Gibbs *g)
{
	RsStatus st = RS_OK;
	size_t groups;

	x->data = *g->run->context;
	x->data.source = NULL;
	x->data.ptr = x->ptr;
	x->data.col = x->col;
	x->data.val = x->val;
	groups = (size_t) x->data.n_groups;
	for (int k = 0; k < 2; k++)
	{
		x->lambda[k] = math_alloc_array(groups, sizeof(*x->lambda[k]));
		if (x->lambda[k] == NULL)
			st = RS_NO_MEMORY;
		for (size_t j = 0; st == RS_OK && j < groups; j++)
			for (int f = 0; f < GIBBS_WIDTH; f++)
				x->lambda[k][j][f] = FIRST_LAMBDA;
	}
	if (st == RS_OK && g->run->team->rank == 0)
		st = init_shared(x, g);
	if (st != RS_OK)
		team_stop(g->run->team, st);
	return team_barrier(g->run->team);
}

void
gibbs_context_free(GibbsContext *x)
{
	math_release(x->lambda[0]);
	math_release(x->lambda[1]);
}

/* ---- sums over ratings ---- */

/* some ratings as one vector sees them */
typedef struct Seen
{
	const Gibbs *g;
	const GibbsContext *x;
	int side;             /* whose vector it is */
	const int32_t *other; /* by entry: row of the other side */
	const int64_t *place; /* by entry: rating; NULL: use row */
	const uint32_t *row;  /* the same; NULL: the entry itself */
	const float *val;     /* by entry: weight of the vector; NULL: 1 */
	const float *own;     /* the column's vector as it was; NULL: a user or an
						   * item, whose own part is not in the target */
} Seen;

/* z (w) = vector of the other side for rating r, [dim] = 1 */
static inline __attribute__((always_inline)) void
other_vector(const Seen *s, int64_t r, int32_t id, int w, float *z)
{
	const GibbsSide *o = &s->g->side[1 - s->side];
	const Context *c = &s->x->data;
	const float *map = s->x->map[1 - s->side];
	const float *base = o->design + (size_t) id * (size_t) w;

	for (int f = 0; f < w; f++)
		z[f] = base[f];
	for (int64_t e = context_from(c, r); e < context_to(c, r); e++)
	{
		const float *add = map + (size_t) c->col[e] * (size_t) w;
		float v = c->val[e];

		for (int f = 0; f < w; f++)
			z[f] += v * add[f];
	}
	z[s->g->dim] = 1;
}

/* the same, stored while maps are drawn, which changes none of it */
static inline __attribute__((always_inline)) const float *
stored_vector(const Seen *s, int64_t r, int32_t id, int w, float *z)
{
	if (s->own != NULL && s->x->other != NULL)
		return s->x->other + (size_t) r * (size_t) w;
	other_vector(s, r, id, w, z);
	return z;
}

/*
 * The other side's vector and, returned, the score of rating r but for the
 * row's own vector: biases, own side's map
 */
static inline __attribute__((always_inline)) float
given_score(const Seen *s, int64_t r, int32_t id, float *z, int w)
{
	const Context *c = &s->x->data;
	const GibbsSide *o = &s->g->side[1 - s->side];
	const float *base = o->design + (size_t) id * (size_t) w;
	int dim = s->g->dim;
	float own[GIBBS_WIDTH];
	float y = o->bias[id];

	for (int f = 0; f < w; f++)
	{
		z[f] = base[f];
		own[f] = 0;
	}
	for (int64_t e = context_from(c, r); e < context_to(c, r); e++)
	{
		size_t at = (size_t) c->col[e] * (size_t) w;
		const float *theirs = s->x->map[1 - s->side] + at;
		const float *ours = s->x->map[s->side] + at;
		float v = c->val[e];

		for (int f = 0; f < w; f++)
		{
			z[f] += v * theirs[f];
			own[f] += v * ours[f];
		}
		y += v * theirs[dim];
	}
	z[dim] = 1;
	for (int f = 0; f < w; f++)
		y += own[f] * z[f];
	return y;
}

static inline __attribute__((always_inline)) void
accumulate_width(const Seen *s, int64_t from, int64_t to, int w,
				 float *restrict square, float *restrict vector)
{
	const Gibbs *g = s->g;
	const GibbsSide *o = &g->side[1 - s->side];
	const float *noise = g->side[s->side].noise;
	const int32_t *user = s->x->user;
	const int32_t *item = g->run->ds->item;
	float made[4][GIBBS_WIDTH];
	const float *z[4];
	float t[4];
	float p[4];

	for (int64_t k = from; k < to; k += 4)
	{
		for (int j = 0; j < 4; j++)
		{
			int64_t e = k + j < to ? k + j : k;
			int64_t r = s->place != NULL ? s->place[e]
						: s->row != NULL ? s->row[e]
										 : e;
			int32_t id = s->side == 0 ? item[r] : user[r];
			float v = s->val != NULL ? s->val[e] : 1;

			p[j] = k + j < to ? v * o->noise[id] : 0;
			if (s->own != NULL)
			{
				float mine = s->x->error[r];

				z[j] = stored_vector(s, r, id, w, made[j]);
				for (int f = 0; f < w; f++)
					mine += v * s->own[f] * z[j][f];
				t[j] = p[j] * noise[s->side == 0 ? user[r] : item[r]] * mine;
				p[j] *= v * noise[s->side == 0 ? user[r] : item[r]];
			}
			else
			{
				z[j] = made[j];
				t[j] =
					p[j] * (g->target[r] - given_score(s, r, id, made[j], w));
			}
		}
		for (int f = 0; f < w; f++)
			vector[f] += t[0] * z[0][f] + t[1] * z[1][f] + t[2] * z[2][f] +
						 t[3] * z[3][f];
		for (int f = 0; f < g->full; f++)
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
accumulate(const Seen *s, int64_t from, int64_t to, float *square,
		   float *vector)
{
	switch (s->g->width)
	{
		case 8:
			accumulate_width(s, from, to, 8, square, vector);
			break;
		case 16:
			accumulate_width(s, from, to, 16, square, vector);
			break;
		default:
			accumulate_width(s, from, to, s->g->width, square, vector);
			break;
	}
}

void
gibbs_context_see(const Gibbs *g, const GibbsSide *side, int32_t r,
				  float *square, float *vector)
{
	Seen s = {
		.g = g, .x = g->context, .side = side->number, .place = side->place};

	accumulate(&s, side->ptr[r], side->end[r], square, vector);
}

/* ---- the columns ---- */

/* solve (A + diag(lambda)) y = b with a draw's noise added; A (d, w) */
static void
draw_normal(int d, int w, float *a, const float *lambda, const float *b,
			const float *normal, float *y)
{
	double l[GIBBS_WIDTH];

	for (int i = 0; i < d; i++)
	{
		for (int j = 0; j <= i; j++)
		{
			double s = a[i * w + j] + (i == j ? lambda[i] : 0);

			for (int k = 0; k < j; k++)
				s -= (double) a[i * w + k] * a[j * w + k];
			if (i == j)
				a[i * w + i] = (float) sqrt(s > 1e-12 ? s : 1e-12);
			else
				a[i * w + j] = (float) (s / a[j * w + j]);
		}
		l[i] = b[i];
		for (int k = 0; k < i; k++)
			l[i] -= a[i * w + k] * l[k];
		l[i] /= a[i * w + i];
	}
	for (int i = d - 1; i >= 0; i--)
	{
		double s = l[i] + normal[i];

		for (int k = i + 1; k < d; k++)
			s -= a[k * w + i] * y[k];
		y[i] = (float) (s / a[i * w + i]);
	}
}

/* what ratings lack after column c changed by delta (w) */
CLONES static void
correct_errors(const Seen *s, int32_t c, const float *delta)
{
	const int32_t *user = s->x->user;
	const int32_t *item = s->g->run->ds->item;
	int w = s->g->width;
	float made[GIBBS_WIDTH];

	for (int64_t e = s->x->by.ptr[c]; e < s->x->by.ptr[c + 1]; e++)
	{
		int64_t r = s->row[e];
		float change = 0;
		const float *z =
			stored_vector(s, r, s->side == 0 ? item[r] : user[r], w, made);

		for (int f = 0; f < w; f++)
			change += delta[f] * z[f];
		s->x->error[r] -= s->val[e] * change;
	}
}

static void
draw_column(Gibbs *g, int side, int32_t c, const float *lambda)
{
	GibbsContext *x = g->context;
	int w = g->width;
	float *own = x->map[side] + (size_t) c * (size_t) w;
	float *square = (float *) g->scratch;
	float vector[GIBBS_WIDTH] = {0};
	float normal[GIBBS_WIDTH];
	float delta[GIBBS_WIDTH] = {0};
	float alpha = (float) g->alpha;
	Seen s = {.g = g,
			  .x = x,
			  .side = side,
			  .row = x->by.row,
			  .val = x->by.val,
			  .own = own};

	memset(square, 0, sizeof(float) * (size_t) g->full * (size_t) w);
	accumulate(&s, x->by.ptr[c], x->by.ptr[c + 1], square, vector);
	for (int k = 0; k < g->full * w; k++)
		square[k] *= alpha;
	for (int f = 0; f < g->full; f++)
		vector[f] *= alpha;
	normals_fill(g->seed, gibbs_stream(g, side, STREAM_BETA, STREAM_OF(c)),
				 normal, g->full);
	draw_normal(g->full, w, square, lambda, vector, normal, delta);
	for (int f = 0; f < g->full; f++)
	{
		float now = delta[f];

		delta[f] -= own[f];
		own[f] = now;
	}
	correct_errors(&s, c, delta);
}

/* precision of each feature's columns; every member the same */
static void
draw_lambda(Gibbs *g, int side)
{
	GibbsContext *x = g->context;
	const int32_t *start = x->data.group_start;
	Rng rng;

	rng_init(&rng, g->seed, gibbs_stream(g, side, STREAM_HYPER, STREAM_OF(0)));
	for (int j = 0; j < x->data.n_groups; j++)
	{
		double sum[GIBBS_WIDTH] = {0};
		double n = start[j + 1] - start[j];

		for (int32_t c = start[j]; c < start[j + 1]; c++)
		{
			const float *v = x->map[side] + (size_t) c * (size_t) g->width;

			for (int f = 0; f < g->full; f++)
				sum[f] += (double) v[f] * v[f];
		}
		for (int f = 0; f < g->full; f++)
			x->lambda[side][j][f] = (float) (rng_gamma(&rng, 0.5 * (1 + n)) /
											 (0.5 * (GIBBS_SET_RATE + sum[f])));
	}
}

static RsStatus
draw_map(Gibbs *g, int side)
{
	GibbsContext *x = g->context;
	Team *team = g->run->team;
	int32_t colours = x->start[0];
	RsStatus st;

	for (int32_t k = 0; k < colours; k++)
	{
		int group = 0;
		int done = 0;

		for (int32_t j = x->start[k + 1] + team->rank; j < x->start[k + 2];
			 j += team->size)
		{
			int32_t c = x->colour[j];

			while (c >= x->data.group_start[group + 1])
				group++;
			draw_column(g, side, c, x->lambda[side][group]);
			if (++done % CHECK_COLUMNS == 0 && team_stopped(team) != RS_OK)
				break;
		}
		if ((st = team_barrier(team)) != RS_OK)
			return st;
	}
	draw_lambda(g, side);
	return team_barrier(team);
}

/* the maps take turns: drawing both each time costs twice as much */
static int
side_to_draw(const Gibbs *g)
{
	return g->sweep % 2;
}

/*
 * error = target - score; offset = target - score without context; the other
 * side's vectors for the map that is to be drawn
 */
static void
find_errors(Gibbs *g, int c)
{
	GibbsContext *x = g->context;
	const Dataset *ds = g->run->ds;
	int w = g->width;
	int side = side_to_draw(g);
	Seen s = {.g = g, .x = x, .side = 0};
	Seen other = {.g = g, .x = x, .side = 1};
	float z[GIBBS_WIDTH];
	int64_t from;
	int64_t to;

	gibbs_chunk(ds->n_users, c, &from, &to);
	for (int64_t u = from; u < to; u++)
	{
		const float *p = g->side[0].vec + (size_t) u * (size_t) w;

		for (int64_t r = ds->user_ptr[u];
			 r < rank_user_end(g->run, (int32_t) u); r++)
		{
			float y;

			y = given_score(&s, r, ds->item[r], z, w);
			x->error[r] = g->target[r] - y - vec_dot(p, z, w);
			x->offset[r] =
				g->target[r] - (float) gibbs_score(g, p, ds->item[r]);
			if (x->other == NULL)
				continue;
			if (side == 0)
				memcpy(x->other + (size_t) r * (size_t) w, z,
					   sizeof(float) * (size_t) w);
			else
				other_vector(&other, r, (int32_t) u, w,
							 x->other + (size_t) r * (size_t) w);
		}
	}
}

static void
find_offsets(Gibbs *g, int c)
{
	GibbsContext *x = g->context;
	const Dataset *ds = g->run->ds;
	int64_t from;
	int64_t to;

	gibbs_chunk(ds->n_users, c, &from, &to);
	for (int64_t u = from; u < to; u++)
		for (int64_t r = ds->user_ptr[u];
			 r < rank_user_end(g->run, (int32_t) u); r++)
			x->offset[r] -= x->error[r];
}

RsStatus
gibbs_context_draw(Gibbs *g)
{
	RsStatus st;

	if ((st = gibbs_all_chunks(g, find_errors)) != RS_OK ||
		(st = draw_map(g, side_to_draw(g))) != RS_OK)
		return st;
	return gibbs_all_chunks(g, find_offsets);
}
