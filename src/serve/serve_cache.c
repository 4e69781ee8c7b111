/*
 * serve_cache.c
 *		Packed model tables kept in the backend, and when they may be used.
 *
 * Whatever is handed out equals what a query on the table would give under
 * the active snapshot. README.md has the argument; in short:
 *
 *	- An entry is read under the active snapshot S0. Relcache invalidations
 *	  that arrive for the table mark it stale. The model tables carry a
 *	  trigger that sends one with every change (an entry of a table with that
 *	  trigger is "guarded").
 *	- A guarded entry is kept for later snapshots only when no change has
 *	  become visible between S0 and now, which is tested by comparing the row
 *	  versions visible to S0 and to a fresh snapshot. It then serves every
 *	  snapshot that sees all that S0 saw.
 *	- Any other entry serves just snapshots equal to S0, and none when the
 *	  transaction has written something.
 */
#include "postgres.h"

#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_proc.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "storage/predicate.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "pg/pg_compat.h"
#include "pg/pg_module.h"
#include "serve/serve.h"
#include "store/store_catalog.h"

/* what of a snapshot says which transactions it sees */
typedef struct SeenBy
{
	TransactionId xmin;
	TransactionId xmax;
	bool recovery;
	CommandId curcid;
	LocalTransactionId lxid; /* whose commands curcid counts */
	bool wrote;              /* the transaction had an xid of its own */
	uint32 count;
	TransactionId *running; /* (count), top level; any in recovery */
} SeenBy;

typedef struct CacheEntry
{
	Oid relid;
	bool stale; /* set by invalidation; freed at the next call */
	bool guarded;
	int version;
	ServeKeyType key;
	int dim;
	bool interactions;   /* were they read */
	ServePack *pack;     /* rows of a user or item table */
	ServeParams *params; /* of a param table; both NULL: over `limit` bytes */
	Size bytes;
	Size limit;
	uint64 used; /* clock of the last use */
	SeenBy seen_by;
	MemoryContext context; /* of this entry, parent of the pack's */
	struct CacheEntry *next;
} CacheEntry;

static MemoryContext cache_context = NULL;
static CacheEntry *entries = NULL;
static uint64 cache_clock = 0;
static List *asked = NIL; /* tables of serve_cache_first */
/* table being read now; invalid again when an invalidation arrives */
static Oid loading = InvalidOid;

static void
forget_table(Datum arg, Oid relid)
{
	for (CacheEntry *e = entries; e != NULL; e = e->next)
		if (relid == InvalidOid || relid == e->relid)
			e->stale = true;
	if (relid == InvalidOid || relid == loading)
		loading = InvalidOid;
}

static void
init_cache(void)
{
	if (cache_context != NULL)
		return;
	cache_context = AllocSetContextCreate(TopMemoryContext, "recsys cache",
										  ALLOCSET_DEFAULT_SIZES);
	CacheRegisterRelcacheCallback(forget_table, (Datum) 0);
}

static void
describe_snapshot(Snapshot s, SeenBy *b)
{
	b->xmin = s->xmin;
	b->xmax = s->xmax;
	b->recovery = s->takenDuringRecovery;
	b->curcid = s->curcid;
	b->lxid = pg_my_lxid();
	b->wrote = TransactionIdIsValid(GetTopTransactionIdIfAny());
	/* in recovery all running transactions are in subxip */
	b->count = b->recovery ? (uint32) s->subxcnt : s->xcnt;
	b->running = b->recovery ? s->subxip : s->xip;
}

static bool
is_running(const SeenBy *b, TransactionId xid)
{
	for (uint32 i = 0; i < b->count; i++)
		if (b->running[i] == xid)
			return true;
	return false;
}

/* does `later` see every transaction that `earlier` sees as finished? */
static bool
covers(const SeenBy *later, const SeenBy *earlier)
{
	if (later->recovery != earlier->recovery)
		return false;
	if (later->lxid == earlier->lxid && later->curcid < earlier->curcid)
		return false;
	if (!TransactionIdPrecedes(later->xmin, earlier->xmax))
		return true;
	if (TransactionIdPrecedes(later->xmax, earlier->xmax))
		return false;
	for (uint32 i = 0; i < later->count; i++)
		if (TransactionIdPrecedes(later->running[i], earlier->xmax) &&
			!is_running(earlier, later->running[i]))
			return false;
	return true;
}

