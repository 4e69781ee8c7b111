/*
 * store_insert.h
 *		Rows of a model's table, written in bulk.
 *
 *	store_insert_begin(&insert, table)
 *	slot = store_insert_row(&insert)	for each row: fill tts_values and
 *	store_insert_put(&insert, slot)		tts_isnull, values in insert.context
 *	store_insert_end(&insert)
 *
 * Users may have added columns, triggers and foreign keys to the table: columns
 * that are not filled get their defaults, and everything is checked, computed and
 * fired as by INSERT.
 */
#ifndef RECSYS_STORE_INSERT_H
#define RECSYS_STORE_INSERT_H

#include "postgres.h"

#include "access/heapam.h"
#include "commands/trigger.h"
#include "executor/tuptable.h"
#include "nodes/execnodes.h"
#include "utils/rel.h"

#define STORE_INSERT_BATCH 256

typedef struct StoreInsert
{
	Relation rel;
	EState *estate;
	ResultRelInfo *result;
	BulkInsertState bulk;
	TransitionCaptureState *transition;
	bool before_row; /* somebody's triggers */
	bool after_row;
	bool generated;       /* some columns are */
	int n_defaults;       /* columns with a default */
	AttrNumber *defaults; /* (n_defaults) */
	ExprState **value;
	MemoryContext context; /* values of one batch */
	TupleTableSlot *slot[STORE_INSERT_BATCH];
	int n;
	int64 refused; /* rows, by a trigger */
} StoreInsert;

extern void store_insert_begin(StoreInsert *insert, Oid table);
/* the next row: defaults, else NULL */
extern TupleTableSlot *store_insert_row(StoreInsert *insert);
extern void store_insert_put(StoreInsert *insert, TupleTableSlot *slot);
extern void store_insert_end(StoreInsert *insert);

#endif
