/*
 * test_gibbs_plain.c
 *		The Gibbs sampler against a plain one of the same model: in double
 *		precision, a row at a time, features as means of their rows, latent
 *		values by rejection, cutpoints by a random walk. Means and deviations
 *		of the posterior agree as far as two long chains can.
 */
#include "check.h"
#include "rank_testing.h"

#include "model/rank_gibbs.h"

#define USERS 40
#define ITEMS 30
#define KINDS 4
#define DIM 2
#define FULL (DIM + 1) /* the bias last */
#define MOST 45        /* rows of a side, at most */
#define LEVELS 5
#define RATINGS 700
#define SWEEPS 6000
#define BURN 100
#define NOISE_STEP 1.15

typedef struct Plain
{
	const TestRatings *data;
	bool ordinal;
	Rng rng;
	double x[2][MOST][FULL]; /* users, items */
	double mu[2][FULL];
	double lambda[2][FULL];
	double beta[KINDS][FULL]; /* what a kind adds to its items */
	double beta_lambda[FULL];
	double noise[2][MOST]; /* factors of precision */
	double alpha;
	double cut[LEVELS + 1];
	double z[RATINGS]; /* standardised ratings, or latent values */
	double mean;
	double scale;
	/* sums over the sweeps behind BURN */
	double sum[USERS][ITEMS];
	double score[USERS][ITEMS];
	double square[USERS][ITEMS];
	double deviation; /* of the noise */
	double variance[2][MOST];
} Plain;

static int
count(const Plain *p, int side)
{
	return side == 0 ? p->data->n_users : p->data->n_items;
}

static int32_t
id(const Plain *p, int side, int64_t r)
{
	return side == 0 ? p->data->user[r] : p->data->item[r];
}

static double
score(const Plain *p, int u, int i)
{
	double s = p->x[0][u][DIM] + p->x[1][i][DIM];

	for (int f = 0; f < DIM; f++)
		s += p->x[0][u][f] * p->x[1][i][f];
	return s;
}

static double
rating_score(const Plain *p, int64_t r)
{
	return score(p, p->data->user[r], p->data->item[r]);
}

static double
cdf(double x)
{
	return 0.5 * erfc(-x * M_SQRT1_2);
}

/* x ~ N(a^-1 b, a^-1), by Cholesky a = l l^T */
static void
draw_normal(Rng *rng, double a[FULL][FULL], double *b, double *x)
{
	double l[FULL][FULL] = {{0}};

	for (int i = 0; i < FULL; i++)
	{
		for (int j = 0; j <= i; j++)
		{
			double s = a[i][j];

			for (int k = 0; k < j; k++)
				s -= l[i][k] * l[j][k];
			l[i][j] = i == j ? sqrt(s) : s / l[j][j];
		}
		for (int k = 0; k < i; k++)
			b[i] -= l[i][k] * b[k];
		b[i] /= l[i][i];
	}
	for (int i = FULL - 1; i >= 0; i--)
	{
		x[i] = b[i] + rng_normal(rng);
		for (int k = i + 1; k < FULL; k++)
			x[i] -= l[k][i] * x[k];
		x[i] /= l[i][i];
	}
}

static double
prior_mean(const Plain *p, int side, int row, int f)
{
	bool kind = side == 1 && p->data->n_kinds > 0;

	return p->mu[side][f] + (kind ? p->beta[p->data->kind[row]][f] : 0);
}

static void
draw_row(Plain *p, int side, int row)
{
	double a[FULL][FULL] = {{0}};
	double b[FULL];

	for (int f = 0; f < FULL; f++)
	{
		a[f][f] = p->lambda[side][f];
		b[f] = p->lambda[side][f] * prior_mean(p, side, row, f);
	}
	for (int64_t r = 0; r < p->data->n; r++)
	{
		int other = id(p, 1 - side, r);
		const double *q = p->x[1 - side][other];
		double w = p->alpha * p->noise[side][row] * p->noise[1 - side][other];
		double design[FULL];

		if (id(p, side, r) != row)
			continue;
		memcpy(design, q, sizeof(design));
		design[DIM] = 1;
		for (int f = 0; f < FULL; f++)
		{
			b[f] += w * design[f] * (p->z[r] - q[DIM]);
			for (int g = 0; g < FULL; g++)
				a[f][g] += w * design[f] * design[g];
		}
	}
	draw_normal(&p->rng, a, b, p->x[side][row]);
}