static bool
same_view(const SeenBy *a, const SeenBy *b)
{
	return covers(a, b) && covers(b, a) && a->curcid == b->curcid &&
		   !a->wrote && !b->wrote;
}

/* the events for which such triggers run recsys_model_changed() */
static int
events_told(const TriggerDesc *triggers, Oid function, bool by_row)
{
	int events = 0;

	for (int i = 0; i < triggers->numtriggers; i++)
	{
		const Trigger *t = &triggers->triggers[i];
		bool fires = t->tgenabled == TRIGGER_FIRES_ALWAYS ||
					 (by_row && t->tgenabled == TRIGGER_FIRES_ON_REPLICA);

		if (t->tgfoid == function && t->tgqual == NULL && t->tgnattr == 0 &&
			fires && TRIGGER_FOR_ROW(t->tgtype) == by_row)
			events |= t->tgtype;
	}
	return events;
}

/*
 * Does every change of the table send an invalidation? True when triggers
 * with recsys_model_changed() fire for INSERT, UPDATE and DELETE: those of
 * statements always, and those of rows where logical replication applies
 * changes, which has no statements.
 */
static bool
is_guarded(ServeTable *table)
{
	const TriggerDesc *triggers;
	Oid function;
	const int wanted =
		TRIGGER_TYPE_INSERT | TRIGGER_TYPE_UPDATE | TRIGGER_TYPE_DELETE;
	oidvector *no_args = buildoidvector(NULL, 0);

	function = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid,
							   CStringGetDatum("recsys_model_changed"),
							   PointerGetDatum(no_args),
							   ObjectIdGetDatum(table->schema));
	/* good until the next look into a catalog */
	triggers = table->rel->trigdesc;
	if (triggers == NULL || !OidIsValid(function))
		return false;
	return (events_told(triggers, function, false) & wanted) == wanted &&
		   (events_told(triggers, function, true) & wanted) == wanted;
}

/* do both snapshots see the same row versions? */
static bool
same_rows(Relation rel, Snapshot a, Snapshot b)
{
	TupleTableSlot *slot_a = table_slot_create(rel, NULL);
	TupleTableSlot *slot_b = table_slot_create(rel, NULL);
	TableScanDesc scan_a = table_beginscan_strat(rel, a, 0, NULL, true, false);
	TableScanDesc scan_b = table_beginscan_strat(rel, b, 0, NULL, true, false);
	bool more = true;
	bool same = true;

	while (more && same)
	{
		CHECK_FOR_INTERRUPTS();
		more = table_scan_getnextslot(scan_a, ForwardScanDirection, slot_a);
		same = more ==
			   table_scan_getnextslot(scan_b, ForwardScanDirection, slot_b);
		if (more && same)
			same = ItemPointerEquals(&slot_a->tts_tid, &slot_b->tts_tid);
	}
	table_endscan(scan_a);
	table_endscan(scan_b);
	ExecDropSingleTupleTableSlot(slot_a);
	ExecDropSingleTupleTableSlot(slot_b);
	return same;
}

/*
 * True when the rows that the active snapshot sees are the newest committed
 * ones. A leader of a parallel query must not take a snapshot: false.
 */
static bool
is_newest(Relation rel)
{
	SeenBy then;
	SeenBy now;
	Snapshot fresh;
	bool same;

	if (IsInParallelMode())
		return false;
	fresh = RegisterSnapshot(GetLatestSnapshot());
	describe_snapshot(GetActiveSnapshot(), &then);
	describe_snapshot(fresh, &now);
	same = (covers(&now, &then) && covers(&then, &now) &&
			now.curcid == then.curcid) ||
		   same_rows(rel, GetActiveSnapshot(), fresh);
	UnregisterSnapshot(fresh);
	return same;
}

static void
drop_entry(CacheEntry *entry)
{
	CacheEntry **link = &entries;

	while (*link != entry)
		link = &(*link)->next;
	*link = entry->next;
	MemoryContextDelete(entry->context);
}

static void
drop_stale(void)
{
	CacheEntry *next;

	for (CacheEntry *e = entries; e != NULL; e = next)
	{
		next = e->next;
		if (e->stale)
			drop_entry(e);
	}
}

