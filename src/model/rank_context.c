/*
 * rank_context.c
 *		Biases of the context: what a place or an hour adds to every rating.
 */
#include "model/rank_context.h"

#define DAMP 25.0
#define ROUNDS 5

bool
rank_context_layout(RankContext *x, Arena *arena, const JobInput *in)
{
	x->bias = arena_alloc(arena, (size_t) in->context.n_cols, sizeof(float));
	x->left = arena_alloc(arena, (size_t) in->n, sizeof(float));
	return x->bias != NULL && x->left != NULL &&
		   context_columns_layout(&x->by, arena, &in->context);
}

static void
start(RankContext *x, const RankRun *run, const RankBias *bias)
{
	const Dataset *ds = run->ds;

	context_columns_fill(&x->by, run->context, ds, run->all);
	for (int32_t k = 0; k < run->context->n_cols; k++)
		x->bias[k] = 0;
	for (int32_t u = 0; u < ds->n_users && !rank_stopped(run, u); u++)
		for (int64_t r = ds->user_ptr[u]; r < rank_user_end(run, u); r++)
			x->left[r] = (float) (rank_target(run, r) - bias->mean -
								  bias->user[u] - bias->item[ds->item[r]]);
}

static void
fit_column(RankContext *x, int32_t c)
{
	const int64_t *ptr = x->by.ptr;
	double sum = 0;
	double squares = DAMP;
	float change;

	for (int64_t e = ptr[c]; e < ptr[c + 1]; e++)
	{
		float v = x->by.val[e];

		sum += (double) v * (x->left[x->by.row[e]] + v * x->bias[c]);
		squares += (double) v * v;
	}
	change = (float) (sum / squares) - x->bias[c];
	x->bias[c] += change;
	for (int64_t e = ptr[c]; e < ptr[c + 1]; e++)
		x->left[x->by.row[e]] -= x->by.val[e] * change;
}

RsStatus
rank_context_fit(RankContext *x, RankRun *run, const RankBias *bias)
{
	if (run->team->rank == 0)
	{
		start(x, run, bias);
		for (int round = 0; round < ROUNDS; round++)
			for (int32_t c = 0; c < run->context->n_cols; c++)
			{
				fit_column(x, c);
				if ((c & 1023) == 0 && team_stopped(run->team) != RS_OK)
					break;
			}
	}
	return team_barrier(run->team);
}

float
rank_context_offset(const RankContext *x, const RankRun *run, int64_t r)
{
	const Context *c = run->context;
	float sum = 0;

	for (int64_t e = c != NULL ? context_from(c, r) : 0;
		 c != NULL && e < context_to(c, r); e++)
		sum += c->val[e] * x->bias[c->col[e]];
	return sum;
}
