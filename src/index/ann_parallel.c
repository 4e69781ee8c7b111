/*
 * ann_parallel.c
 *		CREATE INDEX by several processes: the leader samples, trains and
 *		writes; in between all of them encode and sort rows.
 *
 * What training gave lies in the shared segment and is only read there. Each
 * participant, the leader too, takes blocks of the heap from one parallel
 * scan, sorts its rows into a tape of its own and leaves the ranges of cells
 * over them in the segment. The leader merges ranges and tapes. Sort keys
 * are unique, so the pages are the same whoever encoded a row.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "executor/instrument.h"
#include "index/ann_build.h"
#include "miscadmin.h"
#include "pg/pg_hooks.h"
#include "pgstat.h"
#include "storage/condition_variable.h"
#include "storage/spin.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* pieces of the segment */
#define KEY_SHARED UINT64CONST(0xA770000000000001)
#define KEY_MODEL UINT64CONST(0xA770000000000002)
#define KEY_CELLS UINT64CONST(0xA770000000000003)
#define KEY_SORT UINT64CONST(0xA770000000000004)
#define KEY_QUERY UINT64CONST(0xA770000000000005)
#define KEY_WAL UINT64CONST(0xA770000000000006)
#define KEY_BUFFERS UINT64CONST(0xA770000000000007)

/* entry of a worker, found by name */
extern PGDLLEXPORT void recsys_ann_worker(dsm_segment *segment, shm_toc *toc);

typedef struct Shared
{
	Oid heap;
	Oid index;
	bool concurrent;
	int participants; /* that were asked for */
	int cells;
	bool rotated;
	bool signs;
	Size centroids; /* where they begin in the model, bytes */
	Size rotation;
	ConditionVariable sorted; /* a worker has sorted its rows */
	slock_t mutex;            /* of what follows: sums over workers */
	int done;
	double tuples; /* of the heap */
	double rows;
	double residual_sum;
	double error_sum;
	bool broken_hot_chain;
} Shared;

struct AnnTeam
{
	ParallelContext *context;
	Shared *shared;
	AnnCell *cell; /* (workers, cells) ranges that each worker found */
	Sharedsort *sort;
	Snapshot snapshot;
	WalUsage *wal;        /* (workers) */
	BufferUsage *buffers; /* (workers) */
	int participants;     /* that came, the leader too */
};

static ParallelTableScanDesc
shared_scan(Shared *shared)
{
	return (ParallelTableScanDesc) ((char *) shared +
									BUFFERALIGN(sizeof(Shared)));
}

/* encode and sort this process's part of the rows; returns the heap's rows */
static double
take_part(AnnBuild *build, Shared *shared, Sharedsort *sort, Relation heap,
		  IndexInfo *info)
{
	SortCoordinateData coordinate = {
		.isWorker = true, .nParticipants = -1, .sharedsort = sort};
	TableScanDesc scan = table_beginscan_parallel(heap, shared_scan(shared));
	double tuples;

	ann_build_begin_sort(build, build->memory / 2 / shared->participants,
						 &coordinate);
	tuples = ann_build_rows(build, heap, info, scan);
	tuplesort_performsort(build->sort);
	ann_build_end_sort(build);
	return tuples;
}

/* --- the leader */

/* partition, rotation and centroids, each of whole 64 bytes */
static Size
model_size(const AnnBuild *build, Shared *shared)
{
	shared->rotation = TYPEALIGN(64, partition_size(&build->part));
	shared->centroids =
		shared->rotation + TYPEALIGN(64, ann_rotation_size(build));
	return shared->centroids + ann_centroids_size(build);
}

static void
save_model(const AnnBuild *build, const Shared *shared, char *model)
{
	partition_save(&build->part, model);
	if (shared->rotated)
		memcpy(model + shared->rotation, build->rotation,
			   ann_rotation_size(build));
	memcpy(model + shared->centroids, build->centroid,
		   ann_centroids_size(build));
}

static void
estimate(shm_toc_estimator *toc, Size size)
{
	shm_toc_estimate_chunk(toc, size);
	shm_toc_estimate_keys(toc, 1);
}

static void *
put(ParallelContext *context, uint64 key, Size size)
{
	void *at = shm_toc_allocate(context->toc, size);

	shm_toc_insert(context->toc, key, at);
	return at;
}

