/*
 * ann_cache.c
 *		The static part in a backend's memory.
 *
 * It lives in rd_amcache, one palloc'd piece that the relation cache frees
 * on invalidation; so nobody keeps a pointer to it across anything that may
 * take a lock on a relation (a heap fetch may, for TOAST).
 */
#include "postgres.h"

#include <math.h>

#include "index/ann.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "port/pg_crc32c.h"
#include "storage/bufmgr.h"
#include "utils/memutils.h"

/* cells, rotation, centroids, in this order, each of whole 64 bytes */
static Size
part_cells(int cells)
{
	return TYPEALIGN(64, sizeof(AnnCell) * (Size) cells);
}

static Size
part_packed(int rows, int dim)
{
	return TYPEALIGN(64, sizeof(float) * CODE_LANES * (Size) dim *
							 ((rows + CODE_LANES - 1) / CODE_LANES));
}

Size
ann_static_size(const CodeShape *shape, int cells, bool rotated)
{
	Size turn = rotated ? rotation_size(shape->dim, shape->head) : 0;

	return part_cells(cells) + turn + part_packed(cells, shape->dim);
}

static void
read_static(Relation index, const AnnMeta *meta, char *to, Size size)
{
	pg_crc32c crc;
	Size done = 0;

	if (size == 0)
		return;
	for (uint32 i = 0; done < size; i++)
	{
		BlockNumber block = meta->static_block + i;
		Buffer buffer;
		Size part = Min(size - done, BLCKSZ - MAXALIGN(SizeOfPageHeaderData) -
										 MAXALIGN(sizeof(AnnOpaque)));

		if (i >= meta->static_pages)
			ann_corrupted(index, ANN_META_BLOCK,
						  "The static part is shorter than it must be.");
		CHECK_FOR_INTERRUPTS();
		buffer = ann_read_stored(index, block);
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		ann_check_page(index, buffer, ANN_PAGE_STATIC, meta->generation);
		memcpy(to + done, PageGetContents(BufferGetPage(buffer)), part);
		UnlockReleaseBuffer(buffer);
		done += part;
	}
	INIT_CRC32C(crc);
	COMP_CRC32C(crc, to, size);
	FIN_CRC32C(crc);
	if (!EQ_CRC32C(crc, meta->static_crc))
		ann_corrupted(index, meta->static_block,
					  "The checksum of the static part is wrong.");
}

static void
set_half(AnnCache *cache)
{
	for (int i = 0; i < cache->blocks * CODE_LANES; i++)
	{
		const AnnCell *cell = cache->cell + i;
		bool usable = i < cache->cells && cell->first != InvalidBlockNumber;

		cache->half[i] = usable ? cell->norm * cell->norm / 2 : INFINITY;
	}
}

/* the static part in one palloc'd piece of a context */
AnnCache *
ann_cache_make(Relation index, const AnnMeta *meta, MemoryContext context)
{
	bool rotated = meta->rotated != 0;
	CodeShape shape = ann_meta_shape(meta);
	Size head = TYPEALIGN(64, sizeof(AnnCache)), size, half;
	AnnCache *cache;
	BlockNumber blocks;
	char *at;

	if (meta->cells > MaxAllocSize / sizeof(AnnCell) ||
		meta->static_pages > RelationGetNumberOfBlocks(index))
		ann_corrupted(index, ANN_META_BLOCK, "Its counts are impossible.");
	size = ann_static_size(&shape, meta->cells, rotated);
	if (size / BLCKSZ > meta->static_pages)
		ann_corrupted(index, ANN_META_BLOCK, "Its counts are impossible.");
	blocks = RelationGetNumberOfBlocks(index);
	half = part_packed(meta->cells, 1);
	cache = MemoryContextAllocHuge(context, head + 64 + size + half +
												blocks * sizeof(Buffer));
	memset(cache, 0, sizeof(*cache));
	at = (char *) TYPEALIGN(64, (char *) cache + head);
	cache->generation = meta->generation;
	cache->static_block = meta->static_block;
	cache->dim = meta->dim;
	cache->cells = meta->cells;
	cache->metric = meta->metric;
	cache->blocks = (meta->cells + CODE_LANES - 1) / CODE_LANES;
	cache->rotated = rotated;
	ann_layout(&cache->layout, ann_meta_shape(meta));
	cache->recent.blocks = blocks;
	cache->half = (float *) (at + size);
	cache->recent.buffer = (Buffer *) (at + size + half);
	memset(cache->recent.buffer, 0, blocks * sizeof(Buffer));
	cache->cell = (AnnCell *) at;
	cache->rotation = (float *) (at + part_cells(meta->cells));
	cache->centroid =
		(float *) ((char *) cache->rotation +
				   (rotated ? rotation_size(meta->dim, meta->head) : 0));
	PG_TRY();
	{
		read_static(index, meta, at, size);
	}
	PG_CATCH();
	{
		pfree(cache);
		PG_RE_THROW();
	}
	PG_END_TRY();
	set_half(cache);
	return cache;
}

/* the backend's copy; see the head of this file for how long it is good */
AnnCache *
ann_cache(Relation index, const AnnMeta *meta)
{
	AnnCache *cache = index->rd_amcache;

	if (cache != NULL && cache->generation == meta->generation &&
		cache->static_block == meta->static_block)
		return cache;
	cache = ann_cache_make(index, meta, index->rd_indexcxt);
	/* reading may have let somebody else in */
	if (index->rd_amcache != NULL)
		pfree(index->rd_amcache);
	index->rd_amcache = cache;
	return cache;
}

Buffer
ann_read(Relation index, AnnRecent *recent, BlockNumber block)
{
	Buffer buffer;

	if (block >= recent->blocks)
		return ann_read_stored(index, block);
	buffer = recent->buffer[block];
	if (buffer != InvalidBuffer &&
		ReadRecentBuffer(pg_relation_locator(index), MAIN_FORKNUM, block,
						 buffer))
	{
		pgstat_count_buffer_read(index);
		pgstat_count_buffer_hit(index);
		return buffer;
	}
	buffer = ReadBuffer(index, block);
	/* buffers of temporary tables are negative and not shared: no need */
	recent->buffer[block] = Max(buffer, InvalidBuffer);
	return buffer;
}

/* its first coordinate; each next one lies CODE_LANES floats on */
static const float *
packed_centroid(const AnnCache *cache, int cell)
{
	return cache->centroid +
		   (Size) (cell / CODE_LANES) * cache->dim * CODE_LANES +
		   cell % CODE_LANES;
}

void
ann_cell_centroid(const AnnCache *cache, int cell, float *out)
{
	const float *from = packed_centroid(cache, cell);

	for (int i = 0; i < cache->dim; i++)
		out[i] = from[(Size) i * CODE_LANES];
}

void
ann_cell_difference(const AnnCache *cache, int cell, const float *q,
					float *restrict out)
{
	const float *from = packed_centroid(cache, cell);

	for (int i = 0; i < cache->dim; i++)
		out[i] = q[i] - from[(Size) i * CODE_LANES];
}

/* out has room for dim rounded up to CODE_LANES */
void
ann_rotate(const AnnCache *cache, const float *x, float *out)
{
	if (cache->rotated)
		rotation_apply(cache->rotation, cache->dim, cache->layout.shape.head, x,
					   out);
	else
		memcpy(out, x, sizeof(float) * cache->dim);
}
