/*
 * rank_mlp_int.h
 *		What the files of rank_mlp share: the plan and the state of a training.
 */
#ifndef RECSYS_RANK_MLP_INT_H
#define RECSYS_RANK_MLP_INT_H

#include "model/mlp.h"
#include "model/rank_batch.h"
#include "model/rank_mlp.h"

#define RANK_MLP_TILE 1024

typedef struct MlpPlan
{
	int dim; /* of a user's and of an item's vector */
	Mlp mlp;
	int batch;
	int tile;    /* rows of a tile */
	int n_tiles; /* of a full batch */
	int epochs;
	int patience; /* 0: none */
	JobOptimizer optimizer;
	float rate;
	bool scaled; /* targets are standardised while training */
} MlpPlan;

typedef struct MlpTrain
{
	RankRun *run;
	MlpPlan plan;
	RankBatches batches;
	double shift; /* target = (rating - shift) / scale */
	double scale;

	/* shared; users and items lie one behind the other in "vectors" */
	float *vectors; /* (n_users + n_items, dim) */
	float *params;  /* (n_params) */
	float *vectors_state;
	float *params_state;
	float *vectors_best;
	float *params_best;

	/* of users and of items; at most side_rows of them are in a batch */
	float *part[2];     /* (side_rows, h1) parts of z0 */
	float *sum[2];      /* (side_rows, h1) gradient by the parts */
	float *grad_row[2]; /* (side_rows, dim) gradient by the vectors */

	float *z0;        /* (batch, h1), then the gradient by it */
	float *x0;        /* (batch, 2 dim) with cross layers: both vectors, then
					   * the gradient by them */
	float *grad;      /* (n_params) */
	float *grad_tile; /* (n_tiles, n_params - tail) */
	double *loss;     /* (n_tiles) */

	/* private */
	float *gather; /* (2 tile or side_rows, dim) */
	float *scratch;
	int step; /* for Adam */
} MlpTrain;

/*
 * functions in rank_mlp_step.c: the phases of one batch, by the whole team;
 * adds the batch's loss to *loss
 */
extern RsStatus rank_mlp_step(MlpTrain *t, const RankBatch *b, double *loss);

#endif
