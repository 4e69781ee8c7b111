/*
 * test_mlp_cross.c
 *		Cross layers of the rating network: gradients against stored values,
 *		stored parameters against the forward pass, whole trainings.
 */
#include "check.h"
#include "rank_testing.h"

#include "model/mlp.h"

enum
{
	ROWS = 3,
	IN = 4,
	PARAMS = 59
};

static double
rule(int k)
{
	return sin(1.7 * k + 0.3) * 0.8;
}

/* central differences of the same formulas in numpy, float64, gave these */
static const struct
{
	double loss;
	float grad[PARAMS];
	float by_x[ROWS * IN];
} stored[2] = {
	{0.30898607,
	 {-0.458588f, -0.935498f, 0.476878f,  0.244112f,  0.359686f,  -0.095822f,
	  0.155366f,  -0.370120f, 0.623540f,  0.119608f,  0.257598f,  -0.139924f,
	  -0.528922f, -0.817728f, 0.251490f,  -1.545364f, -0.555326f, -0.075646f,
	  -1.461818f, -0.482394f, 0.020996f,  -0.387750f, -0.369016f, 0.080570f,
	  -0.009510f, 0.106666f,  0.124494f,  0.582560f,  -0.032818f, 0.520358f,
	  0.523790f,  0.643680f,  -0.031290f, 0.540256f,  0.526692f,  -0.358952f,
	  0.057186f,  -0.450794f, -0.597980f, -0.260004f, -0.001290f, -0.213774f,
	  -0.236360f, 0.170316f,  -0.001738f, 0.220414f,  0.182834f,  0.727656f,
	  -0.004686f, 0.856164f,  0.751310f,  0.776798f,  0.005548f,  0.587226f,
	  0.688364f,  -0.107342f, 0.006990f,  -0.320964f, -0.178520f},
	 {-0.014548f, -0.008244f, -0.000318f, 0.009176f, 0.695134f, 0.099268f,
	  0.830216f, -0.676208f, -0.835764f, -0.543184f, -0.258364f, -0.441638f}},
	{1.39835695,
	 {-0.264120f, 0.179926f,  -0.546626f, 0.074512f,  -0.011926f, 0.109836f,
	  0.100310f,  0.738826f,  -0.714740f, 0.241404f,  0.132408f,  0.160390f,
	  -0.323766f, -0.113558f, -0.288274f, -0.822596f, -0.281720f, 0.086712f,
	  -0.203002f, -0.074122f, 0.064266f,  -0.100090f, -0.358608f, 0.003718f,
	  0.026200f,  0.026926f,  -0.091296f, 0.078744f,  -0.031694f, 0.133566f,
	  0.245106f,  0.094178f,  -0.065604f, 0.139124f,  0.396018f,  -0.521696f,
	  0.047734f,  -0.335052f, -0.434606f, -0.069656f, -0.003638f, 0.048502f,
	  -0.026146f, -0.112292f, -0.003670f, 0.005430f,  -0.067934f, -0.120636f,
	  -0.005258f, 0.044696f,  -0.059650f, -0.615616f, -0.004510f, -0.464338f,
	  -0.545410f, -0.538378f, -0.004108f, -0.396720f, -0.473302f},
	 {-0.136344f, -0.077258f, -0.002984f, 0.085994f, -0.796806f, -0.113786f,
	  -0.951644f, 0.775112f, -0.307310f, -0.199728f, -0.095000f, -0.162390f}},
};

static void
test_stored(bool binary)
{
	static const int hidden[1] = {3};
	static const float y[ROWS] = {1, 0, 1};
	Mlp mlp;
	float params[PARAMS];
	float x[ROWS * IN];
	float grad[PARAMS];
	float scratch[512];
	double loss;

	mlp_init(&mlp, IN, hidden, 1, 2, binary);
	CHECK(mlp.n_params == PARAMS && mlp.tail == 0);
	CHECK(mlp_scratch(&mlp, ROWS) <= 512);
	for (int k = 0; k < PARAMS; k++)
		params[k] = (float) rule(k);
	for (int k = 0; k < ROWS * IN; k++)
		x[k] = (float) cos(0.9 * k);
	loss = mlp_cross_tile(&mlp, params, ROWS, x, y, 1, grad, scratch);
	CHECK(fabs(loss - stored[binary].loss) < 1e-5);
	for (int k = 0; k < PARAMS; k++)
		CHECK(fabsf(grad[k] - stored[binary].grad[k]) < 1e-5f);
	for (int k = 0; k < ROWS * IN; k++)
		CHECK(fabsf(x[k] - stored[binary].by_x[k]) < 1e-5f);
}

