/*
 * serve.h
 *		Answers from models: recommend and the rest of the serving table.
 *
 * The way of a call: store_get finds the model under the active snapshot;
 * serve_table_open locks a model table and checks the caller's rights;
 * serve_table_vector fetches one row's vector; serve_seen reads the ratings
 * table as it is now; serve_cache_get hands out the packed table, or NULL
 * when it must not be cached, and then serve_sql.c asks plain SQL. README.md
 * says why a cached table is never staler than the statement's snapshot.
 */
#ifndef RECSYS_SERVE_H
#define RECSYS_SERVE_H

#include "postgres.h"

#include "access/skey.h"
#include "fmgr.h"
#include "executor/spi.h"
#include "utils/jsonb.h"
#include "utils/rel.h"
#include "utils/snapshot.h"
#include "utils/tuplestore.h"

#include "math/topk.h"
#include "model/feature_code.h"
#include "model/predict.h"
#include "store/store.h"
#include "type/vector.h"

typedef enum ServeKeyKind
{
	KEY_INT,  /* int2, int4, int8 */
	KEY_TEXT, /* text, varchar: equal when the bytes are */
	KEY_UUID,
	KEY_NUMERIC
} ServeKeyKind;

/*
 * A key in hand is a canonical Datum: an int64 for integers, a plain
 * (detoasted) value for the others.
 */
typedef struct ServeKeyType
{
	Oid type;
	ServeKeyKind kind;
} ServeKeyType;

/* open addressing from key to a number; lives in the context given */
typedef struct ServeMap
{
	MemoryContext context;
	ServeKeyType type;
	uint32 mask;    /* slots - 1 */
	uint32 used;    /* keys in it */
	uint32 *hashes; /* (slots) */
	int32 *values;  /* (slots), -1: the slot is free */
	Datum *keys;    /* (slots) */
} ServeMap;

/* columns beside the key: one of the vectors, and the popularity */
#define SERVE_EMBEDDING 1
#define SERVE_RANKING 2
#define SERVE_INTERACTIONS 4

/* an open model table */
typedef struct ServeTable
{
	Relation rel;
	Oid schema; /* of the extension */
	ServeKeyType key;
	AttrNumber key_att;
	AttrNumber vector_att;       /* embedding, or ranking */
	AttrNumber interactions_att; /* 0 unless asked for */
	bool params;                 /* the parameters: no key and no vectors */
	bool plain; /* may be read without the executor: no policies in force */
	int version;
	int dim;            /* of the vectors */
	int64 rows;         /* as the catalog has it: a hint */
	int32 interactions; /* of the row read last, where they are asked for */
} ServeTable;

/*
 * A model table packed for scanning. Rows without an embedding are not in
 * it. Immutable but for popular and map, which are made when first asked for.
 */
typedef struct ServePack
{
	MemoryContext context;
	ServeKeyType key;
	int32 n;
	int dim;
	float *rows;         /* (n, dim), by falling norm, else by key */
	float *norms;        /* (n) */
	Datum *keys;         /* (n) */
	int32 *order;        /* (n), place of the key in rising key order */
	int32 *by_key;       /* (n), the row at each such place */
	int32 *interactions; /* (n), NULL when not read */
	int32 *popular;      /* (n), rows by falling interactions, then key */
	ServeMap *map;       /* key to row */
	double *gram;        /* of serve_from.c, made when first asked for */
	int gram_blocks;
	Size bytes;
} ServePack;

/* the rows of a param table, checked to be arrays of the shapes they say */
typedef struct ServeParams
{
	int n;
	PredictParam *params;
	Size bytes;
} ServeParams;

/* a column of a table of features, as the model knows it */
typedef struct ServeFeature
{
	char *name; /* of the column */
	FeatureKind kind;
	char delimiter;
	int n;             /* rows */
	const float *rows; /* (n, 1 + width), see store.h */
} ServeFeature;

