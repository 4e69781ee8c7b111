/*
 * ann_validate.c
 *		amvalidate: is an operator class what ann can work with?
 *
 * A family has, for a pair of types, one ordering operator (strategy 1, by
 * float8 distances) and two support functions: the distance, which must be
 * the operator's own function because a scan calls it in the operator's
 * place, and the metric. What is wrong is told as INFO, as other access
 * methods do.
 */
#include "postgres.h"

#include "access/amvalidate.h"
#include "access/htup_details.h"
#include "catalog/pg_amop.h"
#include "catalog/pg_amproc.h"
#include "catalog/pg_opclass.h"
#include "catalog/pg_type_d.h"
#include "index/ann.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/syscache.h"

#define STRATEGY 1
#define ALL_OPERATORS (UINT64CONST(1) << STRATEGY)
#define ALL_FUNCTIONS                                                          \
	(UINT64CONST(1) << ANN_DISTANCE_PROC | UINT64CONST(1) << ANN_METRIC_PROC)

typedef struct Validation
{
	Oid family;
	const char *name; /* of the class */
	bool good;
} Validation;

static void
complain(Validation *v, const char *what, const char *problem)
{
	ereport(INFO, (errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				   errmsg("operator class \"%s\" of access method ann "
						  "contains %s %s",
						  v->name, what, problem)));
	v->good = false;
}

static void
check_function(Validation *v, Form_pg_amproc proc)
{
	const char *what = psprintf("function %s", format_procedure(proc->amproc));
	bool fits;

	switch (proc->amprocnum)
	{
		case ANN_DISTANCE_PROC:
			fits = check_amproc_signature(proc->amproc, FLOAT8OID, true, 2, 2,
										  proc->amproclefttype,
										  proc->amprocrighttype);
			break;
		case ANN_METRIC_PROC:
			fits = check_amproc_signature(proc->amproc, INTERNALOID, true, 1, 1,
										  INTERNALOID);
			break;
		default:
			complain(
				v, what,
				psprintf("with invalid support number %d", proc->amprocnum));
			return;
	}
	if (!fits)
		complain(v, what,
				 psprintf("with wrong signature for support number %d",
						  proc->amprocnum));
}

static void
check_operator(Validation *v, Form_pg_amop op)
{
	const char *what = psprintf("operator %s", format_operator(op->amopopr));
	Oid distance = get_opfamily_proc(v->family, op->amoplefttype,
									 op->amoprighttype, ANN_DISTANCE_PROC);

	if (op->amopstrategy != STRATEGY)
		complain(v, what,
				 psprintf("with invalid strategy number %d", op->amopstrategy));
	if (op->amoppurpose != AMOP_ORDER)
		complain(v, what, "for searches, of which there are none");
	else if (!opfamily_can_sort_type(op->amopsortfamily,
									 get_op_rettype(op->amopopr)))
		complain(v, what, "with a sort family that cannot sort its result");
	if (!check_amop_signature(op->amopopr, FLOAT8OID, op->amoplefttype,
							  op->amoprighttype))
		complain(v, what, "with wrong signature");
	else if (OidIsValid(distance) && get_opcode(op->amopopr) != distance)
		complain(v, what,
				 psprintf("that does not call support function %d",
						  ANN_DISTANCE_PROC));
}

/* nothing is missing in the group of an operator class's type */
static void
check_complete(Validation *v, List *groups, Oid type)
{
	ListCell *lc;

	foreach (lc, groups)
	{
		OpFamilyOpFuncGroup *group = lfirst(lc);

		if (group->lefttype == type && group->righttype == type &&
			(group->operatorset & ALL_OPERATORS) == ALL_OPERATORS &&
			(group->functionset & ALL_FUNCTIONS) == ALL_FUNCTIONS)
			return;
	}
	ereport(INFO, (errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				   errmsg("operator class \"%s\" of access method ann lacks an "
						  "operator or a support function for type %s",
						  v->name, format_type_be(type))));
	v->good = false;
}

bool
annvalidate(Oid opclass)
{
	HeapTuple tuple = SearchSysCache1(CLAOID, ObjectIdGetDatum(opclass));
	CatCList *functions, *operators;
	Form_pg_opclass class;
	Validation v = {.good = true};

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for operator class %u", opclass);
	class = (Form_pg_opclass) GETSTRUCT(tuple);
	v.family = class->opcfamily;
	v.name = NameStr(class->opcname);
	functions = SearchSysCacheList1(AMPROCNUM, ObjectIdGetDatum(v.family));
	operators = SearchSysCacheList1(AMOPSTRATEGY, ObjectIdGetDatum(v.family));
	for (int i = 0; i < functions->n_members; i++)
		check_function(
			&v, (Form_pg_amproc) GETSTRUCT(&functions->members[i]->tuple));
	for (int i = 0; i < operators->n_members; i++)
		check_operator(&v,
					   (Form_pg_amop) GETSTRUCT(&operators->members[i]->tuple));
	check_complete(&v, identify_opfamily_groups(operators, functions),
				   class->opcintype);
	ReleaseCatCacheList(functions);
	ReleaseCatCacheList(operators);
	ReleaseSysCache(tuple);
	return v.good;
}
