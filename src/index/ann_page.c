/*
 * ann_page.c
 *		Pages of the index: layout, initialisation, access with checks.
 *
 * Whoever reads a page gets at its contents through the functions here,
 * which refuse a page that is not what it must be with XX002; so no loop
 * over pages trusts a number from disk without a check.
 */
#include "postgres.h"

#include "access/xact.h"
#include "index/ann.h"
#include "storage/bufmgr.h"
#include "storage/indexfsm.h"
#include "utils/lsyscache.h"

const float ann_recalls[ANN_RECALLS] = {0.5f, 0.6f,  0.7f,  0.8f,  0.85f,
										0.9f, 0.95f, 0.98f, 0.99f, 0.995f};
const int ann_goals[ANN_GOALS] = {10, 100};

#define PAGE_START MAXALIGN(SizeOfPageHeaderData)
#define PAGE_END (BLCKSZ - MAXALIGN(sizeof(AnnOpaque)))
#define MOST_HEAD 64 /* coordinates of level 1, beyond 24 dimensions */

static int
head_offset(int tails)
{
	return TYPEALIGN(64, PAGE_START + offsetof(AnnHead, tail) +
							 tails * sizeof(BlockNumber));
}

void
ann_layout(AnnLayout *layout, CodeShape shape)
{
	int best_rows = 0, best_tails = 1;

	layout->shape = shape;
	layout->block_size = code_block_size(&shape);
	layout->tail_size = shape.dim - shape.head;
	layout->slot_size =
		TYPEALIGN(2, offsetof(AnnTailRow, code) + layout->tail_size);
	layout->tail_rows = (PAGE_END - ANN_TAIL_START) / layout->slot_size;

	/* as many tail pages as give the most rows a page */
	for (int tails = 1; tails <= ANN_MAX_TAILS; tails++)
	{
		int room =
			(PAGE_END - head_offset(tails)) / layout->block_size * CODE_LANES;
		int rows =
			Min(room, tails * layout->tail_rows) / CODE_LANES * CODE_LANES;

		if (rows * (1 + best_tails) > best_rows * (1 + tails))
		{
			best_rows = rows;
			best_tails = tails;
		}
	}
	layout->rows = best_rows;
	layout->tails = best_tails;
	layout->tail_rows = Min(layout->tail_rows, best_rows);
	layout->head_offset = head_offset(best_tails);
}

/*
 * Coordinates of level 1: so many that its bounds discard most rows, so few that
 * reading them does not take longer than the level-2 codes that they save. By
 * measurement on towers of 64 to 128 dimensions, of unit length and not.
 */
static int
choose_head(int dim)
{
	if (dim <= 24)
		return dim;
	if (dim < 48)
		return 16;
	if (dim < 80)
		return 40;
	if (dim < 192)
		return 48;
	return MOST_HEAD;
}

CodeShape
ann_choose_shape(int dim, bool l2, bool signs)
{
	/* rows of L2 have one more float in level 1, in place of four codes */
	int less = l2 && dim >= 48 ? sizeof(float) : 0;
	CodeShape shape = {dim, choose_head(dim) - less, l2, signs};
	AnnLayout least;

	if (!signs)
		return shape;
	/* beside signs half as many will do; more where a page has room for them */
	StaticAssertStmt(BLCKSZ >= 8192, "a page must hold a block of rows");
	shape.head = MOST_HEAD / 2;
	ann_layout(&least, shape);
	while (shape.head < MOST_HEAD)
	{
		CodeShape wider = shape;
		AnnLayout layout;

		wider.head += 4;
		ann_layout(&layout, wider);
		if (layout.rows < least.rows)
			break;
		shape = wider;
	}
	return shape;
}

CodeShape
ann_meta_shape(const AnnMeta *meta)
{
	return (CodeShape){(int) meta->dim, (int) meta->head,
					   meta->metric == ANN_L2, meta->signs != 0};
}

/* is it one that ann_choose_shape chooses? */
static bool
shape_is_sound(const AnnMeta *meta)
{
	/* of the last shape with signs: choosing takes microseconds */
	static int known_dim = 0, known_head = 0;
	CodeShape shape = ann_meta_shape(meta);

	if (!shape.signs)
		return shape.head == ann_choose_shape(shape.dim, shape.l2, false).head;
	if (meta->signs != ANN_SIGNS || shape.dim < ANN_SIGNS_DIM || shape.l2)
		return false;
	if (known_dim != shape.dim)
	{
		known_head = ann_choose_shape(shape.dim, false, true).head;
		known_dim = shape.dim;
	}
	return shape.head == known_head;
}

