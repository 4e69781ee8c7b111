/*
 * ann_handler.c
 *		What the access method ann can do, for the server.
 */
#include "postgres.h"

#include "access/amapi.h"
#include "access/reloptions.h"
#include "catalog/pg_amproc.h"
#include "catalog/pg_amop.h"
#include "commands/progress.h"
#include "commands/vacuum.h"
#include "fmgr.h"
#include "index/ann.h"
#include "utils/guc.h"

PG_FUNCTION_INFO_V1(recsys_annhandler);

static bytea *
annoptions(Datum reloptions, bool validate)
{
	/* no option is needed; an unknown one is an error */
	return (bytea *) build_reloptions(reloptions, validate, RELOPT_KIND_LOCAL,
									  0, NULL, 0);
}

static char *
annbuildphasename(int64 phase)
{
	switch (phase)
	{
		case PROGRESS_CREATEIDX_SUBPHASE_INITIALIZE:
			return "initializing";
		case ANN_PHASE_SAMPLE:
			return "sampling rows";
		case ANN_PHASE_TRAIN:
			return "finding cells";
		case ANN_PHASE_ENCODE:
			return "encoding rows";
		case ANN_PHASE_SORT:
			return "sorting rows";
		case ANN_PHASE_WRITE:
			return "writing pages";
		case ANN_PHASE_CALIBRATE:
			return "calibrating";
		default:
			return NULL;
	}
}

Datum
recsys_annhandler(PG_FUNCTION_ARGS)
{
	IndexAmRoutine *am = makeNode(IndexAmRoutine);

	am->amstrategies = 0;
	am->amsupport = 2;
	am->amcanorderbyop = true;
	am->amoptionalkey = true;
	am->amusemaintenanceworkmem = false;
	am->amparallelvacuumoptions = VACUUM_OPTION_PARALLEL_BULKDEL;
	pg_am_builds_parallel(am);
	am->amkeytype = InvalidOid;

	am->ambuild = annbuild;
	am->ambuildempty = annbuildempty;
	am->aminsert = anninsert;
	am->ambulkdelete = annbulkdelete;
	am->amvacuumcleanup = annvacuumcleanup;
	am->amcostestimate = anncostestimate;
	am->amoptions = annoptions;
	am->ambuildphasename = annbuildphasename;
	am->amvalidate = annvalidate;
	am->ambeginscan = annbeginscan;
	am->amrescan = annrescan;
	am->amgettuple = anngettuple;
	am->amendscan = annendscan;
	PG_RETURN_POINTER(am);
}