/* mean and precision of a side's rows, each given the other */
static void
draw_hyper(Plain *p, int side)
{
	double n = count(p, side);

	for (int f = 0; f < FULL; f++)
	{
		bool free = f < DIM || (side == 0 && !p->ordinal);
		double mu = p->mu[side][f];
		double ss = 0;
		double sum = 0;

		for (int r = 0; r < count(p, side); r++)
		{
			double e = p->x[side][r][f] - prior_mean(p, side, r, f);

			ss += e * e;
			sum += e + mu;
		}
		p->lambda[side][f] = rng_gamma(&p->rng, 0.5 * (1 + n + free)) /
							 (0.5 * (1 + ss + (free ? mu * mu : 0)));
		if (free)
			p->mu[side][f] =
				sum / (n + 1) +
				rng_normal(&p->rng) / sqrt((n + 1) * p->lambda[side][f]);
	}
}

/* what kinds add, given their items, and its precision */
static void
draw_kinds(Plain *p)
{
	for (int f = 0; f < FULL; f++)
	{
		double ss = 0;

		for (int k = 0; k < KINDS; k++)
		{
			double a = p->beta_lambda[f];
			double b = 0;

			for (int i = 0; i < ITEMS; i++)
				if (p->data->kind[i] == k)
				{
					a += p->lambda[1][f];
					b += p->lambda[1][f] * (p->x[1][i][f] - p->mu[1][f]);
				}
			p->beta[k][f] = b / a + rng_normal(&p->rng) / sqrt(a);
			ss += p->beta[k][f] * p->beta[k][f];
		}
		p->beta_lambda[f] =
			rng_gamma(&p->rng, 0.5 * (1 + KINDS)) / (0.5 * (0.003 + ss));
	}
}

/* squared errors of a row's ratings, weighted by the other side's noise */
static double
row_squares(const Plain *p, int side, int row, double *n)
{
	double ss = 0;

	*n = 0;
	for (int64_t r = 0; r < p->data->n; r++)
		if (id(p, side, r) == row)
		{
			double e = p->z[r] - rating_score(p, r);

			ss += e * e * p->noise[1 - side][id(p, 1 - side, r)];
			*n += 1;
		}
	return ss;
}

/* the ordinal model has classes of noise, with the gamma's density in logs */
static double
draw_class(Rng *rng, int classes, double shape, double n, double ss)
{
	double w[17];
	double total = 0;
	int k = 0;

	for (int c = 0; c < classes; c++)
	{
		double x = 2 * (c - classes / 2) * log(NOISE_STEP);

		total += w[c] =
			exp(0.5 * (n + shape) * x - 0.5 * (ss + shape) * (exp(x) - 1));
	}
	for (total *= rng_uniform(rng); k < classes - 1 && total > w[k]; k++)
		total -= w[k];
	return pow(NOISE_STEP, 2 * (k - classes / 2));
}

static void
draw_noise(Plain *p)
{
	double ss = 0;

	for (int side = 0; side < 2; side++)
		for (int r = 0; r < count(p, side); r++)
		{
			double nu = side == 0 ? 40 : 30;
			double n;
			double row = row_squares(p, side, r, &n);

			p->noise[side][r] =
				p->ordinal ? draw_class(&p->rng, side == 0 ? 17 : 9, nu, n, row)
						   : rng_gamma(&p->rng, 0.5 * (nu + n)) /
								 (0.5 * (nu + p->alpha * row));
		}
	if (p->ordinal)
		return;
	for (int64_t r = 0; r < p->data->n; r++)
	{
		double e = p->z[r] - rating_score(p, r);

		ss += e * e * p->noise[0][p->data->user[r]] *
			  p->noise[1][p->data->item[r]];
	}
	p->alpha =
		rng_gamma(&p->rng, 0.5 * (1 + (double) p->data->n)) / (0.5 * (1 + ss));
}

static double
root_of(const Plain *p, int64_t r)
{
	return sqrt(p->noise[0][p->data->user[r]] * p->noise[1][p->data->item[r]]);
}

/* standard normal between a and b: uniform, kept by its density */
static double
draw_between(Rng *rng, double a, double b)
{
	double nearest = a > 0 ? a : b < 0 ? b : 0;
	double x;

	a = fmax(a, fmin(nearest, 0) - 8);
	b = fmin(b, fmax(nearest, 0) + 8);
	do
		x = a + rng_uniform(rng) * (b - a);
	while (rng_uniform(rng) > exp(0.5 * (nearest * nearest - x * x)));
	return x;
}

static double
log_likelihood(const Plain *p, int level, const double *cut)
{
	double sum = 0;

	for (int64_t r = 0; r < p->data->n; r++)
		if (p->data->rating[r] == (float) (level + 1))
		{
			double s = rating_score(p, r);
			double root = root_of(p, r);

			sum += log(fmax(cdf(root * (cut[level + 1] - s)) -
								cdf(root * (cut[level] - s)),
							1e-300));
		}
	return sum;
}