void
ann_page_init(Page page, AnnPageKind kind, uint32 generation)
{
	AnnOpaque *opaque;

	PageInit(page, BLCKSZ, sizeof(AnnOpaque));
	opaque = AnnPageOpaque(page);
	opaque->generation = generation;
	opaque->kind = kind;
	opaque->page_id = ANN_PAGE_ID;
}

void
ann_corrupted(Relation index, BlockNumber block, const char *what)
{
	ereport(ERROR, (errcode(ERRCODE_INDEX_CORRUPTED),
					errmsg("index \"%s\" is corrupted at block %u",
						   RelationGetRelationName(index), block),
					errdetail("%s", what), errhint("REINDEX the index.")));
}

/* a block whose number was read from a page and may be nonsense */
Buffer
ann_read_stored(Relation index, BlockNumber block)
{
	if (block == ANN_META_BLOCK || block >= RelationGetNumberOfBlocks(index))
		ann_corrupted(index, block, "A page leads to a block past the end.");
	return ReadBuffer(index, block);
}

Buffer
ann_free_page(Relation index, uint32 free_below)
{
	for (;;)
	{
		BlockNumber block = GetFreeIndexPage(index);
		Buffer buffer;
		Page page;

		if (block == InvalidBlockNumber)
			return InvalidBuffer;
		if (block >= RelationGetNumberOfBlocks(index))
			continue;
		buffer = ReadBuffer(index, block);
		if (ConditionalLockBuffer(buffer))
		{
			page = BufferGetPage(buffer);
			if (PageIsNew(page) ||
				(PageGetSpecialSize(page) == MAXALIGN(sizeof(AnnOpaque)) &&
				 AnnPageOpaque(page)->page_id == ANN_PAGE_ID &&
				 AnnPageOpaque(page)->kind != ANN_PAGE_META &&
				 AnnPageOpaque(page)->generation < free_below))
				return buffer;
			LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
		}
		ReleaseBuffer(buffer);
	}
}

void
ann_check_page(Relation index, Buffer buffer, AnnPageKind kind,
			   uint32 generation)
{
	Page page = BufferGetPage(buffer);
	AnnOpaque *opaque;
	BlockNumber block = BufferGetBlockNumber(buffer);

	if (PageIsNew(page))
		ann_corrupted(index, block, "The page is empty.");
	if (PageGetSpecialSize(page) != MAXALIGN(sizeof(AnnOpaque)) ||
		((PageHeader) page)->pd_special != PAGE_END)
		ann_corrupted(index, block, "Its special space has a wrong size.");
	opaque = AnnPageOpaque(page);
	if (opaque->page_id != ANN_PAGE_ID)
		ann_corrupted(index, block, "It is not a page of this index.");
	if (kind != ANN_PAGE_META && opaque->generation != generation)
	{
		/* on a standby a page may have been used again under a scan, or given
		 * up by who used it (0, see mark_free) */
		if ((opaque->generation > generation || opaque->generation == 0) &&
			TransactionStartedDuringRecovery())
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("index \"%s\" was reorganised during the scan",
							RelationGetRelationName(index)),
					 errhint("Run the query again.")));
		ann_corrupted(index, block, "It belongs to another structure.");
	}
	if (opaque->kind != kind)
		ann_corrupted(index, block, "It is a page of another kind.");
}

AnnMeta *
ann_meta_of(Page page)
{
	return (AnnMeta *) PageGetContents(page);
}

void
ann_meta_init(Page page, const AnnMeta *meta)
{
	ann_page_init(page, ANN_PAGE_META, 0);
	memcpy(ann_meta_of(page), meta, sizeof(*meta));
	((PageHeader) page)->pd_lower =
		((char *) ann_meta_of(page) + sizeof(*meta)) - (char *) page;
}

