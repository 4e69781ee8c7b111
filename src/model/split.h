/*
 * split.h
 *		Holding out interactions for validation.
 */
#ifndef RECSYS_SPLIT_H
#define RECSYS_SPLIT_H

#include "model/dataset.h"

/*
 * Move held-out interactions behind the training ones of their user and
 * item. SPLIT_RANDOM and SPLIT_TIME hold out exactly round(fraction * n)
 * rows, the latter the newest ones (equal times: by the seed); SPLIT_LAST
 * each user's newest row when the user has two or more. Without times
 * SPLIT_TIME and SPLIT_LAST are RS_INVALID. A split undoes the one before
 * it. At least one row stays for training. Called by the whole team.
 */
extern RsStatus dataset_split(Team *team, Dataset *ds, JobSplit kind,
							  double fraction, uint64_t seed);

/* put everything back into the training part */
extern RsStatus dataset_unsplit(Team *team, Dataset *ds);

#endif
