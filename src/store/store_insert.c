/*
 * store_insert.c
 *		Rows of a model's table, written in bulk.
 *
 * The way of COPY: batches of slots through table_multi_insert, then index
 * entries and triggers.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_trigger.h"
#include "executor/executor.h"
#include "executor/nodeModifyTable.h"
#include "miscadmin.h"
#include "rewrite/rewriteHandler.h"
#include "utils/inval.h"
#include "utils/memutils.h"

#include "pg/pg_compat.h"
#include "store/store_catalog.h"
#include "store/store_insert.h"

/*
 * The index that will be built anew gets no entries: it leaves the list,
 * since executors of 17 and later bear no gap in it.
 */
static void
skip_own_index(StoreInsert *insert, Oid index)
{
	ResultRelInfo *result = insert->result;
	int kept = 0;

	for (int i = 0; i < result->ri_NumIndices; i++)
	{
		Relation desc = result->ri_IndexRelationDescs[i];

		if (RelationGetRelid(desc) == index)
		{
			index_close(desc, NoLock);
			continue;
		}
		result->ri_IndexRelationDescs[kept] = desc;
		result->ri_IndexRelationInfo[kept++] = result->ri_IndexRelationInfo[i];
	}
	result->ri_NumIndices = kept;
}

/* columns that users added: what a row has in them without being told */
static void
find_defaults(StoreInsert *insert)
{
	TupleDesc desc = RelationGetDescr(insert->rel);
	int natts = desc->natts;

	insert->defaults = palloc(sizeof(AttrNumber) * (Size) natts);
	insert->value = palloc(sizeof(ExprState *) * (Size) natts);
	for (int i = 0; i < natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		Expr *value;

		if (att->attisdropped)
			continue;
		insert->generated |= att->attgenerated == ATTRIBUTE_GENERATED_STORED;
		if (att->attgenerated != '\0' ||
			(value = (Expr *) build_column_default(insert->rel, i + 1)) == NULL)
			continue;
		insert->defaults[insert->n_defaults] = (AttrNumber) (i + 1);
		insert->value[insert->n_defaults++] =
			ExecPrepareExpr(value, insert->estate);
	}
}

/* ours is for rows that a subscriber of logical replication applies */
static void
find_triggers(StoreInsert *insert)
{
	TriggerDesc *triggers = insert->result->ri_TrigDesc;

	AfterTriggerBeginQuery();
	if (triggers == NULL)
		return;
	insert->before_row = triggers->trig_insert_before_row;
	for (int i = 0; i < triggers->numtriggers; i++)
	{
		const Trigger *t = &triggers->triggers[i];

		insert->after_row |= TRIGGER_FOR_ROW(t->tgtype) &&
							 TRIGGER_FOR_INSERT(t->tgtype) &&
							 TRIGGER_FOR_AFTER(t->tgtype) &&
							 strcmp(t->tgname, "recsys_applied") != 0;
	}
	insert->transition = MakeTransitionCaptureState(
		triggers, RelationGetRelid(insert->rel), CMD_INSERT);
	insert->after_row |= insert->transition != NULL;
	ExecBSInsertTriggers(insert->estate, insert->result);
}

void
store_insert_begin(StoreInsert *insert, Oid table)
{
	memset(insert, 0, sizeof(*insert));
	insert->rel = table_open(table, RowExclusiveLock);
	insert->estate = CreateExecutorState();
	insert->result = makeNode(ResultRelInfo);
	InitResultRelInfo(insert->result, insert->rel, 0, NULL, 0);
	insert->estate->es_opened_result_relations = list_make1(insert->result);
	ExecOpenIndices(insert->result, false);
	skip_own_index(insert, store_own_index(table));
	insert->bulk = GetBulkInsertState();
	insert->context = AllocSetContextCreate(
		CurrentMemoryContext, "recsys batch", ALLOCSET_DEFAULT_SIZES);
	for (int i = 0; i < STORE_INSERT_BATCH; i++)
		insert->slot[i] = table_slot_create(insert->rel, NULL);
	find_defaults(insert);
	find_triggers(insert);
}

static void
after_row(StoreInsert *insert, TupleTableSlot *slot)
{
	List *recheck = NIL;

	if (insert->result->ri_NumIndices > 0)
		recheck = pg_insert_index_tuples(insert->result, slot, insert->estate);
	if (insert->after_row)
		ExecARInsertTriggers(insert->estate, insert->result, slot, recheck,
							 insert->transition);
	list_free(recheck);
}

static void
flush(StoreInsert *insert)
{
	MemoryContext old;

	CHECK_FOR_INTERRUPTS();
	if (insert->n > 0)
	{
		old = MemoryContextSwitchTo(insert->context);
		table_multi_insert(insert->rel, insert->slot, insert->n,
						   GetCurrentCommandId(true), 0, insert->bulk);
		MemoryContextSwitchTo(old);
	}
	for (int i = 0; i < insert->n; i++)
	{
		after_row(insert, insert->slot[i]);
		ExecClearTuple(insert->slot[i]);
	}
	ResetPerTupleExprContext(insert->estate);
	MemoryContextReset(insert->context);
	insert->n = 0;
}

void
store_insert_end(StoreInsert *insert)
{
	flush(insert);
	ExecASInsertTriggers(insert->estate, insert->result, insert->transition);
	AfterTriggerEndQuery(insert->estate);
	for (int i = 0; i < STORE_INSERT_BATCH; i++)
		ExecDropSingleTupleTableSlot(insert->slot[i]);
	FreeBulkInsertState(insert->bulk);
	table_finish_bulk_insert(insert->rel, 0);
	ExecResetTupleTable(insert->estate->es_tupleTable, false);
	ExecCloseIndices(insert->result);
	FreeExecutorState(insert->estate);
	MemoryContextDelete(insert->context);
	CacheInvalidateRelcache(insert->rel);
	table_close(insert->rel, NoLock);
}

TupleTableSlot *
store_insert_row(StoreInsert *insert)
{
	TupleTableSlot *slot = insert->slot[insert->n];
	ExprContext *context = GetPerTupleExprContext(insert->estate);

	ExecClearTuple(slot);
	memset(slot->tts_isnull, true,
		   (size_t) slot->tts_tupleDescriptor->natts * sizeof(bool));
	for (int i = 0; i < insert->n_defaults; i++)
	{
		int at = insert->defaults[i] - 1;

		/* lives until the batch is written */
		slot->tts_values[at] = ExecEvalExprSwitchContext(
			insert->value[i], context, &slot->tts_isnull[at]);
	}
	return slot;
}

void
store_insert_put(StoreInsert *insert, TupleTableSlot *slot)
{
	ExecStoreVirtualTuple(slot);
	if (insert->before_row &&
		!ExecBRInsertTriggers(insert->estate, insert->result, slot))
	{
		/* its memory goes with a batch, of which there may be none */
		if (++insert->refused % STORE_INSERT_BATCH == 0)
			flush(insert);
		return;
	}
	if (insert->generated)
		ExecComputeStoredGenerated(insert->result, insert->estate, slot,
								   CMD_INSERT);
	if (insert->rel->rd_att->constr != NULL)
		ExecConstraints(insert->result, slot, insert->estate);
	if (++insert->n == STORE_INSERT_BATCH)
		flush(insert);
}
