/*
 * ann_calibrate.c
 *		The factors by which scans reach a recall below 1: found by searches
 *		of the finished index.
 *
 * Sample queries are searched for with factors 1, which gives their true best
 * rows, and for each of those the factors that a search needs to find it.
 * After a few queries it is known how far from 1 what is needed stays; then
 * factors a third of the way from it are enough to find the truth, at a part of
 * the cost.
 *
 * Two quantiles of what is needed, z and share, make a path from loose to
 * strict. What a search with a point of the path would find follows from the
 * bounds of the best rows (near.h); for each recall level the loosest point
 * is taken by which the sample reaches it with a margin for its size.
 *
 * Scores are those of the full codes here, whose error is far below the
 * distances between neighbours that matter; nothing is read from the heap.
 */
#include "postgres.h"

#include <math.h>

#include "index/ann_build.h"
#include "index/ann_search.h"
#include "math/near.h"
#include "math/topk.h"
#include "math/vec.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#define QUERIES 512     /* sample queries, as far as the work allows */
#define PROVEN 16       /* of them, those searched for with factors 1 */
#define LEAST_ROWS 2000 /* of an index; smaller ones are looked at whole */
#define KEPT(want) (2 * (want) + 32) /* best rows of a query that are kept */
#define FIRST_MISSED 0.7 /* share of the rows wanted, at the path's start */
#define STEP 0.6         /* of it, to the path's next point */
#define STEPS 16
#define SHARE_PART 0.25 /* of the missed, those by `share` */
/* of the misses allowed, when it is not known who asks, beside their number */
#define UNKNOWN 0.1
#define UNKNOWN_L2 0.3
#define SPREAD_ROWS 1024   /* of which to learn the coordinates' spreads */
#define LEAST_SPREAD 0.03  /* of the widest coordinate's */
#define LENGTHS_DIFFER 0.1 /* standard deviation of lengths by their mean */
#define CONFIDENCE 1.645   /* standard errors: 95 % of samples */
/* rows that the searches may look at: so many, or times those of the index */
#define WORK_LEAST 6e7
#define WORK_TIMES 200.0
#define CODE_WORK 8 /* reading a full code, in looks at a row */

typedef struct Asked
{
	double norm; /* of the query; 1 but for L2 */
	double self; /* score of a row with itself, NAN: not a row */
	Near *near;  /* (nears) best first */
	int nears;
	int want[ANN_GOALS];   /* rows: the goal, and the row itself */
	int itself[ANN_GOALS]; /* 1: it is among them */
	int self_at;           /* its place in near, -1: none */
} Asked;

typedef struct Factors
{
	double z, share;
	double recall; /* that they reach */
} Factors;

typedef struct Calibration
{
	AnnBuild *build;
	AnnSearch search;
	Asked *query; /* (queries); of kind i % kinds */
	int queries;
	int kinds;
	float *whiten;       /* (dim) 1 / spread of each rotated coordinate */
	float *z[ANN_GOALS]; /* (pairs) needed, rising */
	float *share[ANN_GOALS];
	int pairs[ANN_GOALS];
	double truth_z, truth_share; /* by which the truth is found */
	double most_z, most_share;   /* needed so far */
	double looked;               /* work so far */
} Calibration;

static const float *
random_row(AnnBuild *build)
{
	return build->sample +
		   (Size) rng_below(&build->rng, build->sampled) * build->dim;
}

