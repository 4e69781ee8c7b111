/*
 * vector_subscript.c
 *		v[i]: the i-th coordinate of a vector, from 1, as float4.
 *
 * Reading only. As with arrays, a position that does not exist gives NULL.
 */
#include "type/vector.h"

#include "catalog/pg_type.h"
#include "executor/execExpr.h"
#include "nodes/nodeFuncs.h"
#include "nodes/subscripting.h"
#include "parser/parse_coerce.h"
#include "parser/parse_expr.h"

#include "pg/pg_compat.h"

PG_FUNCTION_INFO_V1(recsys_vector_subscript);

/* parse analysis: one integer, no slice, no assignment */
static void
transform_subscript(SubscriptingRef *ref, List *indirection, ParseState *pstate,
					bool is_slice, bool is_assignment)
{
	A_Indices *indices = linitial_node(A_Indices, indirection);
	Node *position;
	Node *coerced;
	int location;

	location = exprLocation(indices->uidx ? indices->uidx : indices->lidx);
	if (is_assignment)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("cannot assign to a coordinate of a vector"),
						errhint("Assign a whole vector."),
						parser_errposition(pstate, location)));
	if (is_slice)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("vector does not support slices"),
						errhint("Use subvector(v, start, count)."),
						parser_errposition(pstate, location)));
	if (list_length(indirection) != 1)
		ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
						errmsg("vector takes one subscript, not %d",
							   list_length(indirection)),
						parser_errposition(pstate, location)));

	position = transformExpr(pstate, indices->uidx, pstate->p_expr_kind);
	coerced =
		coerce_to_target_type(pstate, position, exprType(position), INT4OID, -1,
							  COERCION_ASSIGNMENT, COERCE_IMPLICIT_CAST, -1);
	if (coerced == NULL)
		ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
						errmsg("vector subscript must have type integer"),
						parser_errposition(pstate, location)));
	ref->refupperindexpr = list_make1(coerced);
	ref->reflowerindexpr = NIL;
	ref->refrestype = FLOAT4OID;
	ref->reftypmod = -1;
}

/* no fetch when the position is NULL; the result is NULL then */
static bool
check_subscript(ExprState *state, ExprEvalStep *op, ExprContext *econtext)
{
	SubscriptingRefState *refstate = op->d.sbsref_subscript.state;

	if (!refstate->upperindexnull[0])
		return true;
	*op->resnull = true;
	return false;
}

/* the vector is in resvalue and not NULL, for fetch is strict */
static void
fetch_subscript(ExprState *state, ExprEvalStep *op, ExprContext *econtext)
{
	SubscriptingRefState *refstate = op->d.sbsref.state;
	Datum datum = *op->resvalue;
	Vector *v = vector_from_datum(datum);
	int32 position = DatumGetInt32(refstate->upperindex[0]);

	if (position < 1 || position > v->dim)
		*op->resnull = true;
	else
		*op->resvalue = Float4GetDatum(v->x[position - 1]);
	if ((Pointer) v != DatumGetPointer(datum))
		pfree(v);
}

static void
setup_subscript(const SubscriptingRef *ref, SubscriptingRefState *refstate,
				SubscriptExecSteps *methods)
{
	methods->sbs_check_subscripts = check_subscript;
	methods->sbs_fetch = fetch_subscript;
	methods->sbs_assign = NULL;
	methods->sbs_fetch_old = NULL;
}

Datum
recsys_vector_subscript(PG_FUNCTION_ARGS)
{
	static const SubscriptRoutines routines = {
		.transform = transform_subscript,
		.exec_setup = setup_subscript,
		.fetch_strict = true,
		.fetch_leakproof = true,
		.store_leakproof = false,
	};

	PG_RETURN_POINTER(&routines);
}