/* what is stored predicts as the network does */
static void
test_forward(void)
{
	static const int hidden[1] = {3};
	Mlp mlp;
	float params[PARAMS];
	float x[ROWS * IN];
	float out[ROWS];
	float scratch[512];
	float work[64];
	PredictParam p[8];
	Predictor predictor;

	mlp_init(&mlp, IN, hidden, 1, 2, false);
	for (int k = 0; k < PARAMS; k++)
		params[k] = (float) rule(k + 5);
	for (int k = 0; k < ROWS * IN; k++)
		x[k] = (float) rule(3 * k);
	mlp_forward(&mlp, params, ROWS, x, out, scratch);
	for (int l = 0; l < 2; l++)
	{
		static const char *names[4][2] = {{"kernel_0", "kernel_1"},
										  {"bias_0", "bias_1"},
										  {"cross_kernel_0", "cross_kernel_1"},
										  {"cross_bias_0", "cross_bias_1"}};

		p[4 * l] = (PredictParam){names[0][l],
								  2,
								  {mlp.width[l], mlp.width[l + 1]},
								  params + mlp.kernel[l]};
		p[4 * l + 1] = (PredictParam){
			names[1][l], 1, {mlp.width[l + 1]}, params + mlp.bias[l]};
		p[4 * l + 2] = (PredictParam){
			names[2][l], 2, {IN, IN}, params + mlp.cross_kernel[l]};
		p[4 * l + 3] =
			(PredictParam){names[3][l], 1, {IN}, params + mlp.cross_bias[l]};
	}
	CHECK(predict_init(&predictor, RANKING_MLP, 1, 3, p, 8, NULL) == RS_OK);
	CHECK(predict_scratch(&predictor) <= 64);
	for (int r = 0; r < ROWS; r++)
		CHECK(fabsf(predict_one(&predictor, x + IN * r, x + IN * r + 1, work) -
					out[r]) < 1e-5f);
}

static JobConfig
cross_config(int layers)
{
	JobConfig c = test_config();

	c.ranking_loss = LOSS_MSE;
	c.dim = 4;
	c.n_hidden = 0;
	c.cross_layers = layers;
	c.batch_size = 64;
	c.optimizer = OPTIMIZER_ADAM;
	c.learning_rate = 0.01f;
	c.epochs = c.patience = 40;
	c.valid_fraction = 0.2f;
	return c;
}

/* without hidden layers only cross layers can multiply user and item */
static void
test_learning(void)
{
	TestRatings x = test_ratings(80, 90, 4000, 5, false);
	double error[2];

	for (int k = 0; k < 2; k++)
	{
		JobConfig c = cross_config(2 * k);
		JobShared *job = test_job(&x, &c, 2);

		CHECK(test_run(job) == RS_OK);
		CHECK(isfinite(test_predict(job, 3, 4)));
		error[k] = test_metric(job, "rmse", false);
		free(job);
	}
	printf("rmse without %.3f, with cross layers %.3f\n", error[0], error[1]);
	CHECK(error[1] < 0.9 * error[0]);
	test_free(&x);
}

static void
test_clicks(void)
{
	TestRatings x = test_ratings(80, 90, 4000, 6, false);
	JobConfig c = cross_config(2);
	JobShared *job;

	c.ranking_loss = LOSS_BINARY;
	for (int64_t r = 0; r < x.n; r++)
		x.rating[r] = x.rating[r] > 3;
	job = test_job(&x, &c, 2);
	CHECK(test_run(job) == RS_OK);
	printf("auc %.3f beside %.3f, log loss %.3f beside %.3f\n",
		   test_metric(job, "auc", false), test_metric(job, "auc", true),
		   test_metric(job, "log_loss", false),
		   test_metric(job, "log_loss", true));
	CHECK(test_metric(job, "auc", false) > test_metric(job, "auc", true));
	CHECK(test_metric(job, "log_loss", false) <
		  test_metric(job, "log_loss", true) - 0.01);
	for (int k = 0; k < 50; k++)
	{
		float p = test_predict(job, k, k + 7);

		CHECK(p >= 0 && p <= 1);
	}
	free(job);
	test_free(&x);
}

static void
test_teams(JobOptimizer optimizer)
{
	TestRatings x = test_ratings(60, 80, 2500, 4, true);
	JobConfig c = cross_config(3);
	JobShared *one;
	JobShared *three;

	c.optimizer = optimizer;
	c.epochs = 4;
	c.n_hidden = 1;
	c.hidden[0] = 6;
	one = test_job(&x, &c, 1);
	three = test_job(&x, &c, 3);
	CHECK(test_run(one) == RS_OK);
	CHECK(test_run(three) == RS_OK);
	CHECK(test_same_output(one, three));
	free(one);
	free(three);
	test_free(&x);
}

int
main(void)
{
	test_stored(false);
	test_stored(true);
	test_forward();
	test_learning();
	test_clicks();
	test_teams(OPTIMIZER_ADAGRAD);
	test_teams(OPTIMIZER_ADAM);
	return check_summary();
}