/* kinds, and what the third needs; see begin_query */
static void
find_kinds(Calibration *c)
{
	AnnBuild *build = c->build;
	int dim = build->dim;
	double *square, widest = 0, lengths = 0, squares = 0, mean;
	float *x;

	c->kinds = build->query != NULL ? 1 : 2;
	if (build->query != NULL || build->metric != ANN_IP)
		return;
	square = palloc0(sizeof(double) * dim);
	x = palloc(sizeof(float) * dim);
	for (int i = 0; i < SPREAD_ROWS; i++)
	{
		double xx = 0;

		CHECK_FOR_INTERRUPTS();
		memcpy(x, random_row(build), sizeof(float) * dim);
		ann_train_rotate(build, x, 1);
		for (int j = 0; j < dim; j++)
		{
			square[j] += (double) x[j] * x[j];
			xx += (double) x[j] * x[j];
		}
		squares += xx;
		lengths += sqrt(xx);
	}
	mean = lengths / SPREAD_ROWS;
	if (squares / SPREAD_ROWS - mean * mean >
		mean * mean * LENGTHS_DIFFER * LENGTHS_DIFFER)
	{
		c->kinds = 3;
		for (int j = 0; j < dim; j++)
			widest = Max(widest, square[j]);
		c->whiten = palloc(sizeof(float) * dim);
		for (int j = 0; j < dim; j++)
			c->whiten[j] = 1 / Max(sqrt(square[j] / widest), LEAST_SPREAD);
	}
	pfree(square);
	pfree(x);
}

/* a mean (L2) of two rows, or a sum of 2 or 8 with random weights */
static void
mix_rows(Calibration *c, int parts, float *q)
{
	AnnBuild *build = c->build;
	int dim = build->dim;
	bool l2 = build->metric == ANN_L2;

	memset(q, 0, sizeof(float) * dim);
	for (int p = 0; p < (l2 ? 2 : parts); p++)
	{
		const float *x = random_row(build);
		double weight = l2 ? 0.5 : rng_normal(&build->rng);

		for (int j = 0; j < dim; j++)
			q[j] += weight * x[j];
	}
}

/*
 * Query number i, into q (dim), rotated and of length 1 but for L2. When it is
 * not known who asks, it is in turn a row; rows mixed; and by inner product
 * over rows of different lengths a row whose coordinates are divided by their
 * spreads, as users of a least-squares model lie to its items.
 */
static void
begin_query(Calibration *c, int i, float *q)
{
	AnnBuild *build = c->build;
	Asked *query = c->query + i;
	int dim = build->dim, kind = i % c->kinds;
	bool known = build->query != NULL;
	double norm;

	if (kind == 1)
		mix_rows(c, i / c->kinds % 4 < 2 ? 2 : 8, q);
	else
		memcpy(q, known ? build->query + (Size) i * dim : random_row(build),
			   sizeof(float) * dim);
	query->self = NAN;
	if (!known && kind == 0)
		query->self =
			build->metric == ANN_L2 ? 0 : sqrt((double) vec_dot(q, q, dim));
	ann_train_rotate(build, q, 1);
	for (int j = 0; kind == 2 && j < dim; j++)
		q[j] *= c->whiten[j];
	norm = sqrt((double) vec_dot(q, q, dim));
	if (build->metric != ANN_L2 && norm > 0)
	{
		for (int j = 0; j < dim; j++)
			q[j] /= norm;
		norm = 1;
	}
	query->norm = norm * (1 + 1e-6);
}

/* one round of a search for the best `goal` rows */
static void
search(Calibration *c, const Asked *query, const float *q, int goal)
{
	AnnSearch *s = &c->search;

	CHECK_FOR_INTERRUPTS();
	MemoryContextReset(s->context);
	s->first_goal = goal;
	s->z = c->truth_z;
	s->share = c->truth_share;
	s->q_norm = query->norm;
	ann_search_begin(s, q, true);
	ann_search_round(s);
	c->looked += s->bounds + (double) CODE_WORK * s->candidates;
}

/* the best of a search's candidates into the query */
static void
keep_near(Calibration *c, Asked *query, int most)
{
	const AnnSearch *s = &c->search;
	const AnnCache *cache = s->index->rd_amcache;
	TopKItem items[KEPT(NEAR_MOST)];
	TopK top;

	topk_init(&top, items, most);
	for (Size i = 0; i < s->candidates; i++)
	{
		const AnnCandidate *a = s->candidate + i;

		if (a->key < INFINITY)
			topk_push(&top, (float) ((a->key + a->low) / 2), (int32) i);
	}
	topk_sort(&top);
	query->nears = top.n;
	query->near = palloc(sizeof(Near) * Max(top.n, 1));
	query->self_at = -1;
	for (int i = 0; i < top.n; i++)
	{
		const AnnCandidate *a = s->candidate + items[i].index;
		Near *near = query->near + i;

		near->score = items[i].score;
		near->low = a->low;
		near->tail = a->level1.tail / s->share;
		near->level1 = a->level1.bound - a->level1.tail;
		near->cell = a->cell;
		near->dot = a->cell < cache->cells ? s->dot[a->cell] : 0;
		if (query->self_at < 0 && a->low <= query->self &&
			query->self <= a->key)
			query->self_at = i;
	}
}

