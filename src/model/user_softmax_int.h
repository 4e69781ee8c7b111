/*
 * user_softmax_int.h
 *		What the files of user_softmax share: the state of a training.
 */
#ifndef RECSYS_USER_SOFTMAX_INT_H
#define RECSYS_USER_SOFTMAX_INT_H

#include <math.h>

#include "math/vec.h"
#include "model/user_softmax.h"

#define USER_SOFTMAX_BETA1 0.9f
#define USER_SOFTMAX_BETA2 0.999f
#define USER_SOFTMAX_TILE 256 /* users of one product, about */
#define USER_SOFTMAX_MOST 384 /* users of one product */

/* a (item, user row) pair of the batch */
typedef struct Pair
{
	int32_t item;
	int32_t row;
} Pair;

/* one visit of a user to a batch: positives from .. from + n - 1 */
typedef struct Visit
{
	int32_t user;
	int32_t n;
	int64_t from;
} Visit;

typedef struct Trainer
{
	Team *team;
	const DatasetSide *data;
	const UserSoftmaxConfig *config;
	int dim;
	int n_neg;

	/* shared by the team */
	float *users;  /* (n_users, dim) */
	float *items;  /* (n_items, dim) */
	float *user_m; /* Adam's moments, as users */
	float *user_v;
	float *item_m;
	float *item_v;
	int32_t *positive; /* (interactions) items, shuffled within each user */
	Visit *visit;      /* (n_visits) in the order of the epoch */
	int64_t n_visits;
	int32_t *item_order; /* (n_items) negatives are taken from it in turn */
	float *row;          /* (members, batch, dim) unit users of the batch */
	float *neg_grad;     /* (members, n_neg, dim) */
	Pair *pair;          /* (members, batch * positives) by whose item it is */
	int32_t *pair_end;   /* (members, members) of those of each member */
	double *loss;        /* (members) */

	/* of this member alone */
	float *neg_unit; /* (n_neg, dim) */
	float *neg_length;
	float *score;         /* (tile, n_neg) */
	float *teacher_score; /* (tile, n_neg), NULL without a teacher */
	float *teacher_row;   /* (tile, teacher_dim) */
	float *teacher_neg;   /* (n_neg, teacher_dim) */
	float *user_grad;     /* (tile, dim) */
	float *unit;          /* (dim) of one item */
	float *user_length;
	int32_t *batch_user; /* (batch) users of the merged visits */
	int32_t *weight;     /* (batch) their positives */
	Pair *of_user;       /* (batch * positives) this member's, by user */
	int32_t n_pairs;
	float *acc; /* (capacity, dim) gradients of touched items */
	int32_t *acc_item;
	int32_t n_acc;
	int32_t *acc_of; /* (n_items) place in acc */
	int32_t *stamp;  /* (n_items) batch that acc_of is of */
	int32_t now;
	int64_t step;
} Trainer;

/* unit vector of src into dst; returns the length, at least 1e-12 */
static inline float
user_softmax_unit(float *dst, const float *src, int dim)
{
	float length = sqrtf(vec_dot(src, src, dim));
	float f;

	if (length < 1e-12f)
		length = 1e-12f;
	f = 1 / length;
	for (int c = 0; c < dim; c++)
		dst[c] = src[c] * f;
	return length;
}

/* functions in user_softmax_step.c: the two phases of a batch */
extern RsStatus user_softmax_users(Trainer *t, const Visit *visit, int n,
								   const int32_t *negative, float rate,
								   float root);
extern void user_softmax_items(Trainer *t, const int32_t *negative, float rate,
							   float root);

#endif
