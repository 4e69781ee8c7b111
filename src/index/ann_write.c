/*
 * ann_write.c
 *		Rows sorted by cell become leaves; then the static part is written.
 *
 * Pages are made in private memory and copied out whole. CREATE INDEX
 * appends them and logs them all at its end. A retrain, whose index others
 * use and extend meanwhile, puts leaves into free pages first, or the file
 * would grow with every new structure, stamps each page when it takes it and
 * logs it when it is written. The static part is always appended, since its
 * pages must be neighbours.
 */
#include "postgres.h"

#include "access/xloginsert.h"
#include "index/ann_build.h"
#include "miscadmin.h"
#include "port/pg_crc32c.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"

typedef struct Writer
{
	AnnBuild *build;
	bool retrain;
	BlockNumber end;   /* next block to append */
	BlockNumber pages; /* written */
	BlockNumber block; /* of the open leaf's head */
	bool open;
	uint32 cell;
	int used;
	PGAlignedBlock head;
	PGAlignedBlock *tail; /* (layout.tails) */
} Writer;

/* what a row is while it is sorted */
typedef struct Payload
{
	float head_scale;
	float sign_scale;
	float rest;
	float sq;
	float tail_scale;
	float error;
	ItemPointerData tid;
	uint8 codes[FLEXIBLE_ARRAY_MEMBER];
} Payload;

Size
ann_payload_size(const AnnLayout *layout)
{
	return offsetof(Payload, codes) + code_row_size(&layout->shape);
}

void
ann_write_payload(const AnnBuild *build, char *to, ItemPointer tid)
{
	Payload p;
	const CodeRow *code = &build->code;

	p.head_scale = code->head_scale;
	p.sign_scale = code->sign_scale;
	p.rest = code->rest;
	p.sq = code->sq;
	p.tail_scale = code->tail_scale;
	p.error = code->error;
	p.tid = *tid;
	memcpy(to, &p, offsetof(Payload, codes));
	memcpy(to + offsetof(Payload, codes), code->codes,
		   code_row_size(&build->layout.shape));
}

static void
read_payload(const char *from, AnnRow *row)
{
	Payload p;

	memcpy(&p, from, offsetof(Payload, codes));
	row->code.head_scale = p.head_scale;
	row->code.sign_scale = p.sign_scale;
	row->code.rest = p.rest;
	row->code.sq = p.sq;
	row->code.tail_scale = p.tail_scale;
	row->code.error = p.error;
	row->code.codes = (uint8 *) from + offsetof(Payload, codes);
	row->tid = p.tid;
}

/*
 * Make a page ours, which is locked, before it has its contents: inserts and
 * the free space map take none with our stamp.
 */
static BlockNumber
stamp_page(Writer *w, Buffer buffer)
{
	BlockNumber block = BufferGetBlockNumber(buffer);

	START_CRIT_SECTION();
	ann_page_init(BufferGetPage(buffer), ANN_PAGE_STATIC,
				  w->build->meta.generation);
	MarkBufferDirty(buffer);
	if (RelationNeedsWAL(w->build->index))
		log_newpage_buffer(buffer, true);
	END_CRIT_SECTION();
	UnlockReleaseBuffer(buffer);
	return block;
}

/* n new neighbours at the end of the file; returns the first */
static BlockNumber
append_pages(Writer *w, BlockNumber n)
{
	Relation index = w->build->index;
	BlockNumber first = InvalidBlockNumber;

	LockRelationForExtension(index, ExclusiveLock);
	for (BlockNumber i = 0; i < n; i++)
	{
		BlockNumber block =
			stamp_page(w, ReadBufferExtended(index, MAIN_FORKNUM, P_NEW,
											 RBM_ZERO_AND_LOCK, NULL));

		first = i == 0 ? block : first;
	}
	UnlockRelationForExtension(index, ExclusiveLock);
	return first;
}

/* a block for a page of a leaf; CREATE INDEX must write in this order */
static BlockNumber
take_block(Writer *w)
{
	Buffer buffer;

	if (!w->retrain)
		return w->end++;
	buffer = ann_free_page(w->build->index, w->build->meta.free_below);
	return BufferIsValid(buffer) ? stamp_page(w, buffer) : append_pages(w, 1);
}

