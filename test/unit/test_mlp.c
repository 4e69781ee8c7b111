/*
 * test_mlp.c
 *		The rating network: gradients against stored values and finite
 *		differences, a whole training against a plain one, team sizes.
 */
#include "check.h"
#include "rank_testing.h"

#include "model/mlp.h"

#define ROWS 3

static double
rule(int k)
{
	return sin(1.7 * k + 0.3) * 0.8;
}

/* the same computation in numpy gave these */
static const struct
{
	double loss;
	float grad[23];
	float by_z0[12];
} stored[2] = {
	{0.48542935240325497,
	 {0.4368730f,  0.2063637f, 0, -0.0209182f, 0.9507039f, 0,
	  0,           0.2950441f, 0, 0,           0,          0,
	  0,           0,          0, -0.0295288f, 0.5681628f, 0,
	  -0.0263706f, 1.1913980f, 0, 0.0685569f,  0.9434198f},
	 {0.3205169f, 0.2063637f, 0, 0, 0, 0, 0, -0.0209182f, 0.1163561f, 0, 0, 0}},
	{1.1502190597368847,
	 {-0.0946497f, -0.0253942f, 0, -0.1005696f, -0.1906925f, 0,
	  0,           -0.0363068f, 0, 0,           0,           0,
	  0,           0,           0, -0.1419669f, -0.1230940f, 0,
	  -0.1267833f, -0.2182978f, 0, 0.3296043f,  0.0638437f},
	 {-0.0394414f, -0.0253942f, 0, 0, 0, 0, 0, -0.1005696f, -0.0552084f, 0, 0,
	  0}},
};

static void
test_stored(bool binary)
{
	static const int hidden[2] = {4, 3};
	static const float y[ROWS] = {1, 0, 1};
	Mlp mlp;
	float params[64];
	float z0[12];
	float grad[64];
	float scratch[256];
	double loss;

	mlp_init(&mlp, 2, hidden, 2, 0, binary);
	CHECK(mlp.n_params == 8 + 4 + 12 + 3 + 3 + 1);
	CHECK(mlp_scratch(&mlp, ROWS) <= 256);
	for (int k = 0; k < (int) mlp.n_params; k++)
		params[k] = (float) rule(k);
	for (int k = 0; k < 12; k++)
		z0[k] = (float) cos(0.9 * k);
	loss = mlp_tile(&mlp, params, ROWS, z0, y, 0.5f, grad, scratch);
	CHECK(fabs(loss - stored[binary].loss) < 1e-5);
	for (int k = 0; k < 23; k++)
		CHECK(fabsf(grad[k] - stored[binary].grad[k]) < 2e-6f);
	for (int k = 0; k < 12; k++)
		CHECK(fabsf(z0[k] - stored[binary].by_z0[k]) < 2e-6f);
}

static double
loss_at(const Mlp *mlp, const float *params, const float *z, int n,
		const float *y)
{
	float z0[512];
	float grad[512];
	float scratch[2048];

	memcpy(z0, z, sizeof(float) * (size_t) (n * mlp->width[1]));
	return mlp_tile(mlp, params, n, z0, y, 1, grad, scratch);
}

/* false when a relu bends between the points, and nothing can be said */
static bool
difference_fits(const Mlp *mlp, const float *params, const float *z, int n,
				const float *y, float *at, float gradient)
{
	float keep = *at;
	float h = 2e-3f;
	double mid = loss_at(mlp, params, z, n, y);
	double up;
	double down;

	*at = keep + h;
	up = loss_at(mlp, params, z, n, y);
	*at = keep - h;
	down = loss_at(mlp, params, z, n, y);
	*at = keep;
	if (fabs(up - 2 * mid + down) > 0.02 * h)
		return false;
	CHECK(fabs((up - down) / (2 * h) - gradient) <
		  0.02 + 0.02 * fabsf(gradient));
	return true;
}

static void
test_differences(const int *hidden, int n_hidden, bool binary)
{
	Mlp mlp;
	float params[512];
	float z[512];
	float z0[512];
	float y[5];
	float grad[512];
	float scratch[2048];
	int n = 5;
	int kinks = 0;
	Rng rng;

	mlp_init(&mlp, 6, hidden, n_hidden, 0, binary);
	rng_init(&rng, 5, (uint64_t) n_hidden);
	for (size_t k = 0; k < mlp.n_params; k++)
		params[k] = (float) rng_normal(&rng) * 0.4f;
	for (int k = 0; k < n * mlp.width[1]; k++)
		z0[k] = z[k] = (float) rng_normal(&rng);
	for (int k = 0; k < n; k++)
		y[k] = binary ? (float) (k & 1) : (float) rng_normal(&rng);
	mlp_tile(&mlp, params, n, z0, y, 1, grad, scratch);
	for (size_t k = mlp.tail; k < mlp.n_params; k++)
		kinks += !difference_fits(&mlp, params, z, n, y, &params[k],
								  grad[k - mlp.tail]);
	for (int k = 0; k < n * mlp.width[1]; k++)
		kinks += !difference_fits(&mlp, params, z, n, y, &z[k], z0[k]);
	CHECK(kinks <= 6);
}

