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
	double start;
	int32_t *flags; /* (16) shared: what rank 0 decided */
} Retrieval;

/* users whose held-out items judge what is being trained */
#define RETRIEVAL_VALID_USERS 8000

/* functions in retrieval.c */
extern void retrieval_phase(Retrieval *r, const char *phase, int epochs);
/* what rank 0 says counts for all: barrier, and the same value for everybody */
extern RsStatus retrieval_agree(Retrieval *r, int32_t *value);
/* metrics on held-out interactions of the popularity in the training part */
extern RsStatus retrieval_popularity(Retrieval *r, const MetricsSpec *spec,
									 MetricsResult *result);
/* validation metrics beside the popularity's, into the output */
extern RsStatus retrieval_report(Retrieval *r, bool exclude_seen,
								 const float *u, const float *v, int dim);
/* seconds since the job began; whether config.max_seconds is over */
extern double retrieval_seconds(const Retrieval *r);
extern bool retrieval_late(const Retrieval *r);

/* functions in retrieval_softmax.c */
extern size_t retrieval_tfrs_size(const JobConfig *config,
								  const JobInput *input, int workers);
extern RsStatus retrieval_tfrs(Retrieval *r);

/*
 * functions in retrieval_towers.c; below: they were given up, since they
 * stayed below the popularity
 */
extern size_t retrieval_towers_size(const JobConfig *config,
									const JobInput *input, int workers);
extern RsStatus retrieval_towers(Retrieval *r, bool *below);

/* functions in retrieval_hidden.c */
extern size_t retrieval_hidden_size(const JobConfig *config,
									const JobInput *input);
extern RsStatus retrieval_hidden(Retrieval *r);

/* functions in retrieval_ials.c */
/* whether ratings weigh interactions, if there are any */
extern bool retrieval_ials_weighs(const JobInput *input);
extern size_t retrieval_ials_size(const JobConfig *config,
								  const JobInput *input);
extern RsStatus retrieval_ials(Retrieval *r);

#endif
