/*
 * test_gibbs.c
 *		The Gibbs sampler: its small systems and random numbers against plain
 *		ones, what is stored against the average over samples.
 */
#include "check.h"
#include "rank_testing.h"

#include "model/gibbs.h"
#include "model/rank_gibbs.h"

#define D 9

/* ---- sixteen systems at once ---- */

static void
random_matrix(double a[D][D], int lane)
{
	double b[D][D];
	Rng rng;

	rng_init(&rng, 11, (uint64_t) lane);
	for (int i = 0; i < D; i++)
		for (int j = 0; j < D; j++)
			b[i][j] = rng_normal(&rng);
	for (int i = 0; i < D; i++)
		for (int j = 0; j < D; j++)
		{
			a[i][j] = i == j ? 2 : 0;
			for (int k = 0; k < D; k++)
				a[i][j] += b[i][k] * b[j][k];
		}
}

static void
test_lanes(void)
{
	static Lanes l[D * (D + 1) / 2];
	static Lanes inverse[D * (D + 1) / 2];
	static Lanes scratch[D * (D + 1) / 2];
	static Lanes x[D];
	static Lanes y[D];
	double worst_solve = 0;
	double worst_inverse = 0;

	for (int lane = 0; lane < LANES; lane++)
	{
		double a[D][D];

		random_matrix(a, lane);
		for (int i = 0; i < D; i++)
			for (int j = 0; j <= i; j++)
				l[lanes_at(i, j)].of[lane] = (float) a[i][j];
		for (int i = 0; i < D; i++)
			x[i].of[lane] = (float) (i + lane);
	}
	gibbs_ops.cholesky(D, l);
	gibbs_ops.inverse(D, l, inverse, scratch);
	gibbs_ops.symmetric_times(D, inverse, x, y);
	gibbs_ops.solve_lower(D, l, x);
	gibbs_ops.solve_upper(D, l, x);
	for (int lane = 0; lane < LANES; lane++)
	{
		double a[D][D];

		random_matrix(a, lane);
		for (int i = 0; i < D; i++)
		{
			double s = -(i + lane);
			double t = -(i + lane);

			for (int j = 0; j < D; j++)
			{
				s += a[i][j] * x[j].of[lane];
				t += a[i][j] * y[j].of[lane];
			}
			worst_solve = fmax(worst_solve, fabs(s));
			worst_inverse = fmax(worst_inverse, fabs(t));
		}
	}
	CHECK(worst_solve < 1e-3);
	CHECK(worst_inverse < 1e-3);
}

/* rank one only: Cholesky gives zero columns and no NaN */
static void
test_semidefinite(void)
{
	static Lanes l[6];
	static Lanes x[3];
	static Lanes y[3];

	memset(y, 0, sizeof(y));
	for (int i = 0; i < 3; i++)
	{
		for (int j = 0; j <= i; j++)
			for (int lane = 0; lane < LANES; lane++)
				l[lanes_at(i, j)].of[lane] = (float) ((i + 1) * (j + 1) * lane);
		for (int lane = 0; lane < LANES; lane++)
			x[i].of[lane] = 1;
	}
	gibbs_ops.cholesky(3, l);
	gibbs_ops.add_lower_times(3, l, x, y);
	for (int lane = 0; lane < LANES; lane++)
		for (int i = 0; i < 3; i++)
			CHECK(fabsf(y[i].of[lane] - (float) (i + 1) * sqrtf((float) lane)) <
				  0.01f);
}

/* ---- products with sparse features ---- */

enum
{
	ROWS = 37,
	COLS = 11,
	MOST = ROWS * COLS
};

typedef struct Sparse
{
	int64_t ptr[ROWS + 1];
	int64_t col_ptr[COLS + 1];
	int32_t col[MOST];
	int32_t row[MOST];
	float val[MOST];
	float col_val[MOST];
	float row_scale[ROWS];
	double dense[ROWS][COLS];
} Sparse;

/* with values and factors of rows, or without; row 3 and column 2 are empty */
static GibbsBlock
sparse_block(Sparse *x, int first, bool values, Rng *rng)
{
	int64_t n = 0;

	memset(x, 0, sizeof(*x));
	for (int r = 0; r < ROWS; r++)
	{
		x->row_scale[r] = (float) (0.5 + rng_uniform(rng));
		x->ptr[r] = n;
		for (int c = 0; c < COLS; c++)
			if (r != 3 && c != 2 && rng_uniform(rng) < 0.4)
			{
				x->col[n] = c;
				x->val[n] = values ? (float) rng_normal(rng) : 1;
				x->dense[r][c] = x->val[n++];
			}
	}
	x->ptr[ROWS] = n;
	n = 0;
	for (int c = 0; c < COLS; c++)
	{
		x->col_ptr[c] = n;
		for (int r = 0; r < ROWS; r++)
			if (x->dense[r][c] != 0)
			{
				x->row[n] = r;
				x->col_val[n++] = (float) x->dense[r][c];
			}
	}
	x->col_ptr[COLS] = n;
	for (int r = 0; values && r < ROWS; r++)
		for (int c = 0; c < COLS; c++)
			x->dense[r][c] *= x->row_scale[r];
	return (GibbsBlock){.n_cols = COLS,
						.first = first,
						.ptr = x->ptr,
						.end = x->ptr + 1,
						.col = x->col,
						.val = values ? x->val : NULL,
						.row_scale = values ? x->row_scale : NULL,
						.col_ptr = x->col_ptr,
						.col_end = x->col_ptr + 1,
						.row = x->row,
						.col_val = values ? x->col_val : NULL};
}

