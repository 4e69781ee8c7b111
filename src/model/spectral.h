/*
 * spectral.h
 *		First vectors of two towers from the spectrum of the interactions.
 *
 * The leading singular vectors of N = D_u^-1/2 X D_i^-1/2, X (U, I) the 0/1
 * interaction matrix and D the degrees, by randomised subspace iteration
 * (Halko, Martinsson, Tropp 2011): N ~ A S B^T, users A S^1/2, items
 * B S^1/2. As the start of user_softmax it replaces the first epochs, in
 * which random vectors find out who is near whom, and ends better: on
 * Yelp2018 (validation part of the training rows) 15 epochs from here reach
 * what 40 epochs from random values do not.
 */
#ifndef RECSYS_SPECTRAL_H
#define RECSYS_SPECTRAL_H

#include "math/arena.h"
#include "math/status.h"
#include "math/team.h"
#include "model/dataset.h"

extern size_t spectral_arena_size(int64_t n_users, int64_t n_items, int dim,
								  int members);

/*
 * users (n_users, dim), items (n_items, dim), shared. by_user and by_item
 * are the two sides of the same interactions. Columns beyond the rank of N, or
 * beyond the first 512, get small random values. The same seed gives the same
 * bytes in any team.
 */
extern RsStatus spectral_vectors(Team *team, const DatasetSide *by_user,
								 const DatasetSide *by_item, int dim,
								 uint64_t seed, Arena *arena, float *users,
								 float *items);

#endif
