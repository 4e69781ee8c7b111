/*
 * train_select.c
 *		A SELECT whose rows go into a receiver, one by one.
 *
 * Under the caller's role and the active snapshot. Rows come in the order of
 * the table as far as that is possible, so that one training is like the
 * next: no parallel plan, no joining of another's sequential scan.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "tcop/dest.h"
#include "utils/guc.h"

#include "train/train.h"

static void
startup(DestReceiver *self, int operation, TupleDesc typeinfo)
{
}

static void
nothing(DestReceiver *self)
{
}

/* receiver: receiveSlot has been set. SPI must not be connected. */
void
train_select(const char *sql, DestReceiver *receiver)
{
	SPIPrepareOptions prepare = {.parseMode = RAW_PARSE_DEFAULT};
	SPIExecuteOptions execute = {.read_only = true, .dest = receiver};
	int level = NewGUCNestLevel();
	SPIPlanPtr plan;

	receiver->rStartup = startup;
	receiver->rShutdown = nothing;
	receiver->rDestroy = nothing;
	receiver->mydest = DestNone;
	(void) set_config_option("synchronize_seqscans", "off", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	SPI_connect();
	plan = SPI_prepare_extended(sql, &prepare);
	if (plan == NULL || SPI_execute_plan_extended(plan, &execute) < 0)
		elog(ERROR, "could not execute: %s", sql);
	SPI_finish();
	AtEOXact_GUC(true, level);
}