/* fill the segment; sizes are those that begin_team estimated */
static void
fill_segment(AnnTeam *team, const AnnBuild *build, const Shared *plan,
			 Relation heap, Size scan_size, Size model)
{
	ParallelContext *context = team->context;
	int workers = context->nworkers;
	Size query = debug_query_string ? strlen(debug_query_string) + 1 : 0;

	team->shared =
		put(context, KEY_SHARED, BUFFERALIGN(sizeof(Shared)) + scan_size);
	memcpy(team->shared, plan, sizeof(Shared));
	ConditionVariableInit(&team->shared->sorted);
	SpinLockInit(&team->shared->mutex);
	table_parallelscan_initialize(heap, shared_scan(team->shared),
								  team->snapshot);
	save_model(build, plan, put(context, KEY_MODEL, model));
	team->cell = put(context, KEY_CELLS,
					 sizeof(AnnCell) * (Size) workers * (plan->cells + 1));
	team->sort = put(context, KEY_SORT, tuplesort_estimate_shared(workers + 1));
	tuplesort_initialize_shared(team->sort, workers + 1, context->seg);
	team->wal = put(context, KEY_WAL, sizeof(WalUsage) * workers);
	team->buffers = put(context, KEY_BUFFERS, sizeof(BufferUsage) * workers);
	if (query > 0)
		memcpy(put(context, KEY_QUERY, query), debug_query_string, query);
}

AnnTeam *
ann_team_begin(AnnBuild *build, Relation heap, IndexInfo *info, int workers)
{
	AnnTeam *team = palloc0(sizeof(AnnTeam));
	Shared plan = {.heap = RelationGetRelid(heap),
				   .index = RelationGetRelid(build->index),
				   .concurrent = info->ii_Concurrent,
				   .participants = workers + 1,
				   .cells = build->cells,
				   .rotated = build->rotation != NULL,
				   .signs = build->layout.shape.signs};
	ParallelContext *context;
	Size scan_size, model = model_size(build, &plan);

	EnterParallelMode();
	context = team->context =
		CreateParallelContext("$libdir/recsys", "recsys_ann_worker", workers);
	team->snapshot = info->ii_Concurrent
						 ? RegisterSnapshot(GetTransactionSnapshot())
						 : SnapshotAny;
	scan_size = table_parallelscan_estimate(heap, team->snapshot);
	estimate(&context->estimator, BUFFERALIGN(sizeof(Shared)) + scan_size);
	estimate(&context->estimator, model);
	estimate(&context->estimator,
			 sizeof(AnnCell) * (Size) workers * (plan.cells + 1));
	estimate(&context->estimator, tuplesort_estimate_shared(workers + 1));
	estimate(&context->estimator, sizeof(WalUsage) * workers);
	estimate(&context->estimator, sizeof(BufferUsage) * workers);
	if (debug_query_string != NULL)
		estimate(&context->estimator, strlen(debug_query_string) + 1);
	InitializeParallelDSM(context);
	if (context->seg != NULL)
	{
		fill_segment(team, build, &plan, heap, scan_size, model);
		LaunchParallelWorkers(context);
	}
	team->participants = context->nworkers_launched + 1;
	ereport(DEBUG1, (errmsg_internal("building index \"%s\" with %d parallel "
									 "workers",
									 RelationGetRelationName(build->index),
									 context->nworkers_launched)));
	if (context->nworkers_launched > 0)
		return team;
	ann_team_end(team);
	return NULL;
}

/* take in what the workers found; returns the heap's rows of all of them */
static double
merge_sums(AnnTeam *team, AnnBuild *build, IndexInfo *info)
{
	Shared *shared = team->shared;

	for (int w = 0; w < team->participants - 1; w++)
		for (int c = 0; c < build->cells; c++)
			cell_merge(build->cell + c,
					   team->cell + (Size) w * build->cells + c);
	build->rows += shared->rows;
	build->residual_sum += shared->residual_sum;
	build->error_sum += shared->error_sum;
	if (shared->broken_hot_chain)
		info->ii_BrokenHotChain = true;
	return shared->tuples;
}