/* a page whose number was taken: the next of the file for CREATE INDEX */
static Buffer
target_page(Writer *w, BlockNumber block)
{
	Relation index = w->build->index;
	Buffer buffer;

	if (w->retrain || block < RelationGetNumberOfBlocks(index))
		return ReadBufferExtended(index, MAIN_FORKNUM, block, RBM_ZERO_AND_LOCK,
								  NULL);
	LockRelationForExtension(index, ExclusiveLock);
	buffer =
		ReadBufferExtended(index, MAIN_FORKNUM, P_NEW, RBM_ZERO_AND_LOCK, NULL);
	UnlockRelationForExtension(index, ExclusiveLock);
	Assert(BufferGetBlockNumber(buffer) == block);
	return buffer;
}

static void
write_page(Writer *w, BlockNumber block, const char *page)
{
	Buffer buffer = target_page(w, block);

	START_CRIT_SECTION();
	memcpy(BufferGetPage(buffer), page, BLCKSZ);
	MarkBufferDirty(buffer);
	if (w->retrain && RelationNeedsWAL(w->build->index))
		log_newpage_buffer(buffer, true);
	END_CRIT_SECTION();
	UnlockReleaseBuffer(buffer);
	w->pages++;
}

static int
tails_in_use(const Writer *w)
{
	int per = w->build->layout.tail_rows;

	return (w->used + per - 1) / per;
}

/* more: another leaf of the cell follows, and its head's block is taken */
static void
close_leaf(Writer *w, bool more)
{
	AnnHead *head = (AnnHead *) PageGetContents(w->head.data);
	int tails = tails_in_use(w);
	BlockNumber next;

	if (!w->open)
		return;
	CHECK_FOR_INTERRUPTS();
	head->used = w->used;
	for (int i = 0; i < tails; i++)
		head->tail[i] = take_block(w);
	next = head->next = more ? take_block(w) : InvalidBlockNumber;
	write_page(w, w->block, w->head.data);
	for (int i = 0; i < tails; i++)
		write_page(w, head->tail[i], w->tail[i].data);
	w->block = next;
	w->open = false;
}

static void
open_leaf(Writer *w, uint32 cell, bool follows)
{
	if (!follows)
		w->block = take_block(w);
	ann_head_init(w->head.data, &w->build->layout, w->build->meta.generation,
				  cell);
	w->cell = cell;
	w->used = 0;
	w->open = true;
}

static void
add_row(Writer *w, uint32 cell, const AnnRow *row)
{
	const AnnLayout *layout = &w->build->layout;
	bool same = w->open && w->cell == cell;
	int tail;

	if (w->open && (!same || w->used == layout->rows))
		close_leaf(w, same);
	if (!w->open)
	{
		AnnMeta *meta = &w->build->meta;
		bool log = cell == (uint32) w->build->cells;

		open_leaf(w, cell, same);
		if (log)
		{
			if (meta->log_head == InvalidBlockNumber)
				meta->log_head = w->block;
			meta->log_tail = w->block;
			meta->log_built = ++meta->log_leaves;
		}
		else if (!same)
			w->build->cell[cell].first = w->block;
	}
	tail = w->used / layout->tail_rows;
	if (w->used % layout->tail_rows == 0)
		ann_tail_init(w->tail[tail].data, layout, w->build->meta.generation,
					  cell, w->block, tail);
	ann_put_head(w->head.data, layout, w->used, &row->code);
	ann_put_tail(w->tail[tail].data, layout, w->used % layout->tail_rows, row);
	w->used++;
}

static void
write_leaves(Writer *w)
{
	AnnBuild *build = w->build;
	TupleTableSlot *slot = build->sorted;

	while (tuplesort_gettupleslot(build->sort, true, false, slot, NULL))
	{
		bool null;
		int64 key = DatumGetInt64(slot_getattr(slot, 1, &null));
		bytea *data = DatumGetByteaPP(slot_getattr(slot, 2, &null));
		AnnRow row;

		read_payload(VARDATA_ANY(data), &row);
		add_row(w, (uint32) (key >> ANN_SORT_SHIFT), &row);
	}
	close_leaf(w, false);
}

