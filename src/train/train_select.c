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
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"

#include "train/train.h"

/*
 * The relation is named in the text, and another may have taken its name
 * since its columns were looked at: receivers read values by their types.
 */
static void
startup(DestReceiver *self, int operation, TupleDesc typeinfo)
{
	const TrainReceiver *r = (const TrainReceiver *) self;

	for (int i = 0; i < r->n_types; i++)
	{
		Form_pg_attribute att = TupleDescAttr(typeinfo, i);
		Oid type = getBaseType(att->atttypid);

		if (type != r->type[i])
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_IN_USE),
					 errmsg("column \"%s\" has become of type %s instead of "
							"%s",
							NameStr(att->attname), format_type_be(type),
							format_type_be(r->type[i])),
					 errhint("Its table was altered or replaced while the "
							 "training began. Try again.")));
	}
}

static void
nothing(DestReceiver *self)
{
}

void
train_expect(TrainReceiver *receiver, Oid type)
{
	receiver->type =
		receiver->type == NULL
			? palloc(sizeof(Oid))
			: repalloc(receiver->type,
					   sizeof(Oid) * (Size) (receiver->n_types + 1));
	receiver->type[receiver->n_types++] = type;
}

/* receiver: receiveSlot has been set. SPI must not be connected. */
void
train_select(const char *sql, TrainReceiver *to)
{
	DestReceiver *receiver = &to->pub;
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
