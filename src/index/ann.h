/*
 * ann.h
 *		The access method ann: stored structs, then functions by file.
 *
 * README.md in this folder has the page layout as a drawing and the rules
 * of locking. Words: a cell is a set of rows near one centroid; a leaf is
 * one head page with its tail pages and holds up to `rows` rows of one cell;
 * the leaves of a cell are chained. The log is the chain of rows that fit no
 * cell's bounds. The static part (rotation, centroids, bounds of the cells)
 * never changes within a generation.
 */
#ifndef RECSYS_ANN_H
#define RECSYS_ANN_H

#include "postgres.h"

#include "access/amapi.h"
#include "access/generic_xlog.h"
#include "fmgr.h"
#include "math/cells.h"
#include "math/codes.h"
#include "math/rotation.h"
#include "nodes/execnodes.h"
#include "pg/pg_compat.h"
#include "storage/bufmgr.h"
#include "storage/bufpage.h"
#include "storage/itemptr.h"
#include "utils/rel.h"

#include "pg/pg_compat.h"

#define ANN_MAGIC 0x414e4e31 /* "ANN1" */
#define ANN_VERSION 4
#define ANN_META_BLOCK 0
/*
 * Heavyweight locks, taken with LockPage: writers hold the structure for
 * share, and who makes a new one exclusively while it puts it in place; that
 * holds off other new ones, VACUUM and checks by the retrain lock all along.
 */
#define ANN_STRUCTURE_LOCK 0
#define ANN_RETRAIN_LOCK 1
#define ANN_MAX_DIM CODE_MAX_DIM
#define ANN_SIGNS_DIM 192    /* from which level 1 may have signs */
#define ANN_SIGNS 0x5349474e /* no changed byte makes it 0, nor 0 it */
#define ANN_MAX_TAILS 64
#define ANN_PAGE_ID 0xA77E

/* support functions of an operator class */
#define ANN_DISTANCE_PROC 1 /* what the operator calls */
#define ANN_METRIC_PROC 2   /* internal -> const AnnMetric * */

typedef enum AnnMetricKind
{
	ANN_IP = 0,
	ANN_L2 = 1,
	ANN_COSINE = 2
} AnnMetricKind;

typedef struct AnnMetric
{
	AnnMetricKind kind;
} AnnMetric;

typedef enum AnnPageKind
{
	ANN_PAGE_META = 1,
	ANN_PAGE_STATIC,
	ANN_PAGE_HEAD,
	ANN_PAGE_TAIL
} AnnPageKind;

/* special space of every page */
typedef struct AnnOpaque
{
	uint32 generation; /* of the structure the page belongs to */
	uint16 kind;
	uint16 page_id; /* ANN_PAGE_ID; last, as other access methods do */
} AnnOpaque;

#define AnnPageOpaque(page) ((AnnOpaque *) PageGetSpecialPointer(page))

/* phases of a build, for pg_stat_progress_create_index */
#define ANN_PHASE_SAMPLE 2
#define ANN_PHASE_TRAIN 3
#define ANN_PHASE_ENCODE 4
#define ANN_PHASE_SORT 5
#define ANN_PHASE_WRITE 6
#define ANN_PHASE_CALIBRATE 7

/* recall levels, and numbers of rows wanted, for which a scan's factors are
 * calibrated */
#define ANN_RECALLS 10
#define ANN_GOALS 2
extern const float ann_recalls[ANN_RECALLS];
extern const int ann_goals[ANN_GOALS];

typedef struct AnnMeta
{
	uint32 magic;
	uint32 version;
	uint32 dim;
	uint32 head;   /* coordinates of level 1 */
	uint32 metric; /* AnnMetricKind */
	uint32 generation;
	uint32 cells;
	uint32 rotated;           /* a rotation is stored */
	uint32 signs;             /* ANN_SIGNS: level 1 has them; else 0 */
	BlockNumber static_block; /* first page of the static part */
	uint32 static_pages;
	uint32 static_crc;
	BlockNumber log_head;   /* InvalidBlockNumber: no log yet */
	BlockNumber log_tail;   /* a page near the end of the log, a hint */
	uint32 log_leaves;      /* leaves of the log */
	uint32 log_built;       /* of them, made at build for odd rows */
	uint32 next_generation; /* no page has this number yet */
	uint32 built_blocks;    /* of the file when this generation was made */
	uint32 own_blocks;      /* of them, of this generation */
	uint64 built_rows;      /* rows when this generation was made */
	uint64 retired_xid;     /* pages of older generations may be used again
							 * when nobody sees this full xid as running */
	double log_length;      /* no longer row is in the log, odd ones aside */
	float z[ANN_GOALS][ANN_RECALLS];     /* factor of a cell's width */
	float share[ANN_GOALS][ANN_RECALLS]; /* of the tail's term in level 1 */
	float residual;                      /* mean |x - centroid| at build */
	float code_error;  /* mean error of a full code at build */
	uint32 free_below; /* pages of generations below may be used again:
							 * no scan can be reading them */
	uint32 queries;    /* sample queries of the calibration; 0: it was
							 * made on rows of the table itself */
} AnnMeta;

