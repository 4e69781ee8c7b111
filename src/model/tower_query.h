/*
 * tower_query.h
 *		What only the users' tower has: the history of a user, and the context.
 *
 * History: the mean of vectors of the user's last n items, added to the input
 * of the tower (as in Covington, Adams, Sargin 2016). In training the item
 * that is to be found is left out. Context: the sum of its columns' vectors,
 * added to the tower's vector of unit length, so that a stored user vector
 * plus that sum asks on an occasion; in training it is dropped now and then,
 * so that a vector without it is one to ask with as well.
 */
#ifndef RECSYS_TOWER_QUERY_H
#define RECSYS_TOWER_QUERY_H

#include "math/arena.h"
#include "math/rng.h"
#include "model/context.h"
#include "model/dataset.h"

/* a table of parameters of which few rows have a gradient at a time */
typedef struct TowerRows
{
	int64_t n;
	int dim;
	float *x; /* (n, dim) and so on */
	float *m; /* Adam's moments */
	float *v;
	float *g;       /* gradients of the batch, of touched rows */
	int32_t *stamp; /* (n) batch that g is of */
	int32_t *touched;
	int32_t n_touched;
} TowerRows;

typedef struct TowerQuery
{
	int dim;
	int n_history;     /* 0: none */
	int32_t *last;     /* (n_users, n_history + 1) items, the newest first */
	int32_t *n_last;   /* (n_users) */
	TowerRows history; /* (n_items, dim) */

	Context context;    /* n_cols 0: none */
	TowerRows column;   /* (n_cols, dim) */
	uint32_t *place;    /* (n) rows of the data set, shuffled as the others */
	bool *with_context; /* (batch) */
	float *length;      /* (batch) of the tower's vectors */
	float *unit;        /* (dim) */
} TowerQuery;

/* functions in tower_train.c */
extern bool tower_rows_layout(TowerRows *r, Arena *arena, int64_t n, int dim);
extern void tower_rows_start(TowerRows *r, uint64_t seed, uint64_t number,
							 double scale);
/* the gradient of a row of batch now, zero at first */
extern float *tower_gradient(TowerRows *r, int32_t row, int32_t now);

/* functions in tower_query.c */
extern bool tower_query_layout(TowerQuery *q, Arena *arena, const JobInput *in,
							   int dim, int n_history, int batch);
/* whole team; q was laid out */
extern RsStatus tower_query_start(TowerQuery *q, Team *team,
								  const JobShared *job, const Dataset *ds,
								  bool all, uint64_t seed);
/* add to x (dim) the history of user without item (-1: with all) */
extern void tower_add_history(const TowerQuery *q, int32_t user, int32_t item,
							  float *x);
extern void tower_scatter_history(TowerQuery *q, int32_t user, int32_t item,
								  const float *dx, int32_t now);
/* y (n, dim) becomes of unit length, plus the context of rows place (n) */
extern void tower_add_context(TowerQuery *q, const uint32_t *place, int n,
							  float *y, Rng *rng);
/* dq (n, dim), the gradient by that, becomes that by y as it was */
extern void tower_scatter_context(TowerQuery *q, const uint32_t *place, int n,
								  const float *y, float *dq, int32_t now);

#endif