/* cutpoints with the latent values integrated out, then these */
static void
draw_levels(Plain *p)
{
	for (int j = 1; j < LEVELS; j++)
	{
		double cut[LEVELS + 1];

		memcpy(cut, p->cut, sizeof(cut));
		cut[j] += 0.12 * rng_normal(&p->rng);
		if (cut[j] > cut[j - 1] && cut[j] < cut[j + 1] &&
			log(1 - rng_uniform(&p->rng)) <
				log_likelihood(p, j - 1, cut) + log_likelihood(p, j, cut) -
					log_likelihood(p, j - 1, p->cut) -
					log_likelihood(p, j, p->cut))
			p->cut[j] = cut[j];
	}
	for (int64_t r = 0; r < p->data->n; r++)
	{
		int level = (int) p->data->rating[r] - 1;
		double s = rating_score(p, r);
		double root = root_of(p, r);

		p->z[r] = s + draw_between(&p->rng, root * (p->cut[level] - s),
								   root * (p->cut[level + 1] - s)) /
						  root;
	}
}

static void
start(Plain *p, const TestRatings *x, bool ordinal)
{
	memset(p, 0, sizeof(*p));
	p->data = x;
	p->ordinal = ordinal;
	p->alpha = 1;
	rng_init(&p->rng, 77, 0);
	for (int64_t r = 0; r < x->n; r++)
		p->mean += x->rating[r] / (double) x->n;
	for (int64_t r = 0; r < x->n; r++)
		p->scale += (x->rating[r] - p->mean) * (x->rating[r] - p->mean);
	p->scale = sqrt(p->scale / (double) x->n);
	for (int64_t r = 0; r < x->n; r++)
		p->z[r] = (x->rating[r] - p->mean) / p->scale;
	for (int side = 0; side < 2; side++)
		for (int r = 0; r < MOST; r++)
		{
			p->noise[side][r] = 1;
			for (int f = 0; f < FULL; f++)
				p->x[side][r][f] = 0.1 * rng_normal(&p->rng);
		}
	for (int f = 0; f < FULL; f++)
		p->lambda[0][f] = p->lambda[1][f] = p->beta_lambda[f] = 5;
	for (int j = 1; j < LEVELS; j++)
		p->cut[j] = j - 2.5;
	p->cut[0] = -INFINITY;
	p->cut[LEVELS] = INFINITY;
}

static void
take_sample(Plain *p)
{
	for (int side = 0; side < 2; side++)
		for (int r = 0; r < count(p, side); r++)
			p->variance[side][r] += 1 / p->noise[side][r] / (SWEEPS - BURN);
	p->deviation += p->scale / sqrt(p->alpha) / (SWEEPS - BURN);
	for (int u = 0; u < USERS; u++)
		for (int i = 0; i < ITEMS; i++)
		{
			double s = score(p, u, i);
			double y = p->mean + p->scale * s;

			if (p->ordinal)
			{
				y = 1;
				for (int j = 1; j < LEVELS; j++)
					y += cdf(sqrt(p->noise[0][u] * p->noise[1][i]) *
							 (s - p->cut[j]));
			}
			p->sum[u][i] += y / (SWEEPS - BURN);
			p->score[u][i] += s / (SWEEPS - BURN);
			p->square[u][i] += s * s / (SWEEPS - BURN);
		}
}

static void
plain_run(Plain *p, const TestRatings *x, bool ordinal)
{
	start(p, x, ordinal);
	for (int k = 0; k < SWEEPS; k++)
	{
		if (ordinal)
			draw_levels(p);
		draw_noise(p);
		for (int side = 0; side < 2; side++)
		{
			for (int r = 0; r < count(p, side); r++)
				draw_row(p, side, r);
			if (side == 1 && x->n_kinds > 0)
				draw_kinds(p);
			draw_hyper(p, side);
		}
		if (k >= BURN)
			take_sample(p);
	}
}

/* ---- one against the other ---- */

static JobShared *
sampler_run(const TestRatings *x, JobLoss loss, GibbsProbe *probe)
{
	JobConfig c = test_config();
	JobShared *job;

	c.ranking_loss = loss;
	c.epochs = SWEEPS;
	c.dim = DIM;
	c.implicit = 0;
	c.valid_fraction = 0;
	job = test_job(x, &c, 1);
	gibbs_probe = probe;
	CHECK(test_run(job) == RS_OK);
	gibbs_probe = NULL;
	return job;
}

/*
 * Scores of the ordinal model move with its cutpoints, and how far is all but
 * unknown: there the expected ratings are compared, and deviations loosely.
 * Other seeds of either sampler differ by up to .062 (ordinal: its scale moves
 * slowly; ten times the sweeps: .005) and .02.
 */
