/*
 * curve.c
 *		What the learning curves in a job's log say about a training.
 */
#include "model/curve.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define SHORTEST 3 /* epochs that say something */

typedef struct Curve
{
	int n;
	const JobLog *point[JOB_MAX_LOG];
	bool measured; /* by a validation figure, else by the training loss */
	bool smaller;  /* is better */
} Curve;

static bool
is_error(const char *metric)
{
	return strcmp(metric, "rmse") == 0 || strcmp(metric, "mae") == 0 ||
		   strcmp(metric, "log_loss") == 0;
}

static double
value_at(const Curve *c, int k)
{
	return c->measured ? c->point[k]->value : c->point[k]->train_loss;
}

/* the last run of the stage's entries, with a figure or without */
static void
find_curve(const JobShared *job, const char *stage, bool measured, Curve *c)
{
	int before = 0;

	memset(c, 0, sizeof(*c));
	c->measured = measured;
	c->smaller = true;
	for (int k = 0; k < job->n_log; k++)
	{
		const JobLog *log = &job->log[k];

		if (strcmp(log->stage, stage) != 0)
			continue;
		/* epochs that were not measured do not end a measured run */
		if (log->epoch <= before)
			c->n = measured && log->metric[0] == '\0' ? c->n : 0;
		before = log->epoch;
		if (measured && log->metric[0] == '\0')
			continue;
		if (!isfinite(measured ? log->value : log->train_loss))
			continue;
		c->smaller = !measured || is_error(log->metric);
		c->point[c->n++] = log;
	}
}

static bool
is_better(const Curve *c, double a, double b)
{
	return c->smaller ? a < b : a > b;
}

static CurveVerdict
judge_measured(const JobShared *job, const Curve *c, const char *stage,
			   char *text, size_t size)
{
	const JobLog *last = c->point[c->n - 1];
	/* another figure may have decided, and a small margin keeps all epochs */
	int kept =
		strcmp(stage, "retrieval") == 0 ? job->output.retrieval_epochs : 0;
	int best = 0;
	int quarter = c->n - 1 - (c->n + 3) / 4;
	double change;

	for (int k = 1; k < c->n; k++)
		if (is_better(c, value_at(c, k), value_at(c, best)))
			best = k;
	if (best < c->n - 1)
	{
		change = fabs(value_at(c, best) - last->value);
		if (!(change > CURVE_CHANGE * fabs(value_at(c, best))))
			return CURVE_FLAT;
		if (kept == 0)
			kept = c->point[best]->epoch;
		snprintf(text, size,
				 kept == last->epoch
					 ? "%s: validation %s was best at epoch %d (%.4g) and "
					   "worse at epoch %d (%.4g); epochs => %d may do better"
					 : "%s: validation %s was best at epoch %d (%.4g) and "
					   "worse at epoch %d (%.4g), so longer training "
					   "over-fits; epoch %d is what counts",
				 stage, last->metric, c->point[best]->epoch, value_at(c, best),
				 last->epoch, last->value,
				 kept == last->epoch ? c->point[best]->epoch : kept);
		return CURVE_OVERFIT;
	}
	change = fabs(last->value - value_at(c, quarter));
	if (!(change > CURVE_CHANGE * fabs(last->value)))
		return CURVE_FLAT;
	snprintf(text, size,
			 "%s: validation %s was still getting better at the last epoch "
			 "(%.4g at epoch %d, %.4g at epoch %d); more epochs may help",
			 stage, last->metric, value_at(c, quarter),
			 c->point[quarter]->epoch, last->value, last->epoch);
	return CURVE_UNDERFIT;
}

static CurveVerdict
judge_loss(const Curve *c, const char *stage, char *text, size_t size)
{
	const JobLog *last = c->point[c->n - 1];
	int quarter = c->n - 1 - (c->n + 3) / 4;
	double whole = value_at(c, 0) - value_at(c, c->n - 1);
	double recent = value_at(c, quarter) - value_at(c, c->n - 1);

	if (!(whole > CURVE_CHANGE * fabs(value_at(c, 0))) ||
		!(recent > 0.25 * whole))
		return CURVE_FLAT;
	snprintf(text, size,
			 "%s: the training loss was still falling at the last epoch (%.4g "
			 "at epoch %d, %.4g at epoch %d); more epochs may help",
			 stage, value_at(c, quarter), c->point[quarter]->epoch,
			 value_at(c, c->n - 1), last->epoch);
	return CURVE_UNDERFIT;
}

CurveVerdict
curve_judge(const JobShared *job, const char *stage, char *text, size_t size)
{
	Curve c;

	text[0] = '\0';
	find_curve(job, stage, true, &c);
	if (c.n >= SHORTEST)
		return judge_measured(job, &c, stage, text, size);
	/* measured too seldom to say anything */
	if (c.n > 0)
		return CURVE_FLAT;
	find_curve(job, stage, false, &c);
	return c.n >= SHORTEST ? judge_loss(&c, stage, text, size) : CURVE_FLAT;
}
