/*
 * ann_build.c
 *		CREATE INDEX: sample, find cells, encode and sort all rows, write.
 *
 * Memory: half of maintenance_work_mem for the sample, half for the sorts of
 * all participants; the static part (centroids) comes on top and is about
 * 2 % of the index.
 */
#include "postgres.h"

#include <math.h>

#include "access/generic_xlog.h"
#include "access/tableam.h"
#include "access/xloginsert.h"
#include "catalog/index.h"
#include "catalog/pg_operator_d.h"
#include "catalog/pg_type_d.h"
#include "commands/progress.h"
#include "executor/tuptable.h"
#include "index/ann_build.h"
#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "pg/pg_compat.h"
#include "pg/pg_pause.h"
#include "pgstat.h"
#include "postmaster/autovacuum.h"
#include "type/vector.h"
#include "utils/backend_progress.h"
#include "utils/memutils.h"
#include "utils/sampling.h"

static void
phase(int64 number)
{
	pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, number);
	PAUSE_POINT(psprintf("ann_phase_%d", (int) number));
}

void
ann_build_init(AnnBuild *build, Relation index, int dim)
{
	int wide;

	memset(build, 0, sizeof(*build));
	build->index = index;
	build->dim = dim;
	build->metric = ann_metric(index)->kind;
	build->memory = (Size) (pg_is_autovacuum() && autovacuum_work_mem >= 0
								? autovacuum_work_mem
								: maintenance_work_mem) *
					1024;
	build->context = CurrentMemoryContext;
	ann_build_layout(build, false);
	rng_init(&build->rng, 1, 2);
	wide = (build->dim + CODE_LANES) * 4;
	build->scratch = palloc0(sizeof(float) * wide);
	build->code.codes = palloc0(build->dim + 4); /* whatever the layout */
	build->meta.magic = ANN_MAGIC;
	build->meta.version = ANN_VERSION;
	build->meta.dim = build->dim;
	build->meta.metric = build->metric;
	build->meta.generation = 1;
	build->meta.next_generation = 2;
	build->meta.static_block = InvalidBlockNumber;
	build->meta.log_head = build->meta.log_tail = InvalidBlockNumber;
	/* until it is calibrated: all that the bounds say */
	for (int g = 0; g < ANN_GOALS; g++)
		for (int i = 0; i < ANN_RECALLS; i++)
			build->meta.z[g][i] = build->meta.share[g][i] = 1;
}

void
ann_build_layout(AnnBuild *build, bool signs)
{
	ann_layout(&build->layout,
			   ann_choose_shape(build->dim, build->metric == ANN_L2, signs));
	build->meta.head = build->layout.shape.head;
	build->meta.signs = signs ? ANN_SIGNS : 0;
}

/*
 * A deleted row, which only older snapshots see, of another dimension: a new
 * version of a model has changed it since. The index leaves the row out, and
 * must not be used under such a snapshot.
 */
static bool
left_out(AnnBuild *build, Datum value, bool alive)
{
	Vector *v;
	bool other;

	if (likely(alive))
		return false;
	v = vector_from_datum(value);
	other = v->dim != build->dim;
	if ((Pointer) v != DatumGetPointer(value))
		pfree(v);
	build->left_out |= other;
	return other;
}

static void
sample_callback(Relation index, ItemPointer tid, Datum *values, bool *isnull,
				bool alive, void *state)
{
	if (!isnull[0] && !left_out(state, values[0], alive))
		ann_train_offer(state, values[0]);
}