static void
test_forward(void)
{
	static const int hidden[2] = {7, 3};
	Mlp mlp;
	float params[512];
	float x[4 * 6];
	float out[4];
	float scratch[512];
	PredictParam p[6];
	Predictor predictor;
	float work[64];
	Rng rng;

	mlp_init(&mlp, 6, hidden, 2, 0, false);
	rng_init(&rng, 9, 0);
	for (size_t k = 0; k < mlp.n_params; k++)
		params[k] = (float) rng_normal(&rng);
	for (int k = 0; k < 24; k++)
		x[k] = (float) rng_normal(&rng);
	mlp_forward(&mlp, params, 4, x, out, scratch);
	for (int l = 0; l < 3; l++)
	{
		static const char *names[2][3] = {{"kernel_0", "kernel_1", "kernel_2"},
										  {"bias_0", "bias_1", "bias_2"}};

		p[2 * l] = (PredictParam){names[0][l],
								  2,
								  {mlp.width[l], mlp.width[l + 1]},
								  params + mlp.kernel[l]};
		p[2 * l + 1] = (PredictParam){
			names[1][l], 1, {mlp.width[l + 1]}, params + mlp.bias[l]};
	}
	CHECK(predict_init(&predictor, RANKING_MLP, 2, 4, p, 6, NULL) == RS_OK);
	CHECK(predict_scratch(&predictor) <= 64);
	for (int r = 0; r < 4; r++)
		CHECK(fabsf(predict_one(&predictor, x + 6 * r, x + 6 * r + 2, work) -
					out[r]) < 1e-4f);
}

/* ---- a whole training, written down plainly ---- */

enum
{
	PLAIN_USERS = 20,
	PLAIN_ITEMS = 30,
	PLAIN_N = 300,
	PLAIN_DIM = 4,
	PLAIN_BATCH = 64
};

typedef struct Plain
{
	double vec[(PLAIN_USERS + PLAIN_ITEMS) * PLAIN_DIM];
	double vec_state[(PLAIN_USERS + PLAIN_ITEMS) * PLAIN_DIM];
	double params[256];
	double params_state[256];
	double vec_grad[(PLAIN_USERS + PLAIN_ITEMS) * PLAIN_DIM];
	double grad[256];
} Plain;

static void
plain_row(Plain *p, const Mlp *mlp, int user, int item, double y, double scale)
{
	double act[4][16];
	double delta[4][16] = {{0}};
	double *at[2] = {p->vec + user * PLAIN_DIM,
					 p->vec + (PLAIN_USERS + item) * PLAIN_DIM};
	double *to[2] = {p->vec_grad + user * PLAIN_DIM,
					 p->vec_grad + (PLAIN_USERS + item) * PLAIN_DIM};

	for (int k = 0; k < 2 * PLAIN_DIM; k++)
		act[0][k] = at[k / PLAIN_DIM][k % PLAIN_DIM];
	for (int l = 0; l < mlp->n_layers; l++)
		for (int j = 0; j < mlp->width[l + 1]; j++)
		{
			double s = p->params[mlp->bias[l] + (size_t) j];

			for (int i = 0; i < mlp->width[l]; i++)
				s +=
					act[l][i] * p->params[mlp->kernel[l] +
										  (size_t) (i * mlp->width[l + 1] + j)];
			act[l + 1][j] = s > 0 || l + 1 == mlp->n_layers ? s : 0;
		}
	delta[mlp->n_layers][0] = 2 * scale * (act[mlp->n_layers][0] - y);
	for (int l = mlp->n_layers - 1; l >= 0; l--)
		for (int j = 0; j < mlp->width[l + 1]; j++)
		{
			double d = delta[l + 1][j];

			if (l + 1 < mlp->n_layers && act[l + 1][j] <= 0)
				continue;
			p->grad[mlp->bias[l] + (size_t) j] += d;
			for (int i = 0; i < mlp->width[l]; i++)
			{
				size_t k =
					mlp->kernel[l] + (size_t) (i * mlp->width[l + 1] + j);

				p->grad[k] += d * act[l][i];
				delta[l][i] += d * p->params[k];
			}
		}
	for (int k = 0; k < 2 * PLAIN_DIM; k++)
		to[k / PLAIN_DIM][k % PLAIN_DIM] += delta[0][k];
}

static void
plain_adagrad(double *w, const double *g, double *a, int n)
{
	for (int k = 0; k < n; k++)
	{
		a[k] += g[k] * g[k];
		w[k] -= 0.1 * g[k] / sqrt(a[k] + 1e-7);
	}
}

/* rows sorted by user and item, without duplicates, as a dataset has them */
static TestRatings
plain_ratings(void)
{
	TestRatings x = test_ratings(PLAIN_USERS, PLAIN_ITEMS, PLAIN_N, 3, true);
	int64_t n = 0;

	for (int u = 0; u < PLAIN_USERS; u++)
		for (int i = 0; i < PLAIN_ITEMS && n < PLAIN_N; i++)
		{
			if ((u * 7 + i * 3) % 11 < 5)
				continue;
			x.user[n] = u;
			x.item[n] = i;
			n++;
		}
	x.n = n;
	return x;
}

