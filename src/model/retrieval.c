/*
 * retrieval.c
 *		The retrieval stage: which learner runs, and what is reported.
 */
#include "model/retrieval.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/clock.h"
#include "model/retrieval_int.h"

typedef enum Learner
{
	LEARNER_BATCHES,
	LEARNER_IALS,
	LEARNER_TOWERS,
	LEARNER_HIDDEN
} Learner;

#define FEW 50000   /* interactions; below, implicit ALS alone */
#define SPARSE 0.02 /* share of all pairs; above, towers never were better */
#define LATE 0.7    /* of the time that a stage may take */

/* interactions that the towers get through in minutes */
static int64_t
most_for_towers(const JobConfig *config)
{
	return config->preset == PRESET_BEST ? 20000000 : 4000000;
}

JobLoss
retrieval_loss(const JobConfig *config, const JobInput *in)
{
	bool features = in->users.n_rows > 0 || in->items.n_rows > 0;

	if (config->loss == LOSS_AUTO && config->preset != PRESET_TFRS &&
		!features &&
		(!isnan(config->temperature) || config->negatives >= 0 ||
		 config->hard_negatives > 0 || config->logq >= 0 ||
		 config->accidental >= 0 || config->normalize >= 0))
		return LOSS_SOFTMAX;
	return config->loss;
}

/*
 * The closed form is best where there are few interactions or items have
 * many each, and it is the only one that is quick with tens of millions of
 * them. In between towers may win clearly, or lose (retrieval_compare.c).
 */
static Learner
choose(const JobConfig *config, const JobInput *in)
{
	int64_t n = job_pairs(in);
	double density = (double) n / in->n_users / in->n_items;
	JobLoss loss = retrieval_loss(config, in);

	/* what only the softmax over batches of interactions has */
	bool batches = config->batch_size > 0 || config->logq >= 0 ||
				   config->hard_negatives > 0 || config->accidental >= 0 ||
				   config->normalize == 0 || config->negatives == 0 ||
				   config->optimizer == OPTIMIZER_SGD ||
				   config->optimizer == OPTIMIZER_ADAGRAD;

	if (config->preset == PRESET_TFRS && loss != LOSS_IALS)
		return LEARNER_BATCHES;
	if (config->n_hidden > 0 && (loss == LOSS_AUTO || loss == LOSS_SOFTMAX))
		return LEARNER_HIDDEN;
	if (loss == LOSS_SOFTMAX)
		return batches ? LEARNER_BATCHES : LEARNER_TOWERS;
	if (loss == LOSS_IALS)
		return LEARNER_IALS;
	/* only the closed form knows features */
	if (in->users.n_rows > 0 || in->items.n_rows > 0)
		return LEARNER_IALS;
	return n >= FEW && n <= most_for_towers(config) && density < SPARSE
			   ? LEARNER_TOWERS
			   : LEARNER_IALS;
}

size_t
retrieval_arena_size(const JobConfig *config, const JobInput *input,
					 int workers)
{
	size_t size = metrics_size(input->n_users, input->n_items) +
				  arena_need((size_t) input->n_users, sizeof(float)) +
				  arena_need((size_t) input->n_items, sizeof(float)) +
				  arena_need(16, sizeof(int32_t));

	switch (choose(config, input))
	{
		case LEARNER_BATCHES:
			return size + retrieval_tfrs_size(config, input, workers);
		case LEARNER_TOWERS:
			return size + retrieval_towers_size(config, input, workers);
		case LEARNER_HIDDEN:
			return size + retrieval_hidden_size(config, input, workers);
		default:
			return size + retrieval_ials_size(config, input);
	}
}

void
retrieval_dataset_options(const JobConfig *config, const JobInput *in,
						  DatasetOptions *opt)
{
	opt->repeats = config->preset == PRESET_TFRS;
	/* towers may give way to implicit ALS */
	opt->counts = (choose(config, in) == LEARNER_IALS ||
				   (choose(config, in) == LEARNER_TOWERS &&
					retrieval_loss(config, in) == LOSS_AUTO)) &&
				  retrieval_ials_weighs(in);
	opt->ratings = opt->counts && in->rating != 0;
	opt->positive_kind = config->positive_kind;
	opt->positive_value = config->positive_value;
}

void
retrieval_phase(Retrieval *r, const char *phase, int epochs)
{
	JobProgress *p = &r->job->progress;

	if (r->team->rank != 0)
		return;
	snprintf(p->phase, sizeof(p->phase), "%s", phase);
	p->epoch = 0;
	p->epochs = epochs;
	p->batch = p->batches = 0;
}

RsStatus
retrieval_agree(Retrieval *r, int32_t *value)
{
	RsStatus st;

	if (r->team->rank == 0)
		r->flags[0] = *value;
	if ((st = team_barrier(r->team)) != RS_OK)
		return st;
	*value = r->flags[0];
	return team_barrier(r->team);
}

