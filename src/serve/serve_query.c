/*
 * serve_query.c
 *		Queries through SPI whose rows go to a callback, uncollected.
 *
 * They run with the caller's rights, under the active snapshot, read-only.
 * The callback is called in the executor's memory context: what it wants to
 * keep it puts elsewhere. It returns false to end the query.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "nodes/params.h"
#include "tcop/dest.h"

#include "serve/serve.h"

typedef struct Receiver
{
	DestReceiver pub;
	ServeRowCallback row;
	void *arg;
} Receiver;

static bool
receive(TupleTableSlot *slot, DestReceiver *self)
{
	Receiver *r = (Receiver *) self;

	return r->row(slot, r->arg);
}

static void
start(DestReceiver *self, int operation, TupleDesc desc)
{
}

static void
stop(DestReceiver *self)
{
}

static ParamListInfo
make_params(int n, const Oid *types, const Datum *values)
{
	ParamListInfo params = makeParamList(n);

	for (int i = 0; i < n; i++)
	{
		params->params[i].value = values[i];
		params->params[i].isnull = false;
		params->params[i].pflags = PARAM_FLAG_CONST;
		params->params[i].ptype = types[i];
	}
	return params;
}

/* plan NULL: query is planned for this one execution */
static void
run(SPIPlanPtr plan, const char *query, int n, const Oid *types,
	const Datum *values, ServeRowCallback row, void *arg)
{
	Receiver receiver = {{receive, start, stop, stop, DestNone}, row, arg};
	SPIExecuteOptions options = {.params = make_params(n, types, values),
								 .read_only = true,
								 .dest = &receiver.pub};
	int result = plan != NULL ? SPI_execute_plan_extended(plan, &options)
							  : SPI_execute_extended(query, &options);

	if (result < 0)
		elog(ERROR, "could not run a query on a model: %s",
			 SPI_result_code_string(result));
}

void
serve_query(const char *query, int n, const Oid *types, const Datum *values,
			ServeRowCallback row, void *arg)
{
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	run(NULL, query, n, types, values, row, arg);
	SPI_finish();
}

/* within SPI_connect and SPI_finish of the caller */
void
serve_query_plan(SPIPlanPtr plan, int n, const Oid *types, const Datum *values,
				 ServeRowCallback row, void *arg)
{
	run(plan, NULL, n, types, values, row, arg);
}