/*
 * The least factors by which a search that wants scores down to `least` finds
 * a row.
 */
static void
find_need(const Calibration *c, const Asked *query, const Near *near,
		  float least, float *z, float *share)
{
	float spare = near->level1 + near->tail - least;
	float low = 0, high = 1;

	*share = near->tail > spare ? 1 - spare / near->tail : 0;
	if (ann_cells_bound(&c->search, near->cell, near->dot, query->norm, 0) >=
		least)
		high = 0;
	for (int i = 0; i < 12 && high > 0; i++)
	{
		float middle = (low + high) / 2;

		if (ann_cells_bound(&c->search, near->cell, near->dot, query->norm,
							middle) >= least)
			high = middle;
		else
			low = middle;
	}
	*z = high;
}

/* the true best rows of a query, and what factors they need */
static void
find_truth(Calibration *c, Asked *query, const float *q, int goals)
{
	int most = ann_goals[goals - 1] + 1, self;

	search(c, query, q, most);
	keep_near(c, query, KEPT(most));
	self = query->self_at;
	memset(query->want, 0, sizeof(query->want));
	for (int g = 0; g < goals; g++)
	{
		bool with = self >= 0 && self <= ann_goals[g];
		int want = Min(ann_goals[g] + with, query->nears);

		query->want[g] = want;
		query->itself[g] = with;
		for (int i = 0; i < want; i++)
		{
			float *z = c->z[g] + c->pairs[g];
			float *share = c->share[g] + c->pairs[g];

			if (i == self)
				continue;
			find_need(c, query, query->near + i, query->near[want - 1].score, z,
					  share);
			c->most_z = Max(c->most_z, *z);
			c->most_share = Max(c->most_share, *share);
			c->pairs[g]++;
		}
	}
}

static int
compare_float(const void *a, const void *b)
{
	float x = *(const float *) a, y = *(const float *) b;

	return x < y ? -1 : x > y;
}

/* of n sorted numbers the one that a share of them does not exceed */
static float
quantile(const float *sorted, int n, double share)
{
	return sorted[Max(Min(n - 1, (int) ceil(share * n) - 1), 0)];
}

/* share of a query's true best rows that a search with the factors would find */
static double
would_find(const Calibration *c, const Asked *query, int g, double z,
		   double share)
{
	float bound[KEPT(NEAR_MOST)];
	int found;

	for (int i = 0; i < query->nears; i++)
	{
		const Near *near = query->near + i;

		bound[i] =
			ann_cells_bound(&c->search, near->cell, near->dot, query->norm, z);
	}
	found = near_found(query->near, query->nears, bound, query->want[g],
					   query->self_at, share);
	return found / Max((double) query->want[g] - query->itself[g], 1);
}

/*
 * The recall that other queries will reach as well: the mean of the kind of
 * sample queries for which it is worse, less what chance may have added.
 */
static double
sure_recall(Calibration *c, int g, double z, double share)
{
	double worst = 1;

	for (int kind = 0; kind < c->kinds; kind++)
	{
		double sum = 0, squares = 0, mean;
		int n = 0;

		CHECK_FOR_INTERRUPTS();
		for (int i = kind; i < c->queries; i += c->kinds)
			if (c->query[i].want[g] > 0)
			{
				double r = would_find(c, c->query + i, g, z, share);

				sum += r;
				squares += r * r;
				n++;
			}
		if (n < 2)
			return 0;
		mean = sum / n;
		/* one miss more: none at all in a sample does not mean none */
		worst = Min(worst,
					mean - 1.0 / ((double) n * ann_goals[g]) -
						CONFIDENCE *
							sqrt(Max(squares / n - mean * mean, 0) / (n - 1)));
	}
	return worst;
}