double
retrieval_seconds(const Retrieval *r)
{
	return clock_seconds() - r->start;
}

double
retrieval_room(const Retrieval *r)
{
	return r->limit - r->start;
}

double
retrieval_left(const Retrieval *r)
{
	return LATE * retrieval_room(r) - retrieval_seconds(r);
}

bool
retrieval_late(const Retrieval *r, double ahead)
{
	return ahead > retrieval_left(r);
}

RsStatus
retrieval_popularity(Retrieval *r, const MetricsSpec *spec,
					 MetricsResult *result)
{
	Dataset *ds = r->ds;
	size_t mark = arena_mark(r->arena);
	float *one = arena_alloc(r->arena, (size_t) ds->n_users, sizeof(float));
	float *pop = arena_alloc(r->arena, (size_t) ds->n_items, sizeof(float));
	RsStatus st;

	if (one == NULL || pop == NULL)
		return RS_NO_MEMORY;
	if (r->team->rank == 0)
	{
		for (int32_t u = 0; u < ds->n_users; u++)
			one[u] = 1;
		for (int32_t i = 0; i < ds->n_items; i++)
			pop[i] = (float) (ds->item_end[i] - ds->item_ptr[i]);
	}
	if ((st = team_barrier(r->team)) != RS_OK)
		return st;
	st = metrics_run(r->team, r->arena, ds, spec, one, pop, 1, result);
	arena_reset(r->arena, mark);
	return st;
}

static void
put_metric(JobOutput *out, const char *name, int k, double value,
		   double baseline)
{
	JobMetric *m;

	if (out->n_metrics >= JOB_MAX_METRICS)
		return;
	m = &out->metrics[out->n_metrics++];
	memset(m, 0, sizeof(*m));
	strncpy(m->name, name, sizeof(m->name) - 1);
	m->k = k;
	m->value = value;
	m->baseline = baseline;
}

static void
put_metrics(JobOutput *out, const MetricsSpec *spec, const MetricsResult *a,
			const MetricsResult *b)
{
	for (int k = 0; k < spec->n_k; k++)
		put_metric(out, "accuracy", spec->k[k], a->accuracy[k], b->accuracy[k]);
	for (int k = 0; k < spec->n_k; k++)
	{
		if (spec->k[k] == 10 || spec->k[k] == 20)
		{
			put_metric(out, "recall", spec->k[k], a->recall[k], b->recall[k]);
			put_metric(out, "precision", spec->k[k], a->precision[k],
					   b->precision[k]);
			put_metric(out, "ndcg", spec->k[k], a->ndcg[k], b->ndcg[k]);
		}
	}
	put_metric(out, "mrr", 0, a->mrr, b->mrr);
}

RsStatus
retrieval_report(Retrieval *r, bool exclude_seen, const float *u,
				 const float *v, int dim)
{
	MetricsSpec spec = {exclude_seen,
						6,
						{1, 5, 10, 20, 50, 100},
						isfinite(r->limit) ? RETRIEVAL_VALID_USERS : 0};
	MetricsResult model;
	MetricsResult popular;
	RsStatus st;

	if (r->ds->n_held == 0)
		return RS_OK;
	retrieval_phase(r, "evaluating", 0);
	st = metrics_run(r->team, r->arena, r->ds, &spec, u, v, dim, &model);
	if (st == RS_OK)
		st = retrieval_popularity(r, &spec, &popular);
	if (st == RS_OK && r->team->rank == 0)
		put_metrics(&r->job->output, &spec, &model, &popular);
	return st;
}

/* the figures by which towers and implicit ALS were told from each other */
static void
say_compared(const Rival *rival, char *why, size_t size)
{
	if (rival->hurried)
		snprintf(why, size, "max_seconds left no time for towers");
	else if (rival->epoch > 0 && rival->towers < rival->popular)
		snprintf(why, size,
				 "towers stayed below the most popular items: NDCG@20 on "
				 "held-out interactions %.4f and %.4f after %d of %d epochs, "
				 "its own %.4f",
				 rival->towers, rival->popular, rival->epoch, rival->epochs,
				 rival->full);
	else if (rival->epoch > 0)
		snprintf(why, size,
				 "its NDCG@20 on held-out interactions is %.4f, that of towers "
				 "after %d of %d epochs %.4f",
				 rival->full, rival->epoch, rival->epochs, rival->towers);
	else if (rival->full > 0)
		snprintf(why, size,
				 "its NDCG@20 on held-out interactions is %.4f, that of %s "
				 "%.4f",
				 rival->lost ? rival->full : rival->towers,
				 rival->lost ? "towers" : "implicit ALS",
				 rival->lost ? rival->towers : rival->full);
	else
		snprintf(why, size,
				 "its NDCG@20 on held-out interactions is %.4f, that of short "
				 "trainings of implicit ALS %.4f",
				 rival->towers, rival->probe);
}