static void
test_products(int w)
{
	static Sparse sparse[2];
	static GibbsSide side;
	float *b = malloc(sizeof(float) * 2 * COLS * (size_t) w);
	float *y = malloc(sizeof(float) * ROWS * (size_t) w);
	float *got = malloc(sizeof(float) * ROWS * (size_t) w);
	double worst = 0;
	Rng rng;

	rng_init(&rng, 5, (uint64_t) w);
	side.n = ROWS;
	side.n_blocks = 2;
	for (int k = 0; k < 2; k++)
		side.blocks[k] = sparse_block(&sparse[k], k * COLS, k == 1, &rng);
	for (int i = 0; i < 2 * COLS * w; i++)
		b[i] = (float) rng_normal(&rng);
	for (int i = 0; i < ROWS * w; i++)
		y[i] = (float) rng_normal(&rng);
	gibbs_ops.rows(&side, 1, ROWS, b, w, got);
	for (int r = 1; r < ROWS; r++)
		for (int f = 0; f < w; f++)
		{
			double want = 0;

			for (int c = 0; c < 2 * COLS; c++)
				want += sparse[c / COLS].dense[r][c % COLS] * b[c * w + f];
			worst = fmax(worst, fabs(want - got[(r - 1) * w + f]));
		}
	for (int k = 0; k < 4; k++)
	{
		gibbs_ops.columns(&side.blocks[k / 2], 1, COLS, y, w, k % 2, got);
		for (int c = 1; c < COLS; c++)
			for (int f = 0; f < w; f++)
			{
				double want = 0;

				for (int r = 0; r < ROWS; r++)
				{
					double v = sparse[k / 2].dense[r][c];

					want += (k % 2 ? v * v : v) * y[r * w + f];
				}
				worst = fmax(worst, fabs(want - got[(c - 1) * w + f]));
			}
	}
	CHECK(worst < 1e-4);
	free(b);
	free(y);
	free(got);
}

static void
test_normals(void)
{
	enum
	{
		N = 200000
	};
	float *x = malloc(sizeof(float) * N);
	double moment[5] = {0};
	double lag = 0;
	int beyond[4] = {0};

	normals_fill(3, 5, x, N);
	for (int k = 0; k < N; k++)
	{
		for (int m = 1; m < 5; m++)
			moment[m] += pow(x[k], m) / N;
		for (int b = 1; b < 4; b++)
			beyond[b] += fabsf(x[k]) > (float) b;
		lag += k > 0 ? x[k] * x[k - 1] / N : 0;
	}
	CHECK(fabs(moment[1]) < 0.01);
	CHECK(fabs(moment[2] - 1) < 0.02);
	CHECK(fabs(moment[3]) < 0.04);
	CHECK(fabs(moment[4] - 3) < 0.1);
	CHECK(fabs(lag) < 0.01);
	CHECK(fabs(beyond[1] / (double) N - 0.3173) < 0.005);
	CHECK(fabs(beyond[2] / (double) N - 0.0455) < 0.003);
	CHECK(fabs(beyond[3] / (double) N - 0.0027) < 0.0008);
	free(x);
}

/* ---- whole trainings ---- */

/* what is stored predicts as the average over the samples does */
static void
test_served(JobLoss loss)
{
	TestRatings x = test_ratings(80, 90, 3000, 9, loss == LOSS_ORDINAL);
	JobConfig c = test_config();
	GibbsProbe probe = {.n = x.n, .user = x.user, .item = x.item};
	double worst = 0;
	double mean = 0;
	JobShared *job;

	probe.sum = calloc((size_t) x.n, sizeof(double));
	probe.score = calloc((size_t) x.n, sizeof(double));
	probe.square = calloc((size_t) x.n, sizeof(double));
	c.ranking_loss = loss;
	c.epochs = 60;
	c.dim = 3;
	c.valid_fraction = 0;
	job = test_job(&x, &c, 1);
	gibbs_probe = &probe;
	CHECK(test_run(job) == RS_OK);
	gibbs_probe = NULL;
	for (int64_t r = 0; r < x.n; r++)
	{
		double y = probe.sum[r] / probe.samples;
		double p = test_predict(job, x.user[r], x.item[r]);

		worst = fmax(worst, fabs(fmin(fmax(y, 1), 5) - p));
		mean += fabs(fmin(fmax(y, 1), 5) - p) / (double) x.n;
	}
	CHECK(probe.samples == 40);
	/* one inner product is exact, the ordinal link an approximation */
	CHECK(worst < (loss == LOSS_GIBBS ? 0.02 : 0.2));
	CHECK(mean < (loss == LOSS_GIBBS ? 0.002 : 0.02));
	free(probe.sum);
	free(probe.score);
	free(probe.square);
	free(job);
	test_free(&x);
}

int
main(void)
{
	for (int level = 0; level <= 2; level++)
	{
		if (gibbs_kernels_init(level) != level)
			continue;
		test_lanes();
		test_semidefinite();
		test_products(8);
		test_products(16);
		test_products(32);
		test_products(48);
	}
	gibbs_kernels_init(-1);
	test_normals();
	test_served(LOSS_GIBBS);
	test_served(LOSS_ORDINAL);
	return check_summary();
}
