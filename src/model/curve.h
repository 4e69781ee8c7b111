/*
 * curve.h
 *		What the learning curves in a job's log say about a training.
 *
 * A curve is a run of log entries of one stage with rising epochs; a stage
 * that trains several times (trials, validation, all rows) has several. The
 * last one with a validation figure is looked at, else the last one.
 *
 *	over-fit	the validation figure was best before the last epoch and fell
 *				by more than CURVE_CHANGE of itself
 *	under-fit	it was best at the last epoch and rose by more than that in
 *				the last quarter of the epochs; or, without validation, more
 *				than a quarter of the fall of the training loss happened there
 */
#ifndef RECSYS_CURVE_H
#define RECSYS_CURVE_H

#include "model/job.h"

#define CURVE_CHANGE 0.01

typedef enum CurveVerdict
{
	CURVE_FLAT, /* or too short to say anything */
	CURVE_OVERFIT,
	CURVE_UNDERFIT
} CurveVerdict;

/* text (size): one sentence for the user, empty when flat */
extern CurveVerdict curve_judge(const JobShared *job, const char *stage,
								char *text, size_t size);

#endif
