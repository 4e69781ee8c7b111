/*
 * store_columns.c
 *		The usual names of the columns of tables of ratings and features.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_type.h"
#include "utils/lsyscache.h"

#include "store/store.h"

const char *const store_user_names[] = {
	"user_id",     "userid",     "user",        "uid",
	"customer_id", "customerid", "customer",    "account_id",
	"member_id",   "visitor_id", "reviewer_id", "buyer_id",
	"client_id",   "session_id", "person_id",   NULL};
const char *const store_item_names[] = {
	"item_id",    "itemid",  "movie_id",    "movieid",     "product_id",
	"productid",  "item",    "movie",       "product",     "book_id",
	"article_id", "song_id", "track_id",    "business_id", "film_id",
	"isbn",       "asin",    "movie_title", "title",       "content_id",
	NULL};
/* a column whose name contains one of these, when it is the only one */
const char *const store_user_words[] = {
	"user",   "customer", "member",   "client", "visitor",    "buyer",
	"reader", "viewer",   "listener", "player", "subscriber", NULL};
const char *const store_item_words[] = {
	"item",   "product", "sku",  "movie",  "film",    "book",
	"song",   "track",   "isbn", "video",  "artist",  "album",
	"recipe", "article", "game", "course", "podcast", NULL};
const char *const store_rating_names[] = {"rating", "ratings", "stars",
										  "score",  "rate",    "liked",
										  "like",   "vote",    NULL};

bool
store_is_key_type(Oid type)
{
	return type == INT2OID || type == INT4OID || type == INT8OID ||
		   type == TEXTOID || type == VARCHAROID || type == UUIDOID ||
		   type == NUMERICOID;
}

int
store_count_names(const char *const *names)
{
	int n = 0;

	while (names[n] != NULL)
		n++;
	return n;
}

/* the only column of the primary key, NULL without one */
static const char *
primary_key(Oid table)
{
	Oid constraint;
	Bitmapset *columns = get_primary_key_attnos(table, true, &constraint);
	int column;

	if (!bms_get_singleton_member(columns, &column))
		return NULL;
	return get_attname(table, column + FirstLowInvalidHeapAttributeNumber,
					   false);
}

const char *
store_feature_key(Oid table, const char *name, bool users)
{
	static const char *const usual[2][6] = {
		{"item_id", "itemid", "movie_id", "product_id", "item", "id"},
		{"user_id", "userid", "customer_id", "user", "uid", "id"}};
	const char *primary;

	if (get_attnum(table, name) > 0)
		return name;
	if ((primary = primary_key(table)) != NULL)
		return primary;
	for (int i = 0; i < 6; i++)
		if (get_attnum(table, usual[users ? 1 : 0][i]) > 0)
			return usual[users ? 1 : 0][i];
	return NULL;
}