/* rows of at most sample_room blocks of the heap, chosen at random */
static void
sample_heap(AnnBuild *build, Relation heap, IndexInfo *info)
{
	BlockNumber blocks = RelationGetNumberOfBlocks(heap);
	BlockSamplerData sampler;
	double read = 0;

	if (blocks <= (BlockNumber) build->sample_room)
	{
		table_index_build_scan(heap, build->index, info, false, false,
							   sample_callback, build, NULL);
		build->total = build->seen;
		return;
	}
	BlockSampler_Init(&sampler, blocks, build->sample_room, 1);
	while (BlockSampler_HasMore(&sampler))
	{
		CHECK_FOR_INTERRUPTS();
		table_index_build_range_scan(heap, build->index, info, false, true,
									 false, BlockSampler_Next(&sampler), 1,
									 sample_callback, build, NULL);
		read++;
	}
	build->total = build->seen / Max(read, 1) * blocks;
}

void
ann_build_begin_sort(AnnBuild *build, Size memory, SortCoordinate coordinate)
{
	AttrNumber attribute = 1;
	Oid operator= Int8LessOperator;
	Oid collation = InvalidOid;
	bool nulls_first = false;
	TupleDesc desc = CreateTemplateTupleDesc(2);
	Size payload = VARHDRSZ + ann_payload_size(&build->layout);

	TupleDescInitEntry(desc, 1, "cell", INT8OID, -1, 0);
	TupleDescInitEntry(desc, 2, "row", BYTEAOID, -1, 0);
	build->slot = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	build->sorted = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	build->payload = palloc0(payload);
	SET_VARSIZE(build->payload, payload);
	build->sort = tuplesort_begin_heap(
		desc, 1, &attribute, &operator, & collation, &nulls_first,
		(int) Max(memory / 1024, 64), coordinate, TUPLESORT_NONE);
}

void
ann_build_end_sort(AnnBuild *build)
{
	tuplesort_end(build->sort);
	ExecDropSingleTupleTableSlot(build->slot);
	ExecDropSingleTupleTableSlot(build->sorted);
	pfree(build->payload);
	build->sort = NULL;
}

/*
 * By cell, then by TID: unique, so that pages do not depend on who encoded a
 * row. A cell's number takes 20 bits (the sample has fewer rows), the
 * offset 11 (more than a page of the heap has).
 */
static int64
sort_key(uint32 cell, ItemPointer tid)
{
	return ((int64) cell << ANN_SORT_SHIFT) |
		   ((int64) ItemPointerGetBlockNumber(tid) << 11) |
		   (ItemPointerGetOffsetNumber(tid) & 0x7ff);
}

static void
sort_row(AnnBuild *build, uint32 cell, ItemPointer tid)
{
	TupleTableSlot *slot = build->slot;

	ann_write_payload(build, VARDATA(build->payload), tid);
	ExecClearTuple(slot);
	slot->tts_values[0] = Int64GetDatum(sort_key(cell, tid));
	slot->tts_values[1] = PointerGetDatum(build->payload);
	slot->tts_isnull[0] = slot->tts_isnull[1] = false;
	ExecStoreVirtualTuple(slot);
	tuplesort_puttupleslot(build->sort, slot);
	build->rows++;
}

void
ann_build_odd_row(AnnBuild *build, ItemPointer tid)
{
	ann_encode_odd(&build->layout.shape, &build->code);
	sort_row(build, build->cells, tid);
}

void
ann_build_row(AnnBuild *build, ItemPointer tid, Datum value)
{
	int dim = build->dim, wide = dim + CODE_LANES, c;
	float *x = build->scratch, *turned = x + wide, *r = turned + wide;
	const float *v;
	Pointer copy;

	if (!ann_prepare(build->metric, ann_datum(value, dim, &copy), dim, x) ||
		build->cells == 0)
		ann_build_odd_row(build, tid);
	else
	{
		c = partition_assign(&build->part, x);
		if (build->rotation != NULL)
			rotation_apply(build->rotation, dim, build->layout.shape.head, x,
						   turned);
		else
			memcpy(turned, x, sizeof(float) * dim);
		v = build->centroid + (Size) c * dim;
		for (int j = 0; j < dim; j++)
			r[j] = turned[j] - v[j];
		code_encode(&build->layout.shape, r, &build->code);
		build->residual_sum += cell_widen(build->cell + c, turned, r, v, dim);
		build->error_sum += build->code.error;
		sort_row(build, c, tid);
	}
	if (copy != NULL)
		pfree(copy);
}