/* what a model has learnt of one side's features */
typedef struct ServeFeatures
{
	ServeTable table; /* of parameters, open */
	const char *side; /* user, item or context */
	int dim;          /* of embedding */
	int width;        /* with ranking; of the context also that of items */
	bool embedding;   /* which of the two is known */
	bool ranking;
	const float *base; /* (width) */
	int n;
	ServeFeature *feature;
} ServeFeatures;

typedef struct ServeHit
{
	double score;
	int32 row;
	int32 order;
} ServeHit;

/* where the rows of an answer go */
typedef struct ServeRows
{
	Tuplestorestate *store;
	TupleDesc desc;
} ServeRows;

/* a row of a query; false ends the query */
typedef bool (*ServeRowCallback)(TupleTableSlot *slot, void *arg);

/* functions in serve_query.c */
extern void serve_query(const char *query, int n, const Oid *types,
						const Datum *values, ServeRowCallback row, void *arg);
extern void serve_query_plan(SPIPlanPtr plan, int n, const Oid *types,
							 const Datum *values, ServeRowCallback row,
							 void *arg);

/* functions in serve_key.c */
/* an argument that is the text of an array ('{12,7}') becomes the array of text */
extern void serve_array_literal(FunctionCallInfo fcinfo, int arg);
extern void serve_key_init(ServeKeyType *type, Oid oid);
/* a value as a column of the key's type has it */
extern Datum serve_key_read(const ServeKeyType *type, Datum raw);
extern Datum serve_key_native(const ServeKeyType *type, Datum key);
extern Datum serve_key_copy(const ServeKeyType *type, Datum key);
/* from an SQL argument; false when no row can have this key */
extern bool serve_key_of_int64(const ServeKeyType *type, int64 value,
							   Datum *key);
extern bool serve_key_of_text(const ServeKeyType *type, text *value,
							  Datum *key);
extern uint32 serve_key_hash(const ServeKeyType *type, Datum key);
extern bool serve_key_equal(const ServeKeyType *type, Datum a, Datum b);
extern int serve_key_compare(const ServeKeyType *type, Datum a, Datum b);
/* the pair of columns (id bigint, key text) */
extern void serve_key_columns(const ServeKeyType *type, Datum key,
							  Datum *values, bool *nulls);

/* functions in serve_map.c */
extern ServeMap *serve_map_new(const ServeKeyType *type, uint32 expected);
/* the number already there, or `value` after it was added; the key is kept,
 * not copied, unless copy */
extern int32 serve_map_add(ServeMap *map, Datum key, int32 value, bool copy);
/* -1 when it is not there */
extern int32 serve_map_find(const ServeMap *map, Datum key);

/* functions in serve_table.c */
extern void serve_table_open(ServeTable *table, const StoreModel *model,
							 bool item, int columns);
/* equality with the first column of a btree */
extern void serve_table_scan_key(ScanKey scan_key, Relation index,
								 const ServeKeyType *key_type, Datum key);
extern void serve_table_open_params(ServeTable *table, const StoreModel *model);
extern void serve_table_close(ServeTable *table);
/*
 * The vector of one row, in the current context. Returns false when there is no such row; *vector is NULL when it is NULL.
 */
extern bool serve_table_vector(ServeTable *table, Datum key, Vector **vector);
/* 55000 when the table has a vector of another dimension */
extern void serve_table_check_dim(const ServeTable *table, int dim);
extern char *serve_table_name(Oid relid);
extern char *serve_operator(const ServeTable *table, const char *name);
extern void serve_check_retrieval(const StoreModel *model);
extern void serve_check_ranking(const StoreModel *model);

/* functions in serve_pack.c */
/*
 * NULL when it would take more than limit bytes. Rows in falling order of
 * their norms for scanning, or else (by_key) of their keys.
 */
extern ServePack *serve_pack_load(ServeTable *table, Size limit, bool by_key);
extern int32 *serve_pack_popular(ServePack *pack);
extern int32 serve_pack_find(ServePack *pack, Datum key);