/* a cell in the static part */
typedef Cell AnnCell;

/* start of a head page's contents; blocks of codes follow at head_offset */
typedef struct AnnHead
{
	uint32 cell;
	BlockNumber next; /* leaf of the same cell, or InvalidBlockNumber */
	uint16 used;      /* slots ever used, a prefix */
	uint16 dead;      /* of them without a row */
	BlockNumber tail[FLEXIBLE_ARRAY_MEMBER]; /* as many as are in use */
} AnnHead;

/* start of a tail page's contents; its slots follow */
typedef struct AnnTail
{
	uint32 cell;
	BlockNumber head;
	uint32 index; /* which of the head's tails */
} AnnTail;

/* a slot of a tail page: all that a search reads of a row lies together */
typedef struct pg_attribute_packed() pg_attribute_aligned(2) AnnTailRow
{
	float scale; /* of the level-2 codes */
	float error;
	ItemPointerData tid; /* invalid: no row */
	uint8 code[FLEXIBLE_ARRAY_MEMBER];
}
AnnTailRow;

/* where things lie in the pages of one structure: follows from its shape */
typedef struct AnnLayout
{
	CodeShape shape;
	int rows;        /* slots of a leaf, a multiple of CODE_LANES */
	int tails;       /* most tail pages of a leaf */
	int tail_rows;   /* slots of a tail page */
	int head_offset; /* of the first block, from the page's start */
	int block_size;
	int tail_size; /* bytes of level 2 a row */
	int slot_size; /* of an AnnTailRow */
} AnnLayout;

/*
 * In which buffer a block was last seen: saves the lookup in the buffer
 * table. Wrong guesses are noticed.
 */
typedef struct AnnRecent
{
	BlockNumber blocks; /* of buffer */
	Buffer *buffer;
} AnnRecent;

/*
 * Where tau ended in the session's scans of about so many rows: above the mean
 * of the cells' bounds, in their standard deviations. A running mean, and how
 * far off it was.
 */
typedef struct AnnExpected
{
	bool known;
	float tau;
	float off;
} AnnExpected;

#define ANN_EXPECTED 3 /* by the rows wanted: up to 31, 316, more */

/* the static part and the layout, in rd_amcache: one palloc'd piece */
typedef struct AnnCache
{
	AnnLayout layout;
	uint32 generation;
	BlockNumber static_block;
	int dim;
	int cells;
	int blocks; /* of packed centroids */
	bool rotated;
	AnnMetricKind metric;
	Size last_taken; /* rows that the session's last scan returned, and a
					  * few for those that it could not see */
	AnnExpected expected[ANN_EXPECTED];
	AnnRecent recent;
	AnnCell *cell;   /* (cells) */
	float *rotation; /* see math/rotation.h */
	float *centroid; /* packed, rotated */
	float *half;     /* (blocks, 16) half of |centroid|^2; INFINITY: no leaf,
					  * so no row may be inserted */
} AnnCache;

/* a row on its way into the index */
typedef struct AnnRow
{
	ItemPointerData tid;
	CodeRow code;
} AnnRow;

/* ann_page.c */
extern void ann_layout(AnnLayout *layout, CodeShape shape);
extern CodeShape ann_choose_shape(int dim, bool l2, bool signs);
extern CodeShape ann_meta_shape(const AnnMeta *meta);
extern void ann_page_init(Page page, AnnPageKind kind, uint32 generation);
pg_noreturn extern void ann_corrupted(Relation index, BlockNumber block,
									  const char *what);
extern Buffer ann_read_stored(Relation index, BlockNumber block);
/*
 * A page that may be written anew, locked exclusively: one of the free space
 * map, if it is what vacuum took it for; else InvalidBuffer. free_below: of
 * the metapage.
 */
extern Buffer ann_free_page(Relation index, uint32 free_below);
extern void ann_check_page(Relation index, Buffer buffer, AnnPageKind kind,
						   uint32 generation);
/* snapshot: of a scan; 72000 when what it sees may be gone already */
extern void ann_read_meta(Relation index, Snapshot snapshot, AnnMeta *meta);
/* of this format, not an older or a newer one */
extern bool ann_is_current(Relation index);
extern void ann_meta_init(Page page, const AnnMeta *meta);
extern AnnMeta *ann_meta_of(Page page);
extern AnnHead *ann_head_of(Relation index, Buffer buffer,
							const AnnLayout *layout, uint32 generation,
							uint32 cell);
extern AnnTail *ann_tail_of(Relation index, Buffer buffer, uint32 generation,
							BlockNumber head);
extern void ann_head_init(Page page, const AnnLayout *layout, uint32 generation,
						  uint32 cell);
extern void ann_tail_init(Page page, const AnnLayout *layout, uint32 generation,
						  uint32 cell, BlockNumber head, int index);
