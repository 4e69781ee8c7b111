/*
 * pg_pause.c
 *		See pg_pause.h.
 */
#include "postgres.h"

#include "pg/pg_pause.h"

#ifdef RECSYS_PAUSES

#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lock.h"

void
pg_pause(const char *name)
{
	/* as hashtext and pg_advisory_lock(bigint) have it */
	int64 key =
		(int32) hash_bytes((const unsigned char *) name, (int) strlen(name));
	LOCKTAG tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) (key >> 32), (uint32) key,
						 1);
	(void) LockAcquire(&tag, ShareLock, false, false);
	LockRelease(&tag, ShareLock, false);
}

#endif