/* functions in serve_params.c */
/* NULL when they would take more than limit bytes */
extern ServeParams *serve_params_load(ServeTable *table, Size limit);
/* what was learnt of a side's features, but for the categories; and those */
extern ServeParams *serve_params_features(ServeTable *table, const char *side);
extern ServeParams *serve_params_named(ServeTable *table, char **names, int n);

/* functions in serve_features.c */

/* false, and nothing to be closed: the model knows no features of the side */
extern bool serve_features_open(ServeFeatures *f, const StoreModel *model,
								const char *side);
extern void serve_features_close(ServeFeatures *f);
extern void serve_features_refuse(const ServeFeatures *f, const char *name);
/*
 * What the features of an object say, into sum (dim + ranking_dim). strict:
 * 22023 when it has a key that is no feature.
 */
extern void serve_features_sum(ServeFeatures *f, Jsonb *profile, bool strict,
							   float *sum);
/* the first column that the model knows and the table has not, or NULL */
extern const char *serve_features_missing(const ServeFeatures *f, Oid table);
/* an expression that makes the object out of a row of the features' table */
extern char *serve_features_object(const ServeFeatures *f, Oid table);
/*
 * The vector of somebody who is in the table of features, of a model that
 * does not know him otherwise; NULL when he is not there either.
 */
extern Vector *serve_features_vector(const StoreModel *model, bool item,
									 Datum key, bool ranking);

/* functions in serve_encode.c */

/* a key that is no feature: true when it may be passed over */
typedef bool (*ServeUnknown)(void *arg, const char *name, int size);
/*
 * The sum (width) of what an object's values add to what all have. 22P02 for
 * a value of a wrong type, 22023 for an unknown key, or one that unknown
 * (NULL: none) does not bear.
 */
extern void serve_encode(ServeFeatures *f, Jsonb *object, ServeUnknown unknown,
						 void *arg, float *sum);

/* functions in serve_context.c */

/* what a context adds to vectors; parts that the model has not are NULL */
typedef struct ServeContext
{
	const float *embedding; /* (dim) */
	const float *user;      /* ranking vectors */
	const float *item;
} ServeContext;

/*
 * From an argument that is NULL or an object: false when it is NULL or says
 * nothing. ranking: the dimensions of users' and items' vectors are needed,
 * and 55000 says that the model knows no context there; else of the
 * embedding.
 */
extern bool serve_arg_context(FunctionCallInfo fcinfo, int arg,
							  const StoreModel *model, bool ranking,
							  int user_dim, int item_dim,
							  ServeContext *context);

/* functions in serve_cache.c */
/*
 * The table packed, as the active snapshot sees it; NULL when it must be
 * read by SQL. Valid until the next call of this function or of SPI.
 */
extern ServePack *serve_cache_get(ServeTable *table);
/*
 * True when this session asks for the table for the first time and it has an
 * index for inner products, so is large: SQL is ready sooner than a packed
 * table.
 */
extern bool serve_cache_first(ServeTable *table);
/* the same for parameters; never NULL */
extern ServeParams *serve_cache_params(ServeTable *table);

/* functions in serve_pairs.c */

/*
 * Keys numbered from 0: first those of a packed table in its order, then
 * others as they come.
 */
typedef struct ServeNames
{
	ServeMap *map;
	Datum *keys; /* (n) */
	int32 n;
	int32 capacity;
	int32 known; /* the first so many are the model's */
} ServeNames;

typedef struct ServePair
{
	int32 user;
	int32 item;
	float rating; /* NaN: NULL */
} ServePair;

typedef struct ServePairs
{
	ServePair *rows; /* (n) */
	int64 n;
	int64 capacity;
	bool rated; /* the table has a rating column */
} ServePairs;

/* pack NULL: no key is known */
extern void serve_names_init(ServeNames *names, const ServeKeyType *type,
							 const ServePack *pack);
