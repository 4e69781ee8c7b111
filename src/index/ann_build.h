/*
 * ann_build.h
 *		How an index is made, by CREATE INDEX or again by a retrain: what
 *		ann_build.c, ann_train.c, ann_write.c and ann_retrain.c share.
 *
 * A build goes: sample rows (ann_train_offer), find cells and rotation
 * (ann_train), then every row (ann_build_row) into a sort by cell, perhaps by
 * several processes (ann_team_run), then pages in that order and the static
 * part (ann_write_all).
 */
#ifndef RECSYS_ANN_BUILD_H
#define RECSYS_ANN_BUILD_H

#include "postgres.h"

#include "access/tableam.h"
#include "index/ann.h"
#include "math/partition.h"
#include "math/rng.h"
#include "utils/tuplesort.h"

/* bits of a sort key below the cell's number */
#define ANN_SORT_SHIFT 43

typedef struct AnnBuild
{
	Relation index;
	MemoryContext context; /* everything of this build */
	AnnMetricKind metric;
	int dim;
	AnnLayout layout;
	AnnMeta meta;
	Size memory; /* bytes of maintenance_work_mem */
	Rng rng;

	/* the sample */
	float *sample; /* (sampled, dim) */
	int sampled;
	int sample_room;
	double seen;   /* rows offered to the sample */
	bool left_out; /* deleted rows of another dimension were there */
	double total;  /* rows estimated */

	/* what training gives */
	Partition part;
	int cells;
	float *rotation;    /* see math/rotation.h, or NULL */
	float *centroid;    /* (cells, dim), rotated */
	AnnCell *cell;      /* (cells) */
	const float *query; /* (queries, dim) sample queries, or NULL */
	int queries;

	/* rows on their way */
	Tuplesortstate *sort;
	TupleTableSlot *slot;   /* into the sort */
	TupleTableSlot *sorted; /* out of it */
	bytea *payload;
	float *scratch; /* (3, dim rounded up) */
	CodeRow code;
	double rows;
	double residual_sum;
	double error_sum;
} AnnBuild;

/* parallel workers that encode and sort beside the leader */
typedef struct AnnTeam AnnTeam;

/* ann_train.c */
extern void ann_train_begin(AnnBuild *build); /* room for the sample */
extern void ann_train_offer(AnnBuild *build, Datum value);
extern void ann_train(AnnBuild *build);
/* n vectors in place, into rotated coordinates */
extern void ann_train_rotate(AnnBuild *build, float *v, int n);
/* ranges of all cells, empty; cells and centroids are there */
extern void ann_train_begin_cells(AnnBuild *build);
extern Size ann_rotation_size(const AnnBuild *build); /* bytes; 0: none */
extern Size ann_centroids_size(const AnnBuild *build);

/* ann_build.c */
extern void ann_build_init(AnnBuild *build, Relation index, int dim);
/* of the pages to be written, before any of them or of their rows is there */
extern void ann_build_layout(AnnBuild *build, bool signs);
/* memory in bytes; coordinate: NULL when no team sorts */
extern void ann_build_begin_sort(AnnBuild *build, Size memory,
								 SortCoordinate coordinate);
extern void ann_build_end_sort(AnnBuild *build);
/* all rows of the heap, or of a parallel scan what falls to us, into the
 * sort; returns the number of the heap's rows */
extern double ann_build_rows(AnnBuild *build, Relation heap, IndexInfo *info,
							 TableScanDesc scan);
extern void ann_build_row(AnnBuild *build, ItemPointer tid, Datum value);
/* a row without bounds: every scan looks at it */
extern void ann_build_odd_row(AnnBuild *build, ItemPointer tid);
extern void ann_build_close_cells(AnnBuild *build);

/* ann_queries.c: fills build->query when a layer above knows who asks */
extern void ann_sample_queries(AnnBuild *build, Relation heap, IndexInfo *info);

/* ann_parallel.c: in this order, with tuplesort_performsort and the writing
 * of pages between the last two */
/* NULL: no worker could be had */
extern AnnTeam *ann_team_begin(AnnBuild *build, Relation heap, IndexInfo *info,
							   int workers);
/* returns the number of the heap's rows */
extern double ann_team_run(AnnTeam *team, AnnBuild *build, Relation heap,
						   IndexInfo *info);
extern void ann_team_end(AnnTeam *team);

/* ann_calibrate.c: factors of build->meta, when all pages are written */
extern void ann_calibrate(AnnBuild *build);

/* ann_write.c */
extern Size ann_payload_size(const AnnLayout *layout);
extern void ann_write_payload(const AnnBuild *build, char *to, ItemPointer tid);
/*
 * Leaves and static part; fills build->meta. The metapage is there.
 * retrain: others use the index meanwhile.
 */
extern void ann_write_all(AnnBuild *build, bool retrain);
extern void ann_write_meta(AnnBuild *build, ForkNumber fork);

#endif
