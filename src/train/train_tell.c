/*
 * train_tell.c
 *		What a training tells its user: NOTICEs, and recsys_models.notices.
 *
 * Who trains in the background hears nothing, so the model keeps what was
 * said of it.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/memutils.h"

#include "model/curve.h"
#include "train/train.h"

/* below, no learning curve says anything */
#define FEW_ROWS 50
/* what held-out rows may say against a ranking stage by chance */
#define WORSE 1.02
/* ... against a retrieval stage */
#define POORER 0.9

TrainNotices *train_notices = NULL;

static void
keep(const char *message, const char *more)
{
	MemoryContext old;

	if (train_notices == NULL)
		return;
	old = MemoryContextSwitchTo(train_notices->context);
	train_notices->texts = lappend(
		train_notices->texts,
		more == NULL ? pstrdup(message) : psprintf("%s. %s", message, more));
	MemoryContextSwitchTo(old);
}

/* into a place in shared memory, cut between characters */
void
train_copy_message(char *to, int size, const char *message)
{
	int n = pg_mbcliplen(message, (int) strlen(message), size - 1);

	memcpy(to, message, (Size) n);
	to[n] = '\0';
}

void
train_tell(int elevel, const char *message, const char *detail,
		   const char *hint)
{
	ereport(elevel,
			(errmsg("%s", message), detail ? errdetail("%s", detail) : 0,
			 hint ? errhint("%s", hint) : 0));
	keep(message, hint ? hint : detail);
}

void
train_tell_begin(TrainNotices *notices, const TrainArgs *args)
{
	notices->context = CurrentMemoryContext;
	notices->texts = NIL;
	train_notices = notices;
	/* the caller has heard it */
	if (args->guessed[0] != '\0')
		keep(psprintf("taking %s", args->guessed), NULL);
}

/*
 * Ratings that lie far apart, or few of them, may be beyond the ranking stage,
 * and options may lead the retrieval stage astray. The tutorial's models are what
 * they are.
 */
static void
tell_if_worse(const JobShared *job)
{
	if (job->config.preset == PRESET_TFRS)
		return;
	for (int i = 0; i < job->output.n_metrics; i++)
	{
		const JobMetric *m = &job->output.metrics[i];

		if (strcmp(m->name, "ndcg") == 0 && m->k == 10 &&
			m->value < POORER * m->baseline)
			train_tell(NOTICE,
					   psprintf("retrieval: held-out NDCG@10 is %.4g, that of "
								"the most popular items %.4g",
								m->value, m->baseline),
					   NULL,
					   "Leave the choice of options to the default. Where that "
					   "was done, the rows say little beyond what is popular.");
		if (strcmp(m->name, "rmse") == 0 && m->value > WORSE * m->baseline)
			train_tell(NOTICE,
					   psprintf("ranking: held-out RMSE is %.4g, that of user "
								"and item means %.4g",
								m->value, m->baseline),
					   NULL,
					   "Another ranking_loss (\"sgd\", \"mse\") may do "
					   "better, or the logarithm of the ratings.");
	}
}

/* features that were read for nothing */
static void
tell_blind(const JobShared *job)
{
	if (job->output.blind & JOB_BLIND_RETRIEVAL)
		train_tell(NOTICE,
				   "the retrieval stage does not use the features of users "
				   "and items: its learner knows none",
				   NULL,
				   job->config.preset == PRESET_TFRS
					   ? "The presets \"default\" and \"best\" do."
					   : "Loss \"ials\" does, and towers do: hidden => "
						 "'{64}'.");
	if (job->output.blind & JOB_BLIND_RANKING)
		train_tell(NOTICE,
				   "the ranking stage does not use the features of users and "
				   "items: its learner knows none",
				   NULL, "ranking_loss \"ordinal\", \"gibbs\" and \"mse\" do.");
}

/* options that had no effect, or less than was asked for */
static void
tell_unused(const TrainArgs *args, const JobShared *job)
{
	const JobOutput *out = &job->output;
	char *unused = train_options_unused(&args->config, out->takes);

	if (unused != NULL)
		train_tell(
			NOTICE,
			psprintf("the learners that were trained take no %s", unused), NULL,
			"loss and ranking_loss among the options choose others.");
	if (out->most_dim > 0)
		train_tell(NOTICE,
				   psprintf("the learner of the ranking stage takes at most %d "
							"dimensions, not %d",
							out->most_dim, args->config.dim),
				   NULL, NULL);
}

/* a curve of too few rows, or of ratings that are all the same, tells nothing */
static bool
has_curve(const JobOutput *out, const char *stage)
{
	if (strcmp(stage, "ranking") == 0)
		for (int i = 0; i < out->n_metrics; i++)
			if (strcmp(out->metrics[i].name, "rmse") == 0 &&
				out->metrics[i].baseline == 0)
				return false;
	return out->n_interactions >= FEW_ROWS;
}

void
train_tell_result(const TrainArgs *args, const TrainRows *rows,
				  const JobShared *job)
{
	static const char *const stages[] = {"retrieval", "ranking"};
	const JobOutput *out = &job->output;
	char text[256];

	if (out->problem[0] != '\0')
		train_tell(WARNING, pnstrdup(out->problem, sizeof(out->problem) - 1),
				   NULL, NULL);
	/* recsys_models.choice has it */
	if (out->choice[0] != '\0')
		ereport(NOTICE,
				(errmsg("%.*s", (int) sizeof(out->choice) - 1, out->choice)));
	tell_unused(args, job);
	tell_blind(job);
	if (job->config.positive_kind != args->config.positive_kind)
		train_tell(NOTICE, "ratings of 0 or less do not count as interest",
				   NULL,
				   "positive says which ratings do: positive => 'rating >= "
				   "4', or all of them by a number below the least.");
	if (rows->none_above)
		train_tell(NOTICE,
				   "no rating is above 0, so every row counts as interest",
				   NULL,
				   "positive says which ratings do: positive => 'rating >= "
				   "-1'.");
	tell_if_worse(job);
	for (int i = 0; i < (int) lengthof(stages); i++)
		if (has_curve(out, stages[i]) &&
			curve_judge(job, stages[i], text, sizeof(text)) != CURVE_FLAT)
			train_tell(NOTICE, text, NULL, NULL);
}