static void
plain_train(Plain *p, const Mlp *mlp, const TestRatings *x, uint64_t seed)
{
	int64_t perm[PLAIN_N];
	int64_t at[PLAIN_N];
	float params[256];
	int rows = (PLAIN_USERS + PLAIN_ITEMS) * PLAIN_DIM;
	Rng rng;

	rng_init(&rng, seed, 15);
	for (int k = 0; k < rows; k++)
	{
		p->vec[k] = (float) (0.1 * rng_uniform(&rng) - 0.05);
		p->vec_state[k] = 0.1;
	}
	mlp_init_params(mlp, seed, params);
	for (size_t k = 0; k < mlp->n_params; k++)
	{
		p->params[k] = params[k];
		p->params_state[k] = 0.1;
	}
	rng_init(&rng, seed, 14);
	rng_permutation(&rng, perm, x->n);
	for (int64_t r = 0; r < x->n; r++)
		at[perm[r]] = r;
	for (int epoch = 0; epoch < 3; epoch++)
		for (int64_t b = 0; b < x->n; b += PLAIN_BATCH)
		{
			int64_t end = b + PLAIN_BATCH < x->n ? b + PLAIN_BATCH : x->n;

			memset(p->vec_grad, 0, sizeof(p->vec_grad));
			memset(p->grad, 0, sizeof(p->grad));
			for (int64_t r = b; r < end; r++)
				plain_row(p, mlp, x->user[at[r]], x->item[at[r]],
						  x->rating[at[r]], 1.0 / (double) (end - b));
			plain_adagrad(p->vec, p->vec_grad, p->vec_state, rows);
			plain_adagrad(p->params, p->grad, p->params_state,
						  (int) mlp->n_params);
		}
}

static JobConfig
tfrs_config(void)
{
	JobConfig c = test_config();

	c.preset = PRESET_TFRS;
	c.dim = PLAIN_DIM;
	c.n_hidden = 2;
	c.hidden[0] = 8;
	c.hidden[1] = 5;
	c.batch_size = PLAIN_BATCH;
	c.valid_fraction = 0;
	return c;
}

static void
test_training(void)
{
	static Plain p;
	TestRatings x = plain_ratings();
	JobConfig c = tfrs_config();
	JobShared *job = test_job(&x, &c, 2);
	Mlp mlp;
	const float *users;
	double worst = 0;

	mlp_init(&mlp, 2 * PLAIN_DIM, c.hidden, 2, 0, false);
	plain_train(&p, &mlp, &x, c.seed);
	CHECK(test_run(job) == RS_OK);
	CHECK(job->output.ranking == RANKING_MLP);
	CHECK(job->output.epochs == 3);
	users = job_at(job, job->output.user_ranking);
	for (int k = 0; k < PLAIN_USERS * PLAIN_DIM; k++)
		worst = fmax(worst, fabs(users[k] - p.vec[k]));
	for (int k = 0; k < job->output.params[0].shape[0] * 8; k++)
	{
		const float *kernel = job_at(job, job->output.params[0].data);

		worst = fmax(worst, fabs(kernel[k] - p.params[k]));
	}
	CHECK(worst < 1e-4);
	free(job);
	test_free(&x);
}

static void
test_teams(JobConfig c)
{
	TestRatings x = test_ratings(60, 80, 2500, 4, true);
	JobShared *one = test_job(&x, &c, 1);
	JobShared *three = test_job(&x, &c, 3);

	CHECK(test_run(one) == RS_OK);
	CHECK(test_run(three) == RS_OK);
	CHECK(test_same_output(one, three));
	free(one);
	free(three);
	test_free(&x);
}

static void
test_diverged(void)
{
	TestRatings x = test_ratings(20, 20, 300, 4, true);
	JobConfig c = tfrs_config();
	JobShared *job;

	c.optimizer = OPTIMIZER_SGD;
	c.learning_rate = 1e6f;
	c.epochs = 50;
	job = test_job(&x, &c, 2);
	CHECK(test_run(job) == RS_DIVERGED);
	CHECK(job->output.problem[0] != '\0');
	free(job);
	test_free(&x);
}

int
main(void)
{
	static const int one[1] = {5};
	static const int three[3] = {6, 5, 4};
	JobConfig c = tfrs_config();

	test_stored(false);
	test_stored(true);
	for (int binary = 0; binary < 2; binary++)
	{
		test_differences(NULL, 0, binary);
		test_differences(one, 1, binary);
		test_differences(three, 3, binary);
	}
	test_forward();
	test_training();
	test_teams(c);
	c = test_config();
	c.ranking_loss = LOSS_MSE;
	c.valid_fraction = 0.2f;
	c.epochs = 8;
	test_teams(c);
	c.optimizer = OPTIMIZER_ADAM;
	test_teams(c);
	test_diverged();
	return check_summary();
}
