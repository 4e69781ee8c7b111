/*
 * train_columns.c
 *		Which columns of the rating table are users, items, ratings, times.
 *
 * Names that were not given are guessed from lists of usual names, best
 * first, in any case and with underscores or without (RatedAt), then by a word
 * that only one column's name contains; a NOTICE says which were taken. Types
 * are checked here.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/formatting.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "pg/pg_compat.h"
#include "store/store.h"
#include "train/train.h"

static const char *const time_names[] = {
	"timestamp", "rated_at",   "ts", "created_at", "rating_time",
	"time",      "event_time", "at", "date",       "unix_time"};

void
train_column_find(Oid relation, const char *name, TrainColumn *column)
{
	HeapTuple tuple = SearchSysCacheAttName(relation, name);
	Form_pg_attribute att;
	int32 typmod = -1;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
						errmsg("column \"%s\" of relation \"%s\" does not "
							   "exist",
							   name, get_rel_name(relation))));
	att = (Form_pg_attribute) GETSTRUCT(tuple);
	namestrcpy(&column->name, name);
	column->attno = att->attnum;
	column->type = getBaseTypeAndTypmod(att->atttypid, &typmod);
	column->collation = att->attcollation;
	ReleaseSysCache(tuple);
	if (column->attno <= 0)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
						errmsg("column \"%s\" is a system column", name)));
}

static bool
is_rating_type(Oid type)
{
	return type == INT2OID || type == INT4OID || type == INT8OID ||
		   type == FLOAT4OID || type == FLOAT8OID || type == NUMERICOID ||
		   type == BOOLOID;
}

static bool
is_time_type(Oid type)
{
	return type == TIMESTAMPTZOID || type == TIMESTAMPOID || type == DATEOID ||
		   (is_rating_type(type) && type != BOOLOID);
}

TrainKeyKind
train_key_kind(const TrainColumn *column)
{
	switch (column->type)
	{
		case INT2OID:
		case INT4OID:
		case INT8OID:
			return TRAIN_KEY_INT;
		case UUIDOID:
			return TRAIN_KEY_UUID;
		case NUMERICOID:
			return TRAIN_KEY_NUMERIC;
		case TEXTOID:
		case VARCHAROID:
			if (OidIsValid(column->collation) &&
				!get_collation_isdeterministic(column->collation))
				ereport(ERROR,
						(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						 errmsg("column \"%s\" has a nondeterministic "
								"collation",
								NameStr(column->name)),
						 errhint("Train from a view that applies another "
								 "collation to the column.")));
			return TRAIN_KEY_TEXT;
		default:
			ereport(
				ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of type %s cannot be a key",
						NameStr(column->name), format_type_be(column->type)),
				 errhint("Keys may be smallint, integer, bigint, text, "
						 "varchar, uuid or numeric.")));
	}
}

static bool
taken(const TrainArgs *args, const char *name)
{
	return strcmp(NameStr(args->user_col), name) == 0 ||
		   strcmp(NameStr(args->item_col), name) == 0 ||
		   strcmp(NameStr(args->rating_col), name) == 0 ||
		   strcmp(NameStr(args->time_col), name) == 0;
}

/*
 * May the caller read the column? Who has no right at all gets the error of
 * reading, not one of guessing.
 */
static bool
is_readable(const TrainArgs *args, Form_pg_attribute att)
{
	Oid role = GetUserId();

	return pg_class_aclcheck(args->ratings, role, ACL_SELECT) == ACLCHECK_OK ||
		   pg_attribute_aclcheck(args->ratings, att->attnum, role,
								 ACL_SELECT) == ACLCHECK_OK ||
		   pg_attribute_aclcheck_all(args->ratings, role, ACL_SELECT,
									 ACLMASK_ANY) != ACLCHECK_OK;
}

/* RatedAt is rated_at to who writes it so */
static bool
is_word(const char *name, const char *word)
{
	do
	{
		name += strspn(name, "_");
		word += strspn(word, "_");
		if (pg_tolower((unsigned char) *name) !=
			pg_tolower((unsigned char) *word))
			return false;
	} while (*name++ != '\0' && *word++ != '\0');
	return true;
}

/* the first column whose name is word and whose type fits */
static bool
match_word(const TrainArgs *args, TupleDesc desc, const char *word,
		   bool (*fits)(Oid), NameData *found)
{
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && is_word(NameStr(att->attname), word) &&
			fits(getBaseType(att->atttypid)) &&
			!taken(args, NameStr(att->attname)) && is_readable(args, att))
		{
			*found = att->attname;
			return true;
		}
	}
	return false;
}

static bool
guess(const TrainArgs *args, TupleDesc desc, const char *const *words,
	  int n_words, bool (*fits)(Oid), NameData *found)
{
	for (int i = 0; i < n_words; i++)
		if (match_word(args, desc, words[i], fits, found))
			return true;
	return false;
}

static bool
is_any_type(Oid type)
{
	return true;
}

static bool
contains_word(const char *name, const char *const *words)
{
	char *lower = asc_tolower(name, strlen(name));
	bool found = false;

	for (; *words != NULL && !found; words++)
		found = strstr(lower, *words) != NULL;
	pfree(lower);
	return found;
}

