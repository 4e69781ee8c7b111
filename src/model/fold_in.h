/*
 * fold_in.h
 *		The vector of a new user of an implicit ALS model, in closed form.
 *
 * Item vectors stay as they are. For the history S of the user w solves
 *
 *	(sum_S h h^T + alpha0 H^T H + n 1) w = sum_S h + n m,
 *	n = lambda (|S| + alpha0 |I|), m the mean user,
 *
 * which is what training does for each of its users (learning.md, iALS with
 * nu = 1). Models that lie side by side in the vectors are solved one after
 * the other and averaged by dividing by their number.
 */
#ifndef RECSYS_FOLD_IN_H
#define RECSYS_FOLD_IN_H

#include <stdint.h>

#include "math/status.h"

#define FOLD_IN_MAX_DIM 512 /* of one model: the work grows with its cube */
#define FOLD_IN_MEAN 3      /* place of the mean in the parameter "ials" */
#define FOLD_IN_ZEROS 2     /* behind it: activity and usual, or nothing */

typedef struct FoldIn
{
	double lambda; /* > 0 */
	double alpha0; /* >= 0 */
	int blocks;    /* models side by side; divides dim */
	float *mean;   /* (dim) m, what users are pulled to */
	/* a0 (|S| / usual)^activity takes the place of a0; 0: it does not */
	double activity;
	double usual; /* > 0 */
} FoldIn;

/*
 * Gram matrices of the blocks: gram (blocks, d, d) with d = dim / blocks,
 * lower triangles. rows (n, dim). RS_CANCELLED when interrupted.
 */
extern RsStatus fold_in_gram(const FoldIn *fold, const float *rows, int32_t n,
							 int dim, double *gram);
/*
 * history (m, dim) are the item vectors of the history, n the number of all
 * items; user (dim). RS_DIVERGED when the system is not positive definite.
 */
extern RsStatus fold_in_user(const FoldIn *fold, const double *gram, int32_t n,
							 const float *history, int m, int dim, float *user);

#endif
