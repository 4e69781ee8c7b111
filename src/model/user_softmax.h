/*
 * user_softmax.h
 *		Two towers of id embeddings, trained by a sampled softmax that is
 *		shared by all positives of a user.
 *
 * The loss of a user u with positives P_u and scores s_ui = cos(u, i) / tau:
 *
 *		L_u = |P_u| log sum_{j in N} exp(s_uj) - sum_{i in P_u} s_ui
 *
 * where N is one uniform sample of items that a whole batch shares (N = all
 * items gives the exact softmax). One row of the score matrix serves every
 * positive of the user in the batch, so that a batch of b users costs
 * 6 b |N| d flop however many interactions it holds: the usual batch of
 * interactions (Wu et al., "On the effectiveness of sampled softmax loss for
 * item recommendation", TOIS 2024) pays that for each interaction.
 *
 * To be updated often enough, a user with many positives visits several
 * batches of an epoch with at most `positives` of them each. Optimizer: Adam
 * (Kingma, Ba 2015), lazy: rows without a gradient stay as they are.
 */
#ifndef RECSYS_USER_SOFTMAX_H
#define RECSYS_USER_SOFTMAX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "math/arena.h"
#include "math/status.h"
#include "math/team.h"
#include "model/dataset.h"

typedef struct UserSoftmaxConfig
{
	int dim;
	int epochs;
	int batch;           /* visits of a batch */
	int positives;       /* of one visit, at most */
	int negatives;       /* of one batch; >= n_items: all of them */
	float temperature;   /* tau */
	float learning_rate; /* of Adam, falling linearly to 0 when decay */
	float user_rate;     /* factor of the users' learning rate */
	float init;          /* standard deviation of the first values */
	bool decay;
	/*
	 * Distillation (Hinton et al. 2015): a share of each positive goes to the
	 * teacher's softmax over the same negatives and at the same temperature.
	 */
	float teacher_share; /* 0: no teacher */
	int teacher_dim;
	const float *teacher_users; /* (n_users, teacher_dim) unit rows */
	const float *teacher_items; /* (n_items, teacher_dim) */
	uint64_t seed;
} UserSoftmaxConfig;

/*
 * Called by every member after each epoch (from 1), with the mean loss of a
 * positive; may use the team's barriers. *stop true ends the training.
 */
typedef RsStatus (*UserSoftmaxEpoch)(void *arg, Team *team, int epoch,
									 double loss, bool *stop);

/* bytes of arena for one training */
extern size_t user_softmax_arena_size(const UserSoftmaxConfig *config,
									  int64_t n_users, int64_t n_items,
									  int64_t n_interactions, int members);

/*
 * data: positives by user. users (n_users, dim) and items (n_items, dim),
 * shared: filled with random
 * values first unless `warm`, then trained. They are not normalised here:
 * user_softmax_normalize makes unit rows of them. RS_DIVERGED when a loss is
 * not finite.
 */
extern RsStatus user_softmax_train(Team *team, const DatasetSide *data,
								   const UserSoftmaxConfig *config,
								   Arena *arena, float *users, float *items,
								   bool warm, UserSoftmaxEpoch epoch_done,
								   void *arg);

/* unit rows times scale; rows of length 0 stay 0. Whole team, one barrier */
extern RsStatus user_softmax_normalize(Team *team, float *rows, int64_t n,
									   int dim, float scale);

/*
 * The loss and its gradients for one batch, plain and slow: reference of the
 * unit test. user_grad (n_users, dim), item_grad (n_items, dim) are added
 * to; negatives (n_neg). Returns the loss.
 */
extern double user_softmax_reference(const DatasetSide *data, int dim,
									 float temperature, const float *users,
									 const float *items,
									 const int32_t *negatives, int n_neg,
									 float *user_grad, float *item_grad);

#endif
