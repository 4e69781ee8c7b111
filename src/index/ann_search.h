/*
 * ann_search.h
 *		The search behind a scan: which rows may come next.
 *
 * Words: the score S is what is maximised (codes.h); a candidate is a row
 * whose full code was read, with bounds of its score; the frontier is a
 * score above which every row is a candidate.
 */
#ifndef RECSYS_ANN_SEARCH_H
#define RECSYS_ANN_SEARCH_H

#include "postgres.h"

#include "index/ann.h"

/* how a row was found */
typedef struct AnnLevel1
{
	float bound; /* of S after level 1 */
	float tail;  /* the part of it that `share` scales */
} AnnLevel1;

typedef struct AnnCandidate
{
	double key; /* upper bound of S, or S when exact */
	union
	{
		double value; /* when exact: the operator's result */
		AnnLevel1 level1;
	};
	float low; /* lower bound of S */
	int32 cell;
	bool exact;
	ItemPointerData tid;
} AnnCandidate;

typedef struct AnnOpened
{
	float bound; /* of the cell's scores */
	int32 cell;
} AnnOpened;

/* a leaf that was read: its rows' level-1 bounds are kept */
typedef struct AnnLeaf
{
	BlockNumber block;
	int32 cell;
	int32 rows;
	Size at; /* in AnnSearch.bound */
} AnnLeaf;

/* what the bounds of rows in a cell have in common */
typedef struct AnnCellTerms
{
	float base;  /* with slack */
	float slack; /* of one cell */
} AnnCellTerms;

typedef struct AnnSearch
{
	Relation index;
	Snapshot snapshot;     /* of the scan; NULL: what rows are is not asked */
	MemoryContext context; /* reset at rescan */
	Size most;             /* bytes of the arrays, then to disk; 0: no limit */
	struct AnnRest *rest;  /* NULL: not yet */
	MemoryContext arrays;  /* of the arrays below */
	bool of_session;       /* knows what scans before found, leaves it to the
							* next, and its arrays too */
	AnnMeta meta;
	bool far;       /* pages mostly are not in the processor's cache */
	double z;       /* factor of the cells' width, 1: proven */
	double share;   /* factor of the tail's term in level 1, 1: proven */
	bool unbounded; /* the query says nothing: every row must be looked at */
	float *q;       /* (dim) rotated; of length 1 unless L2 */
	double q_norm;  /* its length */
	double tiny;    /* what denormals may add to a score */
	float *dot;     /* (cells) q . centroid */
	CodeQuery query;
	float *added; /* (layout.rows) to bounds of the leaf at hand by signs */

	AnnOpened *cell; /* heap of cells not opened yet, best first */
	int cells;
	float cells_mean, cells_deviation; /* of their bounds, as far as finite */
	AnnLeaf *leaf;
	int leaves;
	Size leaf_room;
	float *bound; /* of the rows of leaves, 16 by 16; -FLT_MAX: already a
				   * candidate, or no row */
	Size bounds, bound_room;

	AnnCandidate *candidate; /* [0, active) a heap, the rest below the
							  * frontier */
	Size active, candidates, candidate_room;
	float *low; /* least of the best `goal` lower bounds on top */
	Size lows, low_room;
	Size first_goal; /* rows that the first round is for */
	Size goal;       /* of this round */
	float floor;     /* where tau is expected to end: bounds below it wait */
	double frontier;
	bool exhausted;    /* every row is a candidate */
	AnnRecent *recent; /* of the cache, within a round */
} AnnSearch;

/* ann_arrays.c */
/* empty ones, from the session's last scan where nobody else has them */
extern void ann_arrays(AnnSearch *search);
/* the array with room for `more` elements after `used`; contents stay */
extern void *ann_reserve(AnnSearch *search, void *array, Size used, Size more,
						 Size *room, Size width);

/* ann_search.c */
/*
 * The rows that the first round is for, by what the session's last scan took,
 * and the factors for them and recsys.target_recall.
 */
extern void ann_search_target(AnnSearch *search);
/* q (dim) in the column's or in rotated coordinates */
extern void ann_search_begin(AnnSearch *search, const float *q, bool rotated);
extern void ann_search_end(AnnSearch *search, double taken, double skipped);
/* open more; false when nothing was left to open */
extern bool ann_search_round(AnnSearch *search);

/* ann_candidates.c */
/* those that reach the frontier become the heap */
extern void ann_candidates_heap(AnnSearch *search);
/* into the heap, where all candidates are in it */
extern void ann_candidates_push(AnnSearch *search, const AnnCandidate *c);
/* the best candidate, or NULL when none reaches the frontier */
extern AnnCandidate *ann_search_top(AnnSearch *search);
extern void ann_search_pop(AnnSearch *search);
/* the top's exact score is known */
extern void ann_search_settle(AnnSearch *search, double score, double value);

/* ann_rest.c */
/* after each leaf: if the arrays are at their limit, all rows go there now */
extern void ann_rest_look(AnnSearch *search);
extern void ann_rest_sort(AnnSearch *search); /* all rows are there */
/* those that may come next into the candidates' heap */
extern void ann_rest_feed(AnnSearch *search);
extern void ann_rest_end(AnnSearch *search);

/* ann_cells.c */
/* all cells into search->cell, the best first */
extern void ann_cells_list(AnnSearch *search, const AnnCache *cache);
/* those that are not opened, with the factor z that is set now */
extern void ann_cells_bound_again(AnnSearch *search, const AnnCache *cache);
extern int ann_cells_pop(AnnSearch *search); /* the best one's number */
/* prepare search->query for the rows of a cell */
extern AnnCellTerms ann_cell_terms(AnnSearch *search, const AnnCache *cache,
								   int cell);
/*
 * Upper bound of the scores in a cell with q . centroid = dot, its width taken
 * z times; of a query of length q_norm. The index's cache is there.
 */
extern float ann_cells_bound(const AnnSearch *search, int cell, float dot,
							 double q_norm, double z);

#endif
