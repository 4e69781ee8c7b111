/*
 * ann_queries.c
 *		Sample queries for the calibration of an index: vectors of the table
 *		that will ask, when a layer above knows one.
 *
 * It is only a sample: what cannot be read at once (another's lock, another
 * owner, row security) is done without, and rows of the index's own table
 * stand in.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "index/ann_build.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "type/vector.h"
#include "utils/acl.h"
#include "utils/rls.h"
#include "utils/sampling.h"
#include "utils/snapmgr.h"

#define QUERIES 512

AnnQuerySource ann_query_source = NULL;

typedef struct Sampling
{
	AnnBuild *build;
	AttrNumber column;
	bool plain_only; /* no values out of line */
	float *query;    /* (QUERIES, dim) */
	int room;
	double seen;
} Sampling;

/* one more vector for the reservoir */
static void
offer(Sampling *s, Datum value)
{
	AnnBuild *build = s->build;
	int at = build->queries;
	Vector *v;

	if (s->plain_only && VARATT_IS_EXTERNAL(DatumGetPointer(value)))
		return;
	v = vector_from_datum(value);
	if (v->dim == build->dim &&
		ann_prepare(build->metric, v->x, build->dim, build->scratch))
	{
		s->seen++;
		if (at >= s->room)
			at = (int) Min(rng_below(&build->rng, (uint64) s->seen),
						   (uint64) s->room);
		else
			build->queries++;
		if (at < s->room)
			memcpy(s->query + (Size) at * build->dim, build->scratch,
				   sizeof(float) * build->dim);
	}
	if ((Pointer) v != DatumGetPointer(value))
		pfree(v);
}

static void
offer_block(Sampling *s, TableScanDesc scan, TupleTableSlot *slot,
			BlockNumber block)
{
	ItemPointerData from, to;

	ItemPointerSet(&from, block, FirstOffsetNumber);
	ItemPointerSet(&to, block, MaxOffsetNumber);
	table_rescan_tidrange(scan, &from, &to);
	while (table_scan_getnextslot_tidrange(scan, ForwardScanDirection, slot))
	{
		bool null;
		Datum value = slot_getattr(slot, s->column, &null);

		if (!null)
			offer(s, value);
	}
}

/* rows of up to QUERIES blocks, chosen at random */
static void
sample_table(Sampling *s, Relation rel)
{
	/* a VACUUM with parallel workers may take no new one, but has one */
	Snapshot snapshot = RegisterSnapshot(
		IsInParallelMode() ? GetActiveSnapshot() : GetLatestSnapshot());
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	ItemPointerData none;
	TableScanDesc scan;
	BlockSamplerData sampler;

	ItemPointerSet(&none, 0, FirstOffsetNumber);
	scan = table_beginscan_tidrange(rel, snapshot, &none, &none);
	BlockSampler_Init(&sampler, RelationGetNumberOfBlocks(rel), QUERIES, 1);
	while (BlockSampler_HasMore(&sampler))
	{
		CHECK_FOR_INTERRUPTS();
		offer_block(s, scan, slot, BlockSampler_Next(&sampler));
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	UnregisterSnapshot(snapshot);
}

static bool
can_be_read(Relation rel, AttrNumber column, Relation heap, AttrNumber indexed)
{
	return rel->rd_tableam != NULL &&
		   rel->rd_tableam->scan_set_tidrange != NULL &&
		   TupleDescAttr(RelationGetDescr(rel), column - 1)->atttypid ==
			   TupleDescAttr(RelationGetDescr(heap), indexed - 1)->atttypid &&
		   RelationGetNumberOfBlocks(rel) > 0;
}

void
ann_sample_queries(AnnBuild *build, Relation heap, IndexInfo *info)
{
	Sampling s = {.build = build};
	AttrNumber indexed = info->ii_IndexAttrNumbers[0];
	Size row = sizeof(float) * build->dim;
	Relation rel;
	Oid table;

	if (ann_query_source == NULL || indexed <= 0)
		return;
	table = ann_query_source(RelationGetRelid(heap), indexed, &s.column);
	if (!OidIsValid(table) ||
		!ConditionalLockRelationOid(table, AccessShareLock))
		return;
	/* VACUUM's snapshot does not keep TOAST from going */
	s.plain_only = (MyProc->statusFlags & PROC_IN_VACUUM) != 0;
	s.room = (int) Min(QUERIES, Max(build->memory / 8 / row, 16));
	/* it may have been dropped before the lock was taken */
	rel = try_relation_open(table, NoLock);
	if (rel != NULL &&
		pg_class_aclcheck(table, GetUserId(), ACL_SELECT) == ACLCHECK_OK &&
		check_enable_rls(table, InvalidOid, true) != RLS_ENABLED &&
		can_be_read(rel, s.column, heap, indexed))
	{
		s.query = palloc(row * s.room);
		sample_table(&s, rel);
		build->query = s.query;
	}
	if (rel != NULL)
		relation_close(rel, NoLock);
	UnlockRelationOid(table, AccessShareLock);
	if (build->queries == 0)
		build->query = NULL;
	build->meta.queries = build->queries;
}
