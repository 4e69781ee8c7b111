/*
 * train_tune.h
 *		What the files of recsys_tune share: the space and its trials.
 */
#ifndef RECSYS_TRAIN_TUNE_H
#define RECSYS_TRAIN_TUNE_H

#include "postgres.h"

#include "utils/jsonb.h"

#include "train/train.h"

/* the values that an option may take */
typedef struct TuneKey
{
	char *name;
	int n;
	JsonbValue *value; /* (n) */
} TuneKey;

typedef struct TuneSpace
{
	int n_keys;
	TuneKey *key;
	double combinations;
} TuneSpace;

typedef struct TuneTrial
{
	int number;  /* 0: what the model has now */
	int *choice; /* (n_keys) number of the value of each key; NULL for 0 */
	int epochs;  /* of its last training, 0: never trained */
	double value;
	const char *why; /* it came to nothing in its last training; or NULL */
	int sqlstate;    /* of why */
	double seconds;  /* of all its trainings */
} TuneTrial;

/* functions in train_space.c */

/*
 * An object of arrays of values; a single value stands for an array of one.
 * Every value is tried on config, so that wrong ones are told at once, and of
 * equal ones one is left.
 */
extern void tune_space_read(Jsonb *space, const JobConfig *config,
							TuneSpace *to);
/* the one to take when none is given */
/* ranking: that stage is measured */
extern Jsonb *tune_space_default(const JobConfig *config, bool ranking);
/*
 * Trial 0 and at most most others: all combinations when there are no more,
 * else different ones drawn by the seed; none that recsys_train would refuse for
 * this model, which is an error when there are no others. Returns how many.
 */
extern int tune_space_trials(const TuneSpace *space, const TrainArgs *model,
							 int most, uint64 seed, TuneTrial **trials);
extern void tune_space_apply(const TuneSpace *space, const TuneTrial *trial,
							 JobConfig *config);
/* its options as an object */
extern Jsonb *tune_space_params(const TuneSpace *space, const TuneTrial *trial);

#endif