static void
compare(const Plain *p, const GibbsProbe *probe)
{
	double n = USERS * ITEMS;
	double m = probe->samples;
	double error[2] = {0, 0};
	double variance[2] = {0, 0};
	double ratio;

	for (int k = 0; k < USERS * ITEMS; k++)
	{
		double want = p->score[k / ITEMS][k % ITEMS];
		double got = probe->score[k] / m;
		double e = probe->sum[k] / m - p->sum[k / ITEMS][k % ITEMS];

		error[0] += (got - want) * (got - want) / n;
		error[1] += e * e / n;
		variance[0] += (probe->square[k] / m - got * got) / n;
		variance[1] += (p->square[k / ITEMS][k % ITEMS] - want * want) / n;
	}
	ratio = sqrt(variance[0] / variance[1]);
	printf("scores differ by %.4f, ratings by %.4f; deviation of scores %.4f, "
		   "%.3f of the plain sampler's\n",
		   sqrt(error[0]), sqrt(error[1]), sqrt(variance[0]), ratio);
	CHECK(sqrt(error[1]) < (p->ordinal ? 0.08 : 0.03));
	CHECK(fabs(ratio - 1) < (p->ordinal ? 0.12 : 0.03));
	if (!p->ordinal)
		CHECK(sqrt(error[0]) < 0.1 * sqrt(variance[1]));
}

/* the noise: of all in the log, of each row in an ordinal model's vectors */
static void
compare_noise(const Plain *p, const JobShared *job)
{
	double mean = 0;
	double error = 0;
	double spread = 0;

	if (!p->ordinal)
	{
		for (int k = 0; k < job->n_log; k++)
			mean += job->log[k].train_loss / job->n_log;
		printf("noise %.4f, plain %.4f\n", mean, p->deviation);
		CHECK(fabs(mean / p->deviation - 1) < 0.05);
		return;
	}
	for (int side = 0; side < 2; side++)
	{
		const JobOutput *o = &job->output;
		int dim = side == 0 ? o->user_ranking_dim : o->item_ranking_dim;
		const float *x =
			job_at(job, side == 0 ? o->user_ranking : o->item_ranking);

		for (int r = 0; r < count(p, side); r++)
		{
			double want = p->variance[side][r];
			double e = x[(r + 1) * dim - 1] - want;

			error += e * e / (USERS + ITEMS);
			spread += (want - 1) * (want - 1) / (USERS + ITEMS);
		}
	}
	printf("noise variances differ by %.4f, from 1 by %.4f\n", sqrt(error),
		   sqrt(spread));
	CHECK(sqrt(error) < 0.25 * sqrt(spread));
}

/* the first rating of every pair */
static void
drop_repeated(TestRatings *x)
{
	bool seen[USERS][ITEMS] = {{false}};
	int64_t n = 0;

	for (int64_t r = 0; r < x->n; r++)
	{
		bool *before = &seen[x->user[r]][x->item[r]];

		x->user[n] = x->user[r];
		x->item[n] = x->item[r];
		x->rating[n] = x->rating[r];
		n += !*before;
		*before = true;
	}
	x->n = n;
}

/* kinds of items, of which the ratings tell */
static void
add_kinds(TestRatings *x, bool rounded)
{
	x->n_kinds = KINDS;
	x->kind = malloc(sizeof(int32_t) * ITEMS);
	for (int i = 0; i < ITEMS; i++)
		x->kind[i] = i % KINDS;
	for (int64_t r = 0; r < x->n; r++)
	{
		double y = x->rating[r] + 0.8 * (x->kind[x->item[r]] - 1.5) *
									  (x->user[r] % 2 ? 1 : 0.3);

		y = fmin(fmax(y, 1), 5);
		x->rating[r] = (float) (rounded ? rint(y) : y);
	}
}

static void
test_posterior(JobLoss loss, bool kinds)
{
	static Plain plain;
	static double sums[3][USERS * ITEMS];
	static int32_t user[USERS * ITEMS];
	static int32_t item[USERS * ITEMS];
	bool ordinal = loss == LOSS_ORDINAL;
	TestRatings x = test_ratings(USERS, ITEMS, RATINGS, 21, ordinal);
	GibbsProbe probe = {.n = USERS * ITEMS,
						.user = user,
						.item = item,
						.sum = sums[0],
						.score = sums[1],
						.square = sums[2]};
	JobShared *job;

	memset(sums, 0, sizeof(sums));
	for (int k = 0; k < USERS * ITEMS; k++)
	{
		user[k] = k / ITEMS;
		item[k] = k % ITEMS;
	}
	drop_repeated(&x);
	if (kinds)
		add_kinds(&x, ordinal);
	job = sampler_run(&x, loss, &probe);
	CHECK(probe.samples == SWEEPS - 20);
	plain_run(&plain, &x, ordinal);
	compare(&plain, &probe);
	compare_noise(&plain, job);
	free(job);
	test_free(&x);
}

int
main(void)
{
	test_posterior(LOSS_GIBBS, false);
	test_posterior(LOSS_GIBBS, true);
	test_posterior(LOSS_ORDINAL, false);
	test_posterior(LOSS_ORDINAL, true);
	return check_summary();
}