/* point i of the path: the last misses none of the sample, then comes proof */
static Factors
path_point(Calibration *c, int g, int i)
{
	double missed = i < STEPS ? FIRST_MISSED * pow(STEP, i) : 0;
	Factors f = {1, 1, 1};

	if (i > STEPS)
		return f;
	f.z = quantile(c->z[g], c->pairs[g], 1 - missed * (1 - SHARE_PART));
	f.share = quantile(c->share[g], c->pairs[g], 1 - missed * SHARE_PART);
	f.recall = sure_recall(c, g, f.z, f.share);
	return f;
}

/* the recall of sample queries that a level asks for */
static double
wanted(const Calibration *c, int level)
{
	double missed = 1 - ann_recalls[level];

	if (c->build->query == NULL)
		missed *= (c->build->metric == ANN_L2 ? UNKNOWN_L2 : UNKNOWN) + missed;
	return 1 - missed;
}

/* walk the path; between two of its points, interpolate */
static void
choose_factors(Calibration *c, int g)
{
	AnnMeta *meta = &c->build->meta;
	Factors before = {0, 0, 0};
	int level = 0;

	qsort(c->z[g], c->pairs[g], sizeof(float), compare_float);
	qsort(c->share[g], c->pairs[g], sizeof(float), compare_float);
	for (int i = 0; i <= STEPS + 1 && level < ANN_RECALLS; i++)
	{
		Factors f = path_point(c, g, i);

		for (; level < ANN_RECALLS && wanted(c, level) <= f.recall; level++)
		{
			double t = i == 0 ? 1
							  : (wanted(c, level) - before.recall) /
									(f.recall - before.recall);

			meta->z[g][level] = before.z + t * (f.z - before.z);
			meta->share[g][level] = before.share + t * (f.share - before.share);
		}
		if (i == 0 || f.recall > before.recall)
			before = f;
	}
}

static void
find_needs(Calibration *c)
{
	AnnBuild *build = c->build;
	double work = Max(WORK_LEAST, WORK_TIMES * build->rows);
	int room = build->query ? Min(build->queries, QUERIES) : QUERIES;
	float *q = palloc(sizeof(float) * build->dim);

	/* the time of a look grows with the dimension */
	work *= Min(64.0 / build->dim, 1);
	for (int g = 0; g < ANN_GOALS; g++)
	{
		Size most = (Size) QUERIES * (ann_goals[g] + 1);

		c->z[g] = palloc(sizeof(float) * most);
		c->share[g] = palloc(sizeof(float) * most);
	}
	c->truth_z = c->truth_share = 1;
	for (int i = 0; i < room && c->looked < work; i++)
	{
		begin_query(c, i, q);
		find_truth(c, c->query + i, q, i / c->kinds % 2 == 0 ? ANN_GOALS : 1);
		c->queries++;
		if (c->queries >= PROVEN)
		{
			c->truth_z = (1 + 2 * c->most_z) / 3;
			c->truth_share = (1 + 2 * c->most_share) / 3;
		}
	}
}

void
ann_calibrate(AnnBuild *build)
{
	MemoryContext old;
	Calibration c = {.build = build};

	if (build->rows < LEAST_ROWS || build->cells < 2)
		return;
	old = MemoryContextSwitchTo(build->context);
	find_kinds(&c);
	c.query = palloc(sizeof(Asked) * QUERIES);
	c.search.index = build->index;
	c.search.meta = build->meta;
	c.search.context = AllocSetContextCreate(build->context, "ann calibration",
											 ALLOCSET_DEFAULT_SIZES);
	find_needs(&c);
	/* nothing to find but rows without bounds: all of them are looked at */
	for (int g = 0; g < ANN_GOALS; g++)
		if (c.pairs[g] > 0)
			choose_factors(&c, g);
	MemoryContextDelete(c.search.context);
	MemoryContextSwitchTo(old);
}