static void
check_meta(Relation index, const AnnMeta *meta)
{
	if (meta->magic != ANN_MAGIC)
		ann_corrupted(index, ANN_META_BLOCK, "It has a wrong magic number.");
	if (meta->version != ANN_VERSION)
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("index \"%s\" has format version %u, expected %d",
					RelationGetRelationName(index), meta->version, ANN_VERSION),
			 errhint("REINDEX the index.")));
	if (meta->dim < 1 || meta->dim > ANN_MAX_DIM || meta->metric > ANN_COSINE ||
		!shape_is_sound(meta))
		ann_corrupted(index, ANN_META_BLOCK, "Its shape is impossible.");
}

bool
ann_is_current(Relation index)
{
	Buffer buffer = ReadBuffer(index, ANN_META_BLOCK);
	const AnnMeta *meta;
	bool current;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	ann_check_page(index, buffer, ANN_PAGE_META, 0);
	meta = ann_meta_of(BufferGetPage(buffer));
	current = meta->magic == ANN_MAGIC && meta->version == ANN_VERSION;
	UnlockReleaseBuffer(buffer);
	return current;
}

void
ann_read_meta(Relation index, Snapshot snapshot, AnnMeta *meta)
{
	Buffer buffer = ReadBuffer(index, ANN_META_BLOCK);

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	pg_test_for_old_snapshot(snapshot, index, BufferGetPage(buffer));
	ann_check_page(index, buffer, ANN_PAGE_META, 0);
	memcpy(meta, ann_meta_of(BufferGetPage(buffer)), sizeof(*meta));
	UnlockReleaseBuffer(buffer);
	check_meta(index, meta);
}

AnnHead *
ann_head_of(Relation index, Buffer buffer, const AnnLayout *layout,
			uint32 generation, uint32 cell)
{
	AnnHead *head;

	ann_check_page(index, buffer, ANN_PAGE_HEAD, generation);
	head = (AnnHead *) PageGetContents(BufferGetPage(buffer));
	if (head->used > layout->rows || head->dead > head->used ||
		head->cell != cell)
		ann_corrupted(index, BufferGetBlockNumber(buffer),
					  "Its counts or its cell are wrong.");
	return head;
}

AnnTail *
ann_tail_of(Relation index, Buffer buffer, uint32 generation, BlockNumber head)
{
	AnnTail *tail;

	ann_check_page(index, buffer, ANN_PAGE_TAIL, generation);
	tail = (AnnTail *) PageGetContents(BufferGetPage(buffer));
	if (tail->head != head)
		ann_corrupted(index, BufferGetBlockNumber(buffer),
					  "It belongs to another head page.");
	return tail;
}

void
ann_head_init(Page page, const AnnLayout *layout, uint32 generation,
			  uint32 cell)
{
	AnnHead *head;

	ann_page_init(page, ANN_PAGE_HEAD, generation);
	head = (AnnHead *) PageGetContents(page);
	head->cell = cell;
	head->next = InvalidBlockNumber;
	for (int i = 0; i < layout->tails; i++)
		head->tail[i] = InvalidBlockNumber;
	((PageHeader) page)->pd_lower =
		layout->head_offset + layout->rows / CODE_LANES * layout->block_size;
}

void
ann_tail_init(Page page, const AnnLayout *layout, uint32 generation,
			  uint32 cell, BlockNumber head, int index)
{
	AnnTail *tail;

	ann_page_init(page, ANN_PAGE_TAIL, generation);
	tail = (AnnTail *) PageGetContents(page);
	tail->cell = cell;
	tail->head = head;
	tail->index = index;
	for (int i = 0; i < layout->tail_rows; i++)
		ItemPointerSetInvalid(&ann_tail_row(page, layout, i)->tid);
	((PageHeader) page)->pd_lower =
		ANN_TAIL_START + layout->tail_rows * layout->slot_size;
}

/* level 1 of the row at slot of a head page */
void
ann_put_head(Page page, const AnnLayout *layout, int slot, const CodeRow *row)
{
	uint8 *block = (uint8 *) page + layout->head_offset +
				   slot / CODE_LANES * layout->block_size;

	code_block_put(&layout->shape, block, slot % CODE_LANES, row);
}

/* level 2 and TID of the row at slot of a tail page */
void
ann_put_tail(Page page, const AnnLayout *layout, int slot, const AnnRow *row)
{
	AnnTailRow *to = ann_tail_row(page, layout, slot);

	to->scale = row->code.tail_scale;
	to->error = row->code.error;
	to->tid = row->tid;
	memcpy(to->code, row->code.codes + code_head_padded(&layout->shape),
		   layout->tail_size);
}
