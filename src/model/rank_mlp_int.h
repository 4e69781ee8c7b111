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
#define MLP_SIDES 3          /* users, items, context */
#define RANK_MLP_DROPOUT 0.5 /* of the ids of rows that have features */

/* the vectors of one side; rank_mlp_input.c says how they lie */
typedef struct MlpInput
{
	int32_t n;        /* users, items; 0 of the context */
	size_t first;     /* row of the first one's id */
	int32_t n_cols;   /* of the features */
	size_t first_col; /* row of the first column */
	const int64_t *ptr;
	const int32_t *col;
	const float *val;
	float *grad;    /* (n_cols, dim) of the batch, shared */
	int32_t *stamp; /* (n_cols) step that grad is of, shared */
	float *map;     /* (n_cols + 1, width) for the output, shared */
} MlpInput;

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
	int sides;     /* 3 with context */
	bool plain;    /* neither features nor context */
	size_t rows;   /* of vectors */
	bool dropping; /* ids at random, while training */
	MlpInput inputs[MLP_SIDES];
	ContextColumns by;

	/* shared; users and items lie one behind the other in "vectors" */
	float *vectors; /* (rows, dim) */
	float *params;  /* (n_params) */
	float *vectors_state;
	float *params_state;
	float *vectors_best;
	float *params_best;

	float *out[2]; /* users' and items' vectors, when not plain */

	/* of users, items, rows; at most side_rows of them are in a batch */
	float *part[MLP_SIDES];     /* (side_rows, h1) parts of z0 */
	float *sum[MLP_SIDES];      /* (side_rows, h1) gradient by the parts */
	float *grad_row[MLP_SIDES]; /* (side_rows, dim) gradient by the inputs */

	float *z0;        /* (batch, h1), then the gradient by it */
	float *x0;        /* (batch, sides dim) with cross layers: the inputs,
					   * then the gradient by them */
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
/* the optimizer's step of row `row` of the vectors by its gradient g (dim) */
extern void rank_mlp_optimize(MlpTrain *t, size_t row, const float *g);

/* functions in rank_mlp_input.c */
extern void rank_mlp_input_plan(MlpTrain *t, const JobInput *in);
extern bool rank_mlp_input_layout(MlpTrain *t, Arena *arena,
								  const JobInput *in);
extern void rank_mlp_input_start(MlpTrain *t);
/* to (dim): of a user, an item, or of the context of a row of the data set */
extern void rank_mlp_input(const MlpTrain *t, int side, int64_t id, float *to);
/* is the id part of the input in this step? */
extern bool rank_mlp_has_id(const MlpTrain *t, int side, int64_t id);
/* ids (n) or places (n): those that rows are of */
extern void rank_mlp_columns_step(MlpTrain *t, int side, const int32_t *ids,
								  const uint32_t *places, int n,
								  const float *rows, size_t stride);
/* rank 0: vectors and maps */
extern void rank_mlp_input_output(MlpTrain *t);

/*
 * Where the inputs of a side begin in the network's input: users, context,
 * items, since a stored user's vector has room for the context's behind it.
 */
static inline int
rank_mlp_block(const MlpTrain *t, int side)
{
	static const int place[MLP_SIDES] = {0, 2, 1};

	return (t->sides > 2 ? place[side] : side) * t->plan.dim;
}

#endif
