/*
 * softmax.h
 *		Towers of id embeddings trained by a softmax over a batch's items.
 *
 * The loss of a batch of interactions (u, i), with s = <u, i> / temperature,
 * is the SUM over its rows of log Z - s(u, i), where Z runs over the items
 * of all rows of the batch (in-batch negatives), over shared uniform
 * negatives beside them, or over all items. Since the towers have nothing but
 * ids, rows of one user share their scores: users and items of a batch are
 * deduplicated exactly, items carry their multiplicity as a weight
 * (w_j = n_j, or n_j / q_j with the logQ correction):
 *
 *	Z_u = sum_j w_j exp(s_uj)
 *	dL/ds_uj = m_u w_j exp(s_uj) / Z_u - m_uj
 *
 * Hard negatives are chosen by s - log q, after the correction, as TensorFlow
 * Recommenders does; there a row's negatives may be other rows' items of the
 * same user, here those always count and never take a place.
 *
 * The team cuts the users of a batch: each member computes the scores of its
 * users against all items of the batch, and its part of the items'
 * gradients, which are then summed in the order of the ranks.
 *
 * softmax_plain is the same loss row by row as TensorFlow Recommenders
 * writes it (tasks/retrieval.py): the reference of the tests.
 */
#ifndef RECSYS_SOFTMAX_H
#define RECSYS_SOFTMAX_H

#include "math/arena.h"
#include "math/status.h"
#include "math/team.h"
#include "model/dataset.h"
#include "model/job.h"

typedef struct SoftmaxConfig
{
	int dim;
	int batch;              /* interactions */
	int negatives;          /* uniform items a batch, beside in-batch ones */
	int hard;               /* of the candidates that a user has no row with,
							 * only so many count, the highest-scored; 0: all */
	bool all;               /* all items are candidates, each with weight 1 */
	bool logq;              /* divide weights by the sampling probability */
	bool remove_accidental; /* a row's own item counts once in its Z */
	bool normalize;         /* scores are cosines */
	bool shuffle_once;      /* the same batches in every epoch */
	float temperature;
	float lr;
	float init; /* uniform in (-init, init) */
	JobOptimizer optimizer;
	uint64_t seed;
} SoftmaxConfig;

/* what one member keeps for a batch; private memory */
typedef struct SoftmaxScratch
{
	int32_t *slot;  /* (n_items) place in cand, or -1 */
	int32_t *cand;  /* (n_cand) items of the batch */
	float *weight;  /* (n_cand) w_j */
	float *logq;    /* (n_cand) log q_j, 0 without the correction */
	int32_t *fill;  /* (n_users) rows of a user in the batch, then places */
	int32_t *users; /* (batch) this member's users */
	int32_t *ptr;   /* (batch + 1) their rows */
	int32_t *pos;   /* (batch) candidates of the rows, by user */
	float *q;       /* (tile, dim) */
	float *dq;      /* (tile, dim) */
	float *c;       /* (n_cand, dim) */
	float *s;       /* (tile, n_cand) scores, then their gradients */
	float *qn;      /* (tile) norms */
	float *cn;      /* (n_cand) norms */
	float *row;     /* (batch) a value for each row of a user */
	float *pick;    /* (n_cand) scores, to find the hardest among them */
	int n_cand;
	int n_users;
} SoftmaxScratch;

typedef struct Softmax
{
	SoftmaxConfig config;
	int32_t n_users;
	int32_t n_items;
	int64_t n_rows;    /* training interactions */
	int max_cand;      /* most candidates a batch can have */
	int tile;          /* users whose scores are computed at a time */
	int64_t step;      /* batches done */
	int32_t user_from; /* this member's users */
	int32_t user_to;

	/* shared */
	int32_t *row_user; /* (n_rows), shuffled each epoch */
	int32_t *row_item;
	int64_t *item_freq; /* (n_items) */
	float *u;           /* (n_users, dim) */
	float *v;           /* (n_items, dim) */
	float *u_state[2];  /* accumulators of the optimizer */
	float *v_state[2];
	float *dc;    /* (workers, max_cand, dim) gradients of items */
	double *loss; /* (TEAM_MAX * 8) sums of the members */
	SoftmaxScratch own;
} Softmax;

extern size_t softmax_size(const SoftmaxConfig *config, int32_t n_users,
						   int32_t n_items, int64_t n, int workers);
/* the training part of ds is used, repeated pairs as often as they occur */
extern RsStatus softmax_init(Team *team, Arena *arena, const Dataset *ds,
							 const SoftmaxConfig *config, Softmax *sm);
/* one pass over the rows; *loss is the mean over rows of log Z - s */
extern RsStatus softmax_epoch(Team *team, Softmax *sm, int epoch,
							  JobProgress *progress, double *loss);
extern void softmax_free(Softmax *sm);

/* max_cand, and a tile of so many users at most, by config and n_items */
extern void softmax_limits(Softmax *sm, int most);
/* the scratch alone, of these sizes; softmax_free, also after a failure */
extern RsStatus softmax_alloc(Softmax *sm);

/*
 * Functions in softmax_block.c: loss of the batch that own describes, over
 * this member's users. apply gets the gradients own.dq of the n users
 * own.users[first ..]; those of the candidates go into dc (n_cand, dim).
 */
typedef void (*SoftmaxApply)(Softmax *sm, int first, int n);
extern void softmax_candidates(Softmax *sm);
extern RsStatus softmax_block(Team *team, Softmax *sm, float *dc,
							  SoftmaxApply apply, double *loss);

/*
 * reference: rows (n) of (user, item), behind their items the batch's uniform
 * negatives; du, dv (all users, items) +=. Scores are inner products, whatever
 * config's normalize.
 */
extern double softmax_plain(const SoftmaxConfig *config, const int32_t *user,
							const int32_t *item, int n, const float *u,
							const float *v, const double *log_q, double *du,
							double *dv, int32_t n_items);

#endif
