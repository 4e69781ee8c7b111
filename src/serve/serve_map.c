/*
 * serve_map.c
 *		A small hash table from keys to numbers.
 *
 * Open addressing with linear probing, never more than half full. Used for
 * the items that a user has seen and for finding a key in a packed table.
 */
#include "postgres.h"

#include "port/pg_bitutils.h"
#include "utils/memutils.h"

#include "serve/serve.h"

#define MAP_MAX_SLOTS (UINT64CONST(1) << 31)

static void
allocate(ServeMap *map, uint64 slots)
{
	if (slots > MAP_MAX_SLOTS)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("too many keys in one table")));
	map->mask = (uint32) (slots - 1);
	map->used = 0;
	map->hashes = MemoryContextAllocHuge(map->context, slots * sizeof(uint32));
	map->values = MemoryContextAllocHuge(map->context, slots * sizeof(int32));
	map->keys = MemoryContextAllocHuge(map->context, slots * sizeof(Datum));
	memset(map->values, 0xff, slots * sizeof(int32));
}

ServeMap *
serve_map_new(const ServeKeyType *type, uint32 expected)
{
	ServeMap *map = palloc(sizeof(ServeMap));

	map->context = CurrentMemoryContext;
	map->type = *type;
	allocate(map, pg_nextpower2_64(Max((uint64) expected * 2, 16)));
	return map;
}

/* the slot that has the key, or the free one where it would go */
static uint32
probe(const ServeMap *map, Datum key, uint32 hash)
{
	uint32 slot = hash & map->mask;

	while (map->values[slot] >= 0 &&
		   !(map->hashes[slot] == hash &&
			 serve_key_equal(&map->type, map->keys[slot], key)))
		slot = (slot + 1) & map->mask;
	return slot;
}

static void
grow(ServeMap *map)
{
	ServeMap old = *map;

	allocate(map, ((uint64) old.mask + 1) * 2);
	for (uint64 i = 0; i <= old.mask; i++)
	{
		uint32 slot;

		if (old.values[i] < 0)
			continue;
		slot = old.hashes[i] & map->mask;
		while (map->values[slot] >= 0)
			slot = (slot + 1) & map->mask;
		map->hashes[slot] = old.hashes[i];
		map->values[slot] = old.values[i];
		map->keys[slot] = old.keys[i];
	}
	map->used = old.used;
	pfree(old.hashes);
	pfree(old.values);
	pfree(old.keys);
}

int32
serve_map_add(ServeMap *map, Datum key, int32 value, bool copy)
{
	uint32 hash = serve_key_hash(&map->type, key);
	uint32 slot = probe(map, key, hash);

	if (map->values[slot] >= 0)
		return map->values[slot];
	if (copy && map->type.kind != KEY_INT)
	{
		MemoryContext old = MemoryContextSwitchTo(map->context);

		key = serve_key_copy(&map->type, key);
		MemoryContextSwitchTo(old);
	}
	map->hashes[slot] = hash;
	map->values[slot] = value;
	map->keys[slot] = key;
	if (++map->used * UINT64CONST(2) > map->mask)
		grow(map);
	return value;
}

int32
serve_map_find(const ServeMap *map, Datum key)
{
	return map->values[probe(map, key, serve_key_hash(&map->type, key))];
}