/* the least recently used entries go until the rest fits */
static void
make_room(Size limit)
{
	for (;;)
	{
		Size total = 0;
		CacheEntry *oldest = NULL;

		for (CacheEntry *e = entries; e != NULL; e = e->next)
		{
			total += e->bytes;
			if (e->bytes > 0 && (oldest == NULL || e->used < oldest->used))
				oldest = e;
		}
		if (total <= limit || oldest == NULL)
			return;
		drop_entry(oldest);
	}
}

static bool
is_usable(const CacheEntry *e, const ServeTable *table, Size limit)
{
	SeenBy now;

	if (e->version != table->version || e->dim != table->dim ||
		e->key.type != table->key.type ||
		(table->interactions_att != 0 && !e->interactions))
		return false;
	if (e->bytes == 0 ? e->limit != limit : e->bytes > limit)
		return false;
	describe_snapshot(GetActiveSnapshot(), &now);
	return e->guarded ? covers(&now, &e->seen_by)
					  : same_view(&now, &e->seen_by);
}

static void
keep_snapshot(CacheEntry *entry)
{
	SeenBy *b = &entry->seen_by;
	TransactionId *running;

	describe_snapshot(GetActiveSnapshot(), b);
	running = MemoryContextAlloc(entry->context,
								 Max(b->count, 1) * sizeof(TransactionId));
	memcpy(running, b->running, b->count * sizeof(TransactionId));
	b->running = running;
}

/* read the table; all but the last lines may throw and leave no trace */
static CacheEntry *
load_entry(ServeTable *table, Size limit)
{
	MemoryContext context = AllocSetContextCreate(
		CurrentMemoryContext, "recsys cached table", ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	CacheEntry *e = palloc0(sizeof(CacheEntry));

	loading = RelationGetRelid(table->rel);
	e->context = context;
	e->relid = RelationGetRelid(table->rel);
	e->version = table->version;
	e->key = table->key;
	e->dim = table->dim;
	e->interactions = table->interactions_att != 0;
	e->limit = limit;
	if (table->params)
		e->params = serve_params_load(table, limit);
	else
		e->pack = serve_pack_load(table, limit, false);
	e->bytes = e->params != NULL ? e->params->bytes
			   : e->pack != NULL ? e->pack->bytes
								 : 0;
	e->guarded = is_guarded(table) && is_newest(table->rel);
	keep_snapshot(e);
	/* changed while it was read: the next call must look again */
	e->stale = loading != e->relid;
	loading = InvalidOid;
	MemoryContextSwitchTo(old);
	MemoryContextSetParent(context, cache_context);
	e->next = entries;
	entries = e;
	return e;
}

static CacheEntry *
find_entry(Oid relid)
{
	for (CacheEntry *e = entries; e != NULL; e = e->next)
		if (e->relid == relid)
			return e;
	return NULL;
}

/*
 * `stale` of a new entry is kept over this call only: the pack is right for
 * the active snapshot, under which it was read.
 */
static CacheEntry *
get_entry(ServeTable *table)
{
	Size limit = (Size) recsys_cache_size * 1024;
	CacheEntry *e;

	init_cache();
	AcceptInvalidationMessages();
	drop_stale();
	e = find_entry(RelationGetRelid(table->rel));
	if (e != NULL && !is_usable(e, table, limit))
	{
		drop_entry(e);
		e = NULL;
	}
	if (e == NULL)
		e = load_entry(table, limit);
	e->used = ++cache_clock;
	make_room(limit);
	if (e->bytes > 0)
		PredicateLockRelation(table->rel, GetActiveSnapshot());
	return e;
}

bool
serve_cache_first(ServeTable *table)
{
	Oid relid = RelationGetRelid(table->rel);
	MemoryContext old;

	init_cache();
	if (!table->plain || find_entry(relid) != NULL ||
		list_member_oid(asked, relid))
		return false;
	old = MemoryContextSwitchTo(cache_context);
	asked = lappend_oid(asked, relid);
	MemoryContextSwitchTo(old);
	return OidIsValid(store_own_index(relid));
}

ServePack *
serve_cache_get(ServeTable *table)
{
	return table->plain ? get_entry(table)->pack : NULL;
}

ServeParams *
serve_cache_params(ServeTable *table)
{
	ServeParams *params = table->plain ? get_entry(table)->params : NULL;

	return params != NULL ? params : serve_params_load(table, MaxAllocHugeSize);
}