/* the only column of a key's type whose name contains one of the words */
static bool
guess_only_word(const TrainArgs *args, TupleDesc desc, const char *const *words,
				NameData *found)
{
	int n = 0;

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped &&
			store_is_key_type(getBaseType(att->atttypid)) &&
			!taken(args, NameStr(att->attname)) &&
			contains_word(NameStr(att->attname), words) &&
			is_readable(args, att) && n++ == 0)
			*found = att->attname;
	}
	if (n != 1)
		memset(found, 0, sizeof(*found));
	return n == 1;
}

/* a column that has the name but not the type is refused for its type */
static bool
guess_key(const TrainArgs *args, TupleDesc desc, const char *const *names,
		  const char *const *words, NameData *found)
{
	int n_names = store_count_names(names);

	return guess(args, desc, names, n_names, store_is_key_type, found) ||
		   guess(args, desc, names, n_names, is_any_type, found) ||
		   guess_only_word(args, desc, words, found);
}

/* a column that has the name but not the type is told: ratings read as texts */
static bool
guess_rating(const TrainArgs *args, TupleDesc desc, NameData *found)
{
	int n_names = store_count_names(store_rating_names);
	NameData other;

	if (guess(args, desc, store_rating_names, n_names, is_rating_type, found))
		return true;
	if (guess(args, desc, store_rating_names, n_names, is_any_type, &other))
		ereport(NOTICE,
				(errmsg("column \"%s\" is no number, so every row counts as "
						"interest",
						NameStr(other)),
				 errhint("For ratings train from a view that casts it.")));
	return false;
}

/* whatever it is called, when it is the only column of timestamps */
static bool
guess_only_time(const TrainArgs *args, TupleDesc desc, NameData *found)
{
	int n = 0;

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		Oid type = att->attisdropped ? InvalidOid : getBaseType(att->atttypid);

		if ((type == TIMESTAMPTZOID || type == TIMESTAMPOID) &&
			is_readable(args, att) && n++ == 0)
			*found = att->attname;
	}
	if (n != 1)
		memset(found, 0, sizeof(*found));
	return n == 1;
}

static void
say(StringInfo notice, const char *what, const NameData *name)
{
	appendStringInfo(notice, "%s%s \"%s\"", notice->len > 0 ? ", " : "", what,
					 NameStr(*name));
}

static void
no_guess(const TrainArgs *args, const char *what, const char *arg)
{
	ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
					errmsg("could not guess the %s column of \"%s\"", what,
						   get_rel_name(args->ratings)),
					errhint("Name it: %s => 'column'.", arg)));
}

void
train_columns_guess(TrainArgs *args, bool rating_given, bool time_given)
{
	Relation rel = table_open(args->ratings, AccessShareLock);
	TupleDesc desc = RelationGetDescr(rel);
	StringInfoData notice;

	initStringInfo(&notice);
	if (NameStr(args->user_col)[0] == '\0')
	{
		if (!guess_key(args, desc, store_user_names, store_user_words,
					   &args->user_col))
			no_guess(args, "user", "user_col");
		say(&notice, "users from column", &args->user_col);
	}
	if (NameStr(args->item_col)[0] == '\0')
	{
		if (!guess_key(args, desc, store_item_names, store_item_words,
					   &args->item_col))
			no_guess(args, "item", "item_col");
		say(&notice, "items from column", &args->item_col);
	}
	if (!rating_given && guess_rating(args, desc, &args->rating_col))
		say(&notice, "ratings from column", &args->rating_col);
	if (!time_given && (guess(args, desc, time_names, lengthof(time_names),
							  is_time_type, &args->time_col) ||
						guess_only_time(args, desc, &args->time_col)))
		say(&notice, "times from column", &args->time_col);
	table_close(rel, NoLock);
	strlcpy(args->guessed, notice.data, sizeof(args->guessed));
	if (notice.len > 0)
		ereport(NOTICE, (errmsg("taking %s", notice.data)));
	pfree(notice.data);
}

static void
check_distinct(const TrainArgs *args)
{
	const NameData *names[4] = {&args->user_col, &args->item_col,
								&args->rating_col, &args->time_col};

	for (int i = 0; i < 4; i++)
		for (int j = i + 1; j < 4; j++)
			if (NameStr(*names[i])[0] != '\0' &&
				strcmp(NameStr(*names[i]), NameStr(*names[j])) == 0)
				ereport(ERROR, (errcode(ERRCODE_DUPLICATE_COLUMN),
								errmsg("column \"%s\" is given two roles",
									   NameStr(*names[i]))));
}

static void
check_type(Oid relation, const NameData *name, bool (*fits)(Oid),
		   const char *role, const char *hint)
{
	TrainColumn column;

	if (NameStr(*name)[0] == '\0')
		return;
	train_column_find(relation, NameStr(*name), &column);
	if (!fits(column.type))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of type %s cannot be a %s",
						NameStr(*name), format_type_be(column.type), role),
				 errhint("%s", hint)));
}

/* existence, types, and no column in two roles */
void
train_columns_check(const TrainArgs *args)
{
	TrainColumn column;

	check_distinct(args);
	train_column_find(args->ratings, NameStr(args->user_col), &column);
	(void) train_key_kind(&column);
	train_column_find(args->ratings, NameStr(args->item_col), &column);
	(void) train_key_kind(&column);
	check_type(args->ratings, &args->rating_col, is_rating_type, "rating",
			   "Ratings may be numbers or booleans.");
	check_type(args->ratings, &args->time_col, is_time_type, "time",
			   "Times may be timestamps, dates, or numbers of seconds.");
}