/*
 * All rows of a table with ratings. Column names are those of the model's
 * ratings table, else (guess) usual ones. Rows with a NULL key are left out.
 */
extern void serve_pairs_read(ServePairs *pairs, const StoreModel *model,
							 Oid relation, bool guess, ServeNames *users,
							 ServeNames *items);
/*
 * The query of these rows: user, item, rating where there is one (rated), and
 * what `more`, SQL or NULL, asks for besides.
 */
extern char *serve_pairs_query(const StoreModel *model, Oid relation,
							   bool guess, const char *more, bool *rated);
/* sorts by user, then item; the answer (n_users + 1) says where each begins */
extern int64 *serve_pairs_by_user(ServePairs *pairs, int32 n_users);

/* functions in serve_seen.c */
/*
 * Keys that the ratings table has beside `key`: the items of a user, or with
 * of_item the users of an item.
 */
extern ServeMap *serve_seen(const StoreModel *model, bool of_item, Datum key);
/* the quoted name of the ratings table, after checking that it can be read */
extern char *serve_seen_table(const StoreModel *model);

/* functions in serve_scan.c */
/* the k best rows by inner product (or by cosine), best first */
extern int serve_scan_top(const ServePack *pack, const float *query,
						  bool cosine, int64 k, const ServeMap *skip,
						  ServeHit **hits);
/* rows taken, with exact scores, best first, equal ones by key */
extern ServeHit *serve_scan_finish(const ServePack *pack, const float *query,
								   bool cosine, const TopK *top);

/* functions in serve_seen_index.c */
/* the same into map, by an index; false when that cannot be */
extern bool serve_seen_by_index(const StoreModel *model, bool of_item,
								const ServeKeyType *type, Datum key,
								ServeMap *map);

/* functions in serve_recommend.c */
/* the best rows for a vector, from the cache or by SQL */
extern void serve_put_top(ServeTable *table, const Vector *query, bool cosine,
						  int64 k, const ServeMap *skip, ServeRows *rows,
						  const char *source);
extern void serve_put_popular(ServeTable *table, int64 k, const ServeMap *skip,
							  ServeRows *rows);

/* functions in serve_sql.c */
/* exact: with recsys.target_recall = 1, whatever it is set to */
extern int64 serve_sql_top(ServeTable *table, const Vector *query, bool cosine,
						   bool exact, int64 k, const ServeMap *skip,
						   ServeRows *rows, const char *source);
extern int64 serve_sql_popular(ServeTable *table, int64 k, const ServeMap *skip,
							   ServeRows *rows);
/* the mean ranking vector of all rows; NULL when there is none */
extern Vector *serve_sql_mean(ServeTable *table);
extern bool serve_sql_vector(ServeTable *table, Datum key, Vector **vector);
extern char *serve_sql_column(const ServeTable *table, AttrNumber att);

/* functions in serve_rows.c */
extern void serve_rows_begin(ServeRows *rows, FunctionCallInfo fcinfo);
extern void serve_rows_put(ServeRows *rows, const ServeKeyType *type,
						   int64 rank, Datum key, double score,
						   const char *source);
/* arguments: 22004 when NULL, named; 22023 when k is negative */
extern void serve_refuse_null(FunctionCallInfo fcinfo, int arg,
							  const char *name);
extern int64 serve_arg_k(FunctionCallInfo fcinfo, int arg);
extern bool serve_arg_bool(FunctionCallInfo fcinfo, int arg, const char *name);
extern void serve_arg_model(FunctionCallInfo fcinfo, int arg,
							StoreModel *model);
/*
 * The key of a user (or item), given as text or bigint, and its type in this
 * model; false when no row can have this key.
 */
extern bool serve_arg_key(FunctionCallInfo fcinfo, int arg,
						  const StoreModel *model, bool item, bool is_text,
						  ServeKeyType *type, Datum *key);

#endif
