/*
 * tower_train.h
 *		Two towers with features and hidden layers, trained by a softmax over
 *		the items of a batch.
 *
 * The input of a tower is the sum of an embedding of the id, of what all
 * have, and of the features' embeddings (each times its value); tower.h has
 * the layers behind it. Scores are cosines by a temperature. So that features
 * learn to stand for ids, ids are dropped at random while training
 * (Volkovs, Yu, Poutanen 2017), and those without an interaction never have
 * one. What a user had last and the context are the query tower's alone
 * (tower_query.h). The loss is that of softmax.h over the batch's items and
 * uniform negatives beside them, items deduplicated, each row of a batch a
 * user of its own; Adam, lazy for rows of embeddings.
 */
#ifndef RECSYS_TOWER_TRAIN_H
#define RECSYS_TOWER_TRAIN_H

#include "math/arena.h"
#include "model/softmax.h"
#include "model/tower.h"
#include "model/tower_query.h"

/* of a batch's users, whatever the team: so sums stay the same */
#define TOWER_PIECES 4

/* what random numbers are for */
enum
{
	TOWER_STREAM_ORDER = 2,
	TOWER_STREAM_DROP,
	TOWER_STREAM_NEGATIVE
};

typedef struct TowerConfig
{
	int dim;
	int n_hidden;
	int hidden[JOB_MAX_HIDDEN];
	int batch;     /* interactions */
	int negatives; /* uniform items a batch, beside in-batch ones */
	int hard;      /* as in softmax.h; 0: all candidates count */
	bool remove_accidental;
	float temperature;
	float learning_rate;
	float dropout; /* of the ids of a side that has features or history */
	int history;   /* last items of a user, pooled; 0: none */
	bool logq;
	uint64_t seed;
} TowerConfig;

typedef struct TowerSide
{
	int32_t n;
	int32_t n_cols; /* features, without what all have */
	const int64_t *ptr;
	const int32_t *col;
	const float *val;
	bool *known; /* (n) has interactions in training */
	TowerRows id;
	TowerRows feature; /* (n_cols + 1), the last one is what all have */
	TowerRows layer;   /* (1, n_params) */
} TowerSide;

/*
 * Everything but the softmax's scratch is shared by the team. Of a batch the
 * first member computes the users' tower, the last one the items', and all of
 * them the scores between the two, in pieces that do not depend on the team:
 * the result is the same for any number of members.
 */
typedef struct Towers
{
	TowerConfig config;
	Tower net;
	TowerSide side[2]; /* users, items */
	TowerQuery query;
	int64_t n;     /* training interactions */
	int32_t *user; /* (n) shuffled each epoch */
	int32_t *item;
	float *share;   /* (n_items) of the interactions */
	int32_t *drawn; /* (n_drawn) items with interactions: the negatives */
	int32_t n_drawn;
	int64_t step;
	float *work;   /* memory of a batch */
	bool *with_id; /* (batch + max_cand) whose ids are not dropped */
	double *loss;  /* (TOWER_PIECES) of a batch */
	Softmax sm;    /* its rows are the towers' vectors of the batch */
} Towers;

/* a batch is no larger than the data */
extern void tower_limit(TowerConfig *c, const JobInput *in);
extern size_t tower_train_size(const TowerConfig *c, const JobInput *in);
/*
 * all: held-out interactions are trained on, too. Whole team;
 * tower_train_free, also after a failure. Embeddings of ids and features are
 * zero, which cannot be trained: the caller gives them values.
 */
extern RsStatus tower_train_init(Team *team, Arena *arena, JobShared *job,
								 const Dataset *ds, const TowerConfig *c,
								 bool all, Towers *t);
extern void tower_train_free(Towers *t);
/* one pass of the whole team, a barrier at its end; *loss for rank 0 */
extern RsStatus tower_train_epoch(Team *team, Towers *t, int epoch,
								  JobProgress *progress, double *loss);
/* unit vectors (n, dim) of a side, for this member's rows */
extern RsStatus tower_vectors(Team *team, const Towers *t, int side,
							  float *out);

static inline uint64_t
tower_stream(int what, int64_t number)
{
	return ((uint64_t) what << 56) ^ (uint64_t) number;
}

/*
 * Functions in tower_step.c: the input x (dim) of a row's tower, without a
 * user's history; and a step by n training interactions from number `from` on.
 */
extern void tower_input(const TowerSide *s, int32_t row, bool with_id,
						float *x);
extern RsStatus tower_step(Team *team, Towers *t, int64_t from, int n);

#endif
