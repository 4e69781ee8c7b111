/*
 * retrieval_int.h
 *		What the files of the retrieval stage share.
 */
#ifndef RECSYS_RETRIEVAL_INT_H
#define RECSYS_RETRIEVAL_INT_H

#include "model/ials.h"
#include "model/metrics.h"
#include "model/retrieval.h"
#include "model/softmax.h"

typedef struct Retrieval
{
	Team *team;
	JobShared *job;
	Arena *arena;
	Dataset *ds;
	double start;   /* of the job */
	double limit;   /* by when the stage should have ended, INFINITY: none */
	int32_t *flags; /* (16) shared: what rank 0 decided */
	struct IalsRun *ials; /* where towers are compared with it */
} Retrieval;

/* users whose held-out items judge what is being trained */
#define RETRIEVAL_VALID_USERS 8000

/*
 * What towers are compared with while they train, by NDCG@20 of held-out
 * interactions.
 */
typedef struct Rival
{
	bool asked;     /* false: towers were asked for, nothing is compared */
	double popular; /* the list of the most popular items */
	double probe;   /* the best of some short trainings of implicit ALS */
	double towers;  /* the best so far */
	int epoch;      /* towers were given up after it, 0: not */
	int epochs;
	double full;  /* implicit ALS with its whole search, 0: not trained */
	bool hurried; /* towers were not begun, for lack of time */
	bool lost;    /* implicit ALS takes the place of the towers */
} Rival;

/* functions in retrieval.c */
/* config->loss, or the softmax where an option is set that only it has */
extern JobLoss retrieval_loss(const JobConfig *config, const JobInput *in);
extern void retrieval_phase(Retrieval *r, const char *phase, int epochs);
/* what rank 0 says counts for all: barrier, and the same value for everybody */
extern RsStatus retrieval_agree(Retrieval *r, int32_t *value);
/* metrics on held-out interactions of the popularity in the training part */
extern RsStatus retrieval_popularity(Retrieval *r, const MetricsSpec *spec,
									 MetricsResult *result);
/* validation metrics beside the popularity's, into the output */
extern RsStatus retrieval_report(Retrieval *r, bool exclude_seen,
								 const float *u, const float *v, int dim);
/* seconds since the job began, and until its limit */
extern double retrieval_seconds(const Retrieval *r);
extern double retrieval_room(const Retrieval *r);
/*
 * Seconds until it is time to come to an end; what is left of max_seconds then
 * is for the last judgements and the report. Late: less than `ahead` seconds.
 */
extern double retrieval_left(const Retrieval *r);
extern bool retrieval_late(const Retrieval *r, double ahead);

/* functions in retrieval_check.c */
/* RS_DIVERGED, with the problem said, when the output makes no model */
extern RsStatus retrieval_check(Retrieval *r, bool learnt);

/* functions in retrieval_softmax.c */
extern size_t retrieval_tfrs_size(const JobConfig *config,
								  const JobInput *input, int workers);
extern RsStatus retrieval_tfrs(Retrieval *r);

/*
 * functions in retrieval_towers.c; asks retrieval_compare.c whether to go on,
 * and makes no model when rival->lost
 */
extern size_t retrieval_towers_size(const JobConfig *config,
									const JobInput *input, int workers);
extern RsStatus retrieval_towers(Retrieval *r, Rival *rival);

/* functions in retrieval_compare.c */
/* towers, or implicit ALS where it is better on held-out interactions */
extern RsStatus retrieval_compare(Retrieval *r, Rival *rival);
/* after so many epochs of the towers: whether there is no hope for them */
extern bool retrieval_hopeless(const Rival *rival, int epoch);
/*
 * After the last epoch: where it is not clear already, implicit ALS is
 * trained as it would be alone. When it is better than these towers, it is
 * finished and the model.
 */
extern RsStatus retrieval_contest(Retrieval *r, Rival *rival, const float *u,
								  const float *v, int dim);

/* functions in retrieval_hidden.c */
extern size_t retrieval_hidden_size(const JobConfig *config,
									const JobInput *input, int workers);
extern RsStatus retrieval_hidden(Retrieval *r);

/* functions in retrieval_ials.c */
/* whether interactions may be weighed, by ratings or how often they occur */
extern bool retrieval_ials_weighs(const JobInput *input);
extern size_t retrieval_ials_size(const JobConfig *config,
								  const JobInput *input);
extern RsStatus retrieval_ials(Retrieval *r);

#endif
