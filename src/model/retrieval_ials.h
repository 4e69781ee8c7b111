/*
 * retrieval_ials.h
 *		What the files of the implicit ALS learner share: its state.
 */
#ifndef RECSYS_RETRIEVAL_IALS_H
#define RECSYS_RETRIEVAL_IALS_H

#include "model/retrieval_prior.h"

#define TUNE_DIM 32
#define IALS_MAX_TRIALS 64 /* a probe of 16, a search of 32, and room */
#define IALS_TUNE_EPOCHS 5

typedef struct IalsTrial
{
	int lambda; /* in steps of sqrt 3 from the start */
	int alpha0;
	bool to_zero;
	double value; /* what the search goes by */
	double ndcg;  /* @20 */
} IalsTrial;

typedef struct IalsRun
{
	Retrieval *r;
	Ials als;
	IalsConfig base;   /* start of the search */
	IalsConfig chosen; /* its end */
	int epochs;
	double seconds;       /* that the final training took */
	double trial_seconds; /* that the longest trial took */
	int best_epoch; /* of the logged training, by the held-out interactions */
	double best_value;
	double last_value;
	IalsTrial trial[IALS_MAX_TRIALS];
	int n_trials;
	int n_known; /* of them, done before the search */
	int most_trials;
	int n_wider;  /* trials with more dimensions than the search began with */
	int most_dim; /* that may be tried */
	bool wide;    /* trials have all dimensions, however many interactions */
	bool fix_lambda;
	bool fix_alpha0;
	int starts; /* models whose scores are averaged */
	float *u;   /* (n_users, starts * dim); als.w itself where that will do */
	float *v;   /* (n_items, starts * dim) */
	RetrievalPrior user_prior;
	RetrievalPrior item_prior;
	RetrievalMean user_mean; /* prior of users where they have no features */
	bool to_zero;            /* no prior after all */
	float slope;             /* of the weights, 0: none */
	float activity;          /* zeros of a user by n^activity, 0: all alike */
	float usual;             /* n of a user whose zeros count alpha0 */
	float *zeros;            /* (n_users), see IalsSide */
	float *user_weight;      /* (n), NULL where nothing weighs */
	float *item_weight;
	bool rating_log; /* its logarithm counts: mean and deviation of it */
	double rating_mean;
	double rating_std;
	float *fold_in; /* the parameter "ials", see put_fold_in */
} IalsRun;

/*
 * functions in retrieval_ials.c: a training in two parts, so that something
 * else can be compared with what the first one has found; run is zero but for
 * r and trials that were done before
 */
/* search and training on the training part, into run->u and run->v */
extern RsStatus ials_first(IalsRun *run);
/* the report, the training on all interactions, the result */
extern RsStatus ials_finish(IalsRun *run);
/*
 * Half a search alone; *ndcg: @20 of the best short training.
 * Keeps nothing in the arena; ials_first knows its trials.
 */
extern RsStatus ials_probe(IalsRun *run, double *ndcg);
/* the best of those with more dimensions, as long as they gain; the same rules */
extern RsStatus ials_probe_wide(IalsRun *run, double *ndcg);

extern void ials_set_dim(IalsConfig *c, int dim);
/*
 * So many epochs, at least `least` of them when max_seconds are over; all: on
 * held-out interactions too; log: tell the job.
 */
extern RsStatus ials_train(IalsRun *run, int epochs, int least, bool all,
						   bool log);
/*
 * Held-out interactions against the vectors as the learner has them. *value
 * is what the search goes by: a high alpha0 favours the first places
 * (NDCG@10), a low one the whole list (recall@20), and the sum wants both.
 */
extern RsStatus ials_validate(IalsRun *run, double *value, double *ndcg);

/* functions in retrieval_ials_weights.c */
/* memory for them, where interactions may be weighed */
extern RsStatus ials_alloc_weights(IalsRun *run);
/* weights of all interactions, by run->slope */
extern RsStatus ials_fill_weights(IalsRun *run);

/* functions in retrieval_ials_tune.c */
/* the best config, run->to_zero, activity and slope; nothing held out: config
 * stays */
extern RsStatus ials_tune(IalsRun *run, IalsConfig *config);
/* from both starts, onwards from the better one; *ndcg of the best trial */
extern RsStatus ials_tune_half(IalsRun *run, double *ndcg);
/* the best known point with twice the dimensions, and again while that gains */
extern RsStatus ials_tune_wide(IalsRun *run, double *ndcg);

#endif
