/*
 * test_curve.c
 *		Learning curves: over-fitted, under-fitted, flat, in several runs.
 */
#include "check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/curve.h"

static JobShared *job;
static char text[256];

/* n epochs; loss and values are NULL where there are none */
static void
add(const char *stage, int n, const double *loss, const char *metric,
	const double *value)
{
	for (int k = 0; k < n; k++)
		job_log(job, stage, k + 1, loss != NULL ? loss[k] : NAN, metric,
				value != NULL ? value[k] : 0, k);
}

static CurveVerdict
judge(const char *stage)
{
	return curve_judge(job, stage, text, sizeof(text));
}

static void
start(void)
{
	job->n_log = 0;
}

static void
test_measured(void)
{
	static const double falls[] = {.20, .25, .30, .31, .29, .28};
	static const double rises[] = {.20, .22, .24, .26, .28, .30};
	static const double flat[] = {.20, .28, .30, .301, .302, .3021};
	static const double wobbles[] = {.20, .28, .30, .301, .302, .3011};
	static const double loss[] = {.9, .8, .7, .6, .5, .4};
	double error[6];

	start();
	add("retrieval", 6, NULL, "ndcg@20", falls);
	CHECK(judge("retrieval") == CURVE_OVERFIT);
	CHECK(strstr(text, "epoch 4 (0.31)") != NULL);
	CHECK(strstr(text, "epoch 6 (0.28)") != NULL);
	CHECK(judge("ranking") == CURVE_FLAT && text[0] == '\0');
	/* the best epoch was kept, or all of them, whether trained once more or not */
	job->output.retrieval_epochs = 4;
	CHECK(judge("retrieval") == CURVE_OVERFIT);
	CHECK(strstr(text, "epoch 4 is what counts") != NULL);
	job->output.retrieval_epochs = 3;
	CHECK(judge("retrieval") == CURVE_OVERFIT);
	CHECK(strstr(text, "epoch 3 is what counts") != NULL);
	job->output.retrieval_epochs = 6;
	CHECK(judge("retrieval") == CURVE_OVERFIT);
	CHECK(strstr(text, "epochs => 4 may do better") != NULL);
	add("retrieval", 6, loss, "", NULL);
	CHECK(judge("retrieval") == CURVE_OVERFIT);
	CHECK(strstr(text, "epochs => 4 may do better") != NULL);
	job->output.retrieval_epochs = 0;
	start();
	add("retrieval", 6, NULL, "ndcg@20", rises);
	CHECK(judge("retrieval") == CURVE_UNDERFIT);
	start();
	add("retrieval", 6, NULL, "ndcg@20", flat);
	CHECK(judge("retrieval") == CURVE_FLAT);
	start();
	add("retrieval", 6, NULL, "ndcg@20", wobbles);
	CHECK(judge("retrieval") == CURVE_FLAT);
	/* the same upside down is an error */
	for (int k = 0; k < 6; k++)
		error[k] = 1 - falls[k];
	start();
	add("ranking", 6, NULL, "rmse", error);
	CHECK(judge("ranking") == CURVE_OVERFIT);
	for (int k = 0; k < 6; k++)
		error[k] = 1 - rises[k];
	start();
	add("ranking", 6, NULL, "log_loss", error);
	CHECK(judge("ranking") == CURVE_UNDERFIT);
}

static void
test_loss(void)
{
	static const double falls[] = {1, .9, .8, .7, .6, .5, .4, .3};
	static const double settles[] = {1, .6, .45, .4, .38, .37, .365, .363};
	static const double constant[] = {.5, .5, .5, .5, .5, .5, .5, .5};

	start();
	add("ranking", 8, falls, "", NULL);
	CHECK(judge("ranking") == CURVE_UNDERFIT);
	start();
	add("ranking", 8, settles, "", NULL);
	CHECK(judge("ranking") == CURVE_FLAT);
	start();
	add("ranking", 8, constant, "", NULL);
	CHECK(judge("ranking") == CURVE_FLAT);
	start();
	add("ranking", 2, falls, "", NULL);
	CHECK(judge("ranking") == CURVE_FLAT);
}

/* trials before, all rows afterwards: the measured run counts */
static void
test_runs(void)
{
	static const double falls[] = {.30, .29, .28, .27, .26, .25};
	static const double flat[] = {.20, .28, .30, .301, .302, .3021};
	static const double loss[] = {1, .9, .8, .7, .6, .5};
	double bad[] = {NAN, INFINITY, NAN, .3, NAN, NAN};

	start();
	add("retrieval", 6, NULL, "ndcg@20", falls);
	add("retrieval", 6, NULL, "ndcg@20", flat);
	add("retrieval", 6, loss, "", NULL);
	CHECK(judge("retrieval") == CURVE_FLAT);
	start();
	add("retrieval", 6, NULL, "ndcg@20", flat);
	add("retrieval", 6, NULL, "ndcg@20", falls);
	add("retrieval", 6, loss, "", NULL);
	CHECK(judge("retrieval") == CURVE_OVERFIT);
	start();
	add("retrieval", 6, NULL, "ndcg@20", bad);
	CHECK(judge("retrieval") == CURVE_FLAT);
	/* two runs without figures: the last one */
	start();
	add("ranking", 6, falls, "", NULL);
	add("ranking", 6, flat, "", NULL);
	CHECK(judge("ranking") == CURVE_FLAT);
	/* a full log is read to its end and no further */
	start();
	for (int k = 0; k < 200; k++)
		add("ranking", 6, loss, "", NULL);
	CHECK(job->n_log == JOB_MAX_LOG);
	(void) judge("ranking");
	start();
	CHECK(judge("ranking") == CURVE_FLAT);
}

int
main(void)
{
	job = calloc(1, sizeof(JobShared));
	test_measured();
	test_loss();
	test_runs();
	free(job);
	return check_summary();
}
