/*
 * serve_context.c
 *		The argument context of predict, rank_items and recommend.
 *
 * An object of columns of the ratings that the model was trained with as
 * context_features. What is left out or NULL is not known: the average
 * occasion. A category that training did not see is the rest's.
 */
#include "postgres.h"

#include <math.h>

#include "fmgr.h"
#include "utils/jsonb.h"

#include "serve/serve.h"

/* columns that said nothing in training are known as such to the config */
static bool
was_asked(void *arg, const char *name, int size)
{
	Jsonb *config = store_config(arg);
	JsonbValue *names;
	JsonbValue wanted;

	if (config == NULL)
		return false;
	names =
		getKeyJsonValueFromContainer(&config->root, "context_features",
									 (int) strlen("context_features"), NULL);
	if (names == NULL || names->type != jbvBinary ||
		!JsonContainerIsArray(names->val.binary.data))
		return false;
	wanted.type = jbvString;
	wanted.val.string.val = (char *) name;
	wanted.val.string.len = size;
	return findJsonbValueFromContainer(names->val.binary.data, JB_FARRAY,
									   &wanted) != NULL;
}

/* every column of it said nothing in training */
static bool
says_nothing(const StoreModel *model, Jsonb *object)
{
	JsonbIterator *it = JsonbIteratorInit(&object->root);
	JsonbValue key;
	JsonbValue value;

	if (JsonbIteratorNext(&it, &key, false) != WJB_BEGIN_OBJECT)
		return false;
	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
	{
		JsonbIteratorNext(&it, &value, true);
		if (!was_asked((void *) model, key.val.string.val, key.val.string.len))
			return false;
	}
	return true;
}

static void
refuse(const StoreModel *model, bool ranking)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the %s stage of model \"%s\" knows no context",
					ranking ? "ranking" : "retrieval", NameStr(model->name)),
			 ranking
				 ? errhint("Train it with context_features => '{...}', columns "
						   "of the ratings.")
				 : errhint("Only towers do: train it with context_features "
						   "and hidden. Or order by rank_items, which knows "
						   "the context with every learner.")));
}

bool
serve_arg_context(FunctionCallInfo fcinfo, int arg, const StoreModel *model,
				  bool ranking, int user_dim, int item_dim,
				  ServeContext *context)
{
	ServeFeatures f;
	Jsonb *object;
	float *sum;

	memset(context, 0, sizeof(*context));
	if (PG_ARGISNULL(arg))
		return false;
	object = PG_GETARG_JSONB_P(arg);
	if (!serve_features_open(&f, model, "context"))
	{
		if (ranking && says_nothing(model, object))
			return false;
		refuse(model, ranking);
	}
	if (!(ranking ? f.ranking : f.embedding))
		refuse(model, ranking);
	if (ranking ? f.width != f.dim + user_dim + item_dim : f.width < f.dim)
		serve_features_refuse(&f, STORE_FEATURE_PREFIX "context");
	sum = palloc(sizeof(float) * (Size) f.width);
	serve_encode(&f, object, was_asked, (void *) model, sum);
	serve_features_close(&f);
	/* a table that anybody wrote to: never a NaN */
	for (int k = 0; k < f.width; k++)
		if (!isfinite(sum[k]))
			sum[k] = 0;
	context->embedding = f.embedding ? sum : NULL;
	context->user = f.ranking ? sum + f.dim : NULL;
	context->item = f.ranking && ranking ? sum + f.dim + user_dim : NULL;
	return true;
}