/* why this learner, behind what it says of itself */
static void
give_reason(JobShared *job, const Rival *rival)
{
	const JobConfig *config = &job->config;
	const JobInput *in = &job->input;
	char *choice = job->output.choice;
	size_t used = strlen(choice);
	long long n = (long long) job->output.n_interactions;
	double share = 100.0 * (double) n / in->n_users / in->n_items;
	int64_t pairs = job_pairs(in);
	const char *why = pairs < FEW ? "the interactions are few"
								  : "the interactions fill much of the matrix";
	char compared[256];

	if (retrieval_loss(config, in) != LOSS_AUTO ||
		config->preset == PRESET_TFRS || choose(config, in) == LEARNER_HIDDEN)
		return;
	if (in->users.n_rows > 0 || in->items.n_rows > 0)
		why = "it takes features in closed form";
	else if (rival->asked)
	{
		say_compared(rival, compared, sizeof(compared));
		why = compared;
	}
	else if (choose(config, in) == LEARNER_TOWERS)
		why = "the catalogue is large and sparse";
	else if (pairs > most_for_towers(config))
		why = "it is the quickest for so many interactions";
	snprintf(choice + used, sizeof(job->output.choice) - used,
			 "; chosen because %s (%lld interactions, %.3g %% of all pairs)",
			 why, n, share);
}

/* a switch or number that a learner cannot change, when it has that value */
static int
same(int wanted, int fixed, int takes)
{
	return wanted == fixed ? takes : 0;
}

static int
taken_by(const JobConfig *config, Learner learner)
{
	/* of all that Adam trains on cosines */
	int cosines = JOB_TAKES_RATE | JOB_TAKES_TEMPERATURE | JOB_TAKES_PATIENCE |
				  JOB_TAKES_REFIT |
				  same(config->normalize, 1, JOB_TAKES_NORMALIZE) |
				  same(config->optimizer, OPTIMIZER_ADAM, JOB_TAKES_OPTIMIZER);

	switch (learner)
	{
		case LEARNER_BATCHES:
			return JOB_TAKES_RATE | JOB_TAKES_BATCH | JOB_TAKES_OPTIMIZER |
				   JOB_TAKES_TEMPERATURE | JOB_TAKES_NEGATIVES |
				   JOB_TAKES_HARD | JOB_TAKES_LOGQ | JOB_TAKES_ACCIDENTAL |
				   JOB_TAKES_NORMALIZE | JOB_TAKES_PATIENCE |
				   same(config->refit, 0, JOB_TAKES_REFIT);
		case LEARNER_TOWERS:
			return cosines | JOB_TAKES_NEGATIVES;
		case LEARNER_HIDDEN:
			return cosines | JOB_TAKES_BATCH | JOB_TAKES_NEGATIVES |
				   JOB_TAKES_HARD | JOB_TAKES_LOGQ | JOB_TAKES_ACCIDENTAL |
				   JOB_TAKES_HIDDEN;
		default:
			return JOB_TAKES_RIDGE | JOB_TAKES_ALPHA0 | JOB_TAKES_REFIT;
	}
}

/* what the learners that ran know of what was asked for */
static void
say_taken(JobShared *job, Learner learner, bool compared)
{
	const JobInput *in = &job->input;
	bool features = in->users.n_rows > 0 || in->items.n_rows > 0;

	job->output.takes |= taken_by(&job->config, learner);
	if (compared)
		job->output.takes |= taken_by(&job->config, LEARNER_IALS);
	if (features && (learner == LEARNER_BATCHES || learner == LEARNER_TOWERS))
		job->output.blind |= JOB_BLIND_RETRIEVAL;
}

RsStatus
retrieval_run(Team *team, JobShared *job, Arena *arena, Dataset *ds,
			  double start, double limit)
{
	Retrieval r = {team, job, arena, ds, start, limit, NULL, NULL};
	Learner learner = choose(&job->config, &job->input);
	Rival rival = {0};
	RsStatus st;

	r.flags = arena_alloc(arena, 16, sizeof(int32_t));
	if (r.flags == NULL)
		return RS_NO_MEMORY;
	switch (learner)
	{
		case LEARNER_BATCHES:
			st = retrieval_tfrs(&r);
			break;
		case LEARNER_TOWERS:
			st = retrieval_compare(&r, &rival);
			break;
		case LEARNER_HIDDEN:
			st = retrieval_hidden(&r);
			break;
		default:
			st = retrieval_ials(&r);
	}
	if (st == RS_OK)
		st = retrieval_check(&r, learner != LEARNER_IALS && !rival.lost &&
									 !rival.hurried && rival.epoch == 0);
	if (st != RS_OK || team->rank != 0)
		return st;
	say_taken(job, learner, rival.asked);
	give_reason(job, &rival);
	return st;
}