double
ann_team_run(AnnTeam *team, AnnBuild *build, Relation heap, IndexInfo *info)
{
	Shared *shared = team->shared;
	SortCoordinateData coordinate = {.isWorker = false,
									 .nParticipants = team->participants,
									 .sharedsort = team->sort};
	double tuples = take_part(build, shared, team->sort, heap, info);

	/* or a worker that failed to start would be waited for */
	WaitForParallelWorkersToAttach(team->context);
	for (;;)
	{
		int done;

		SpinLockAcquire(&shared->mutex);
		done = shared->done;
		SpinLockRelease(&shared->mutex);
		if (done == team->participants - 1)
			break;
		ConditionVariableSleep(&shared->sorted,
							   WAIT_EVENT_PARALLEL_CREATE_INDEX_SCAN);
	}
	ConditionVariableCancelSleep();
	tuples += merge_sums(team, build, info);
	ann_build_begin_sort(build, build->memory / 2, &coordinate);
	return tuples;
}

void
ann_team_end(AnnTeam *team)
{
	ParallelContext *context = team->context;

	if (context->nworkers_launched > 0)
		WaitForParallelWorkersToFinish(context);
	for (int i = 0; i < context->nworkers_launched; i++)
		InstrAccumParallelQuery(team->buffers + i, team->wal + i);
	if (IsMVCCSnapshot(team->snapshot))
		UnregisterSnapshot(team->snapshot);
	DestroyParallelContext(context);
	ExitParallelMode();
	pfree(team);
}

/* --- a worker */

/* what training gave, as it lies in the segment */
static void
load_model(AnnBuild *build, const Shared *shared, char *model)
{
	RsStatus status = partition_load(&build->part, model);

	if (status != RS_OK)
		pg_throw_status(status, "could not read the division into cells", NULL);
	ann_build_layout(build, shared->signs);
	build->cells = shared->cells;
	if (shared->rotated)
		build->rotation = (float *) (model + shared->rotation);
	build->centroid = (float *) (model + shared->centroids);
	ann_train_begin_cells(build);
}

static void
leave_sums(AnnBuild *build, Shared *shared, AnnCell *cell, double tuples,
		   IndexInfo *info)
{
	memcpy(cell + (Size) ParallelWorkerNumber * shared->cells, build->cell,
		   sizeof(AnnCell) * (Size) shared->cells);
	SpinLockAcquire(&shared->mutex);
	shared->done++;
	shared->tuples += tuples;
	shared->rows += build->rows;
	shared->residual_sum += build->residual_sum;
	shared->error_sum += build->error_sum;
	if (info->ii_BrokenHotChain)
		shared->broken_hot_chain = true;
	SpinLockRelease(&shared->mutex);
	ConditionVariableSignal(&shared->sorted);
}

static void
work(Shared *shared, dsm_segment *segment, shm_toc *toc, Relation heap,
	 Relation index)
{
	AnnBuild *build = palloc(sizeof(AnnBuild));
	IndexInfo *info = BuildIndexInfo(index);
	Sharedsort *sort = shm_toc_lookup(toc, KEY_SORT, false);
	double tuples;

	tuplesort_attach_shared(sort, segment);
	info->ii_Concurrent = shared->concurrent;
	ann_build_init(build, index, ann_index_dim(index));
	load_model(build, shared, shm_toc_lookup(toc, KEY_MODEL, false));
	tuples = take_part(build, shared, sort, heap, info);
	leave_sums(build, shared, shm_toc_lookup(toc, KEY_CELLS, false), tuples,
			   info);
}

void
recsys_ann_worker(dsm_segment *segment, shm_toc *toc)
{
	Shared *shared = shm_toc_lookup(toc, KEY_SHARED, false);
	WalUsage *wal = shm_toc_lookup(toc, KEY_WAL, false);
	BufferUsage *buffers = shm_toc_lookup(toc, KEY_BUFFERS, false);
	Relation heap, index;

	debug_query_string = shm_toc_lookup(toc, KEY_QUERY, true);
	pgstat_report_activity(STATE_RUNNING, debug_query_string);
	/* the leader holds the same locks; group locking lets us in */
	heap =
		table_open(shared->heap,
				   shared->concurrent ? ShareUpdateExclusiveLock : ShareLock);
	index = index_open(shared->index, shared->concurrent ? RowExclusiveLock
														 : AccessExclusiveLock);
	InstrStartParallelQuery();
	work(shared, segment, toc, heap, index);
	InstrEndParallelQuery(buffers + ParallelWorkerNumber,
						  wal + ParallelWorkerNumber);
	index_close(index, NoLock);
	table_close(heap, NoLock);
}