static void
build_callback(Relation index, ItemPointer tid, Datum *values, bool *isnull,
			   bool alive, void *state)
{
	if (!isnull[0] && !left_out(state, values[0], alive))
		ann_build_row(state, tid, values[0]);
}

double
ann_build_rows(AnnBuild *build, Relation heap, IndexInfo *info,
			   TableScanDesc scan)
{
	/* in workers, progress is reported nowhere */
	double tuples = table_index_build_scan(heap, build->index, info, true, true,
										   build_callback, build, scan);

	/* what makes CREATE INDEX keep older snapshots away (indcheckxmin) */
	if (build->left_out)
		info->ii_BrokenHotChain = true;
	return tuples;
}

void
ann_build_close_cells(AnnBuild *build)
{
	for (int c = 0; c < build->cells; c++)
		cell_close(build->cell + c, build->dim);
}

/*
 * All rows of the heap into the sort, by a team when workers can be had; then
 * that is returned and holds what is sorted.
 */
static AnnTeam *
begin_rows(AnnBuild *build, Relation heap, IndexInfo *info, double *tuples)
{
	int workers = pg_index_build_workers(heap, build->index, info);
	AnnTeam *team = NULL;

	if (workers > 0)
		team = ann_team_begin(build, heap, info, workers);
	if (team != NULL)
		*tuples = ann_team_run(team, build, heap, info);
	else
	{
		ann_build_begin_sort(build, build->memory / 2, NULL);
		*tuples = ann_build_rows(build, heap, info, NULL);
	}
	return team;
}

static void
write_index(AnnBuild *build)
{
	Relation index = build->index;

	ann_write_meta(build, MAIN_FORKNUM);
	ann_write_all(build, false);
	phase(ANN_PHASE_CALIBRATE);
	ann_calibrate(build);
	ann_write_meta(build, MAIN_FORKNUM);
	if (RelationNeedsWAL(index))
		log_newpage_range(index, MAIN_FORKNUM, 0,
						  RelationGetNumberOfBlocks(index), true);
}

IndexBuildResult *
annbuild(Relation heap, Relation index, IndexInfo *info)
{
	IndexBuildResult *result = palloc(sizeof(IndexBuildResult));
	MemoryContext context = AllocSetContextCreate(
		CurrentMemoryContext, "ann build", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	AnnBuild *build = palloc(sizeof(AnnBuild));
	AnnTeam *team;

	ann_build_init(build, index, ann_index_dim(index));
	if (RelationGetNumberOfBlocks(index) != 0)
		elog(ERROR, "index \"%s\" already contains data",
			 RelationGetRelationName(index));
	phase(ANN_PHASE_SAMPLE);
	ann_train_begin(build);
	sample_heap(build, heap, info);
	ann_sample_queries(build, heap, info);
	phase(ANN_PHASE_TRAIN);
	ann_train(build);
	phase(ANN_PHASE_ENCODE);
	team = begin_rows(build, heap, info, &result->heap_tuples);
	phase(ANN_PHASE_SORT);
	tuplesort_performsort(build->sort);
	ann_build_close_cells(build);
	phase(ANN_PHASE_WRITE);
	write_index(build);
	result->index_tuples = build->rows;
	ann_build_end_sort(build);
	if (team != NULL)
		ann_team_end(team);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return result;
}

/* the init fork of an unlogged index: an index without rows */
void
annbuildempty(Relation index)
{
	AnnBuild *build = palloc(sizeof(AnnBuild));

	ann_build_init(build, index, ann_index_dim(index));
	ann_write_meta(build, INIT_FORKNUM);
	pfree(build);
}
