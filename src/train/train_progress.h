/*
 * train_progress.h
 *		Trainings that run now, for everybody to see.
 *
 * A small table in the server's main shared memory, made on first use (no
 * preload is needed). Every leader has one entry from the moment its workers
 * are asked for until its control block is detached, and copies its job's
 * progress into it a few times a second.
 */
#ifndef RECSYS_TRAIN_PROGRESS_H
#define RECSYS_TRAIN_PROGRESS_H

#include "postgres.h"

#include "storage/dsm.h"

#include "train/train.h"

/* an entry of this backend, given back when the segment (if any) is detached */
extern void train_progress_begin(const TrainArgs *args, Oid role,
								 dsm_segment *segment);
/* what the leader itself does: reading, encoding, publishing */
extern void train_progress_phase(const char *phase);
/* rows read so far, as the batch of the phase */
extern void train_progress_rows(int64 rows);
/* copy from the job; NULL is allowed; tells new epochs after some seconds */
extern void train_progress_update(const JobShared *job);

/*
 * Leave the entry with the reason of a failure, for those who did not wait;
 * false when this backend has no entry.
 */
extern bool train_progress_failed(const char *problem, bool cancelled);

#endif