extern void ann_put_head(Page page, const AnnLayout *layout, int slot,
						 const CodeRow *row);
extern void ann_put_tail(Page page, const AnnLayout *layout, int slot,
						 const AnnRow *row);

#define ANN_TAIL_START (MAXALIGN(SizeOfPageHeaderData) + sizeof(AnnTail))

static inline AnnTailRow *
ann_tail_row(Page tail, const AnnLayout *layout, int slot)
{
	return (AnnTailRow *) ((char *) tail + ANN_TAIL_START +
						   slot * layout->slot_size);
}

/* ann_cache.c */
extern AnnCache *ann_cache(Relation index, const AnnMeta *meta);
extern AnnCache *ann_cache_make(Relation index, const AnnMeta *meta,
								MemoryContext context);
/* ReadBuffer by way of where the block was last */
extern Buffer ann_read(Relation index, AnnRecent *recent, BlockNumber block);
extern Size ann_static_size(const CodeShape *shape, int cells, bool rotated);
extern void ann_cell_centroid(const AnnCache *cache, int cell, float *out);
/* out (dim) = q less the cell's centroid */
extern void ann_cell_difference(const AnnCache *cache, int cell, const float *q,
								float *restrict out);
extern void ann_rotate(const AnnCache *cache, const float *x, float *out);

/* ann_vector.c: from a datum to what is indexed */
extern const AnnMetric *ann_metric(Relation index);
extern int ann_declared_dim(Relation index);
/* the same, with an error for what cannot be indexed */
extern int ann_index_dim(Relation index);
/* false: a row without bounds (zero under cosine, huge), goes to the log */
extern bool ann_prepare(AnnMetricKind metric, const float *x, int dim,
						float *out);
extern const float *ann_datum(Datum value, int dim, Pointer *copy);
extern void ann_encode_odd(const CodeShape *shape, CodeRow *row);

/* ann_queries.c */
/*
 * The table, and its column, whose vectors will be asked for in an index on a
 * column of heap; InvalidOid when not known. NULL, or set by a layer above.
 */
typedef Oid (*AnnQuerySource)(Oid heap, AttrNumber indexed, AttrNumber *column);
extern AnnQuerySource ann_query_source;

/* ann_build.c */
extern IndexBuildResult *annbuild(Relation heap, Relation index,
								  IndexInfo *info);
extern void annbuildempty(Relation index);

/* ann_retrain.c */
/* have rows grown or drifted too far from what the cells were made for?
 * Then VACUUM makes new ones. */
extern bool ann_outgrown(const AnnMeta *meta, const AnnLayout *layout,
						 double rows);
/* are so few left that the cells are too fine for them? VACUUM again */
extern bool ann_shrunk(const AnnMeta *meta, double rows);
/* what an insert waits for grows by it: twice for each attempt that failed */
extern double ann_failed_factor(const AnnMeta *meta);
/* is the log so long that an insert does? */
extern bool ann_log_outgrown(const AnnMeta *meta, const AnnLayout *layout);
/* a new structure from the rows in the index; false: it was not possible */
extern bool ann_retrain(Relation index, Relation heap, uint32 generation,
						bool wait);
/*
 * Entries for the rows that this transaction has put into the table without,
 * in a new structure. Nobody waits for it. Both are locked as for an insert.
 * false: the index must be made anew, having another format or dimension.
 */
extern bool ann_load(Relation index, Relation heap, int dim);

/* ann_insert.c */
extern bool anninsert(Relation index, Datum *values, bool *isnull,
					  ItemPointer tid, Relation heap,
					  IndexUniqueCheck check_unique, bool unchanged,
					  IndexInfo *info);

/* a row into the structure that a retrain is making, and its future
 * metapage; value NULL: a row without bounds */
extern void ann_insert_late(Relation index, AnnMeta *future, ItemPointer tid,
							const Datum *value);

/* ann_scan.c */
extern IndexScanDesc annbeginscan(Relation index, int nkeys, int norderbys);
extern void annrescan(IndexScanDesc scan, ScanKey keys, int nkeys,
					  ScanKey orderbys, int norderbys);
extern bool anngettuple(IndexScanDesc scan, ScanDirection direction);
extern void annendscan(IndexScanDesc scan);

/* ann_vacuum.c */
extern IndexBulkDeleteResult *annbulkdelete(IndexVacuumInfo *info,
											IndexBulkDeleteResult *stats,
											IndexBulkDeleteCallback callback,
											void *state);
extern IndexBulkDeleteResult *annvacuumcleanup(IndexVacuumInfo *info,
											   IndexBulkDeleteResult *stats);

/* ann_validate.c */
extern bool annvalidate(Oid opclass);

/* ann_cost.c */
extern void anncostestimate(struct PlannerInfo *root, struct IndexPath *path,
							double loop_count, Cost *startup, Cost *total,
							Selectivity *selectivity, double *correlation,
							double *pages);

#endif