/* the static part as one piece, as ann_cache.c reads it */
static char *
make_static(AnnBuild *build, Size *size)
{
	bool rotated = build->rotation != NULL;
	int dim = build->dim;
	char *data, *at;

	*size = ann_static_size(&build->layout.shape, build->cells, rotated);
	data = MemoryContextAllocHuge(build->context, *size + 1);
	memset(data, 0, *size);
	memcpy(data, build->cell, sizeof(AnnCell) * (Size) build->cells);
	at = data + TYPEALIGN(64, sizeof(AnnCell) * (Size) build->cells);
	if (rotated)
	{
		memcpy(at, build->rotation, ann_rotation_size(build));
		at += ann_rotation_size(build);
	}
	code_pack(build->centroid, build->cells, dim, (float *) at);
	return data;
}

static void
write_static(Writer *w)
{
	AnnBuild *build = w->build;
	const Size part_most =
		BLCKSZ - MAXALIGN(SizeOfPageHeaderData) - MAXALIGN(sizeof(AnnOpaque));
	Size size, done = 0;
	char *data = make_static(build, &size);
	AnnMeta *meta = &build->meta;
	pg_crc32c crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, data, size);
	FIN_CRC32C(crc);
	meta->static_crc = crc;
	meta->static_block =
		w->retrain ? append_pages(w, (size + part_most - 1) / part_most)
				   : w->end;
	meta->static_pages = 0;
	while (done < size)
	{
		Page page = w->head.data;
		Size part = Min(size - done, part_most);

		CHECK_FOR_INTERRUPTS();
		ann_page_init(page, ANN_PAGE_STATIC, meta->generation);
		memcpy(PageGetContents(page), data + done, part);
		((PageHeader) page)->pd_lower = MAXALIGN(SizeOfPageHeaderData) + part;
		write_page(w, meta->static_block + meta->static_pages++, page);
		done += part;
	}
	pfree(data);
}

void
ann_write_all(AnnBuild *build, bool retrain)
{
	Writer *w = palloc0(sizeof(Writer));
	AnnMeta *meta = &build->meta;

	w->build = build;
	w->retrain = retrain;
	w->end = RelationGetNumberOfBlocks(build->index);
	w->tail = palloc0(sizeof(PGAlignedBlock) * build->layout.tails);
	meta->log_head = meta->log_tail = InvalidBlockNumber;
	meta->log_leaves = meta->log_built = 0;
	write_leaves(w);
	write_static(w);
	meta->dim = build->dim;
	meta->metric = build->metric;
	meta->cells = build->cells;
	meta->rotated = build->rotation != NULL;
	meta->built_rows = (uint64) build->rows;
	meta->built_blocks = RelationGetNumberOfBlocks(build->index);
	meta->own_blocks = w->pages;
	meta->residual =
		build->rows > 0 ? (float) (build->residual_sum / build->rows) : 0;
	meta->code_error =
		build->rows > 0 ? (float) (build->error_sum / build->rows) : 0;
	pfree(w->tail);
	pfree(w);
}

/* block 0 of a new index */
void
ann_write_meta(AnnBuild *build, ForkNumber fork)
{
	Relation index = build->index;
	Buffer buffer;
	bool have = RelationGetNumberOfBlocksInFork(index, fork) > 0;

	buffer = ReadBufferExtended(index, fork, have ? ANN_META_BLOCK : P_NEW,
								RBM_ZERO_AND_LOCK, NULL);
	START_CRIT_SECTION();
	ann_meta_init(BufferGetPage(buffer), &build->meta);
	MarkBufferDirty(buffer);
	if (fork == INIT_FORKNUM)
		log_newpage_buffer(buffer, true);
	END_CRIT_SECTION();
	UnlockReleaseBuffer(buffer);
}
