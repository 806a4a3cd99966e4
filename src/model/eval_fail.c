/*
 * eval_fail.c
 *	  Which rules may end in an error, and what has to be undone if one does.
 *
 * A rule that fails on a row counts as not matched there, and the others go on.
 * In general an error can be caught only by rolling a subtransaction back: the
 * expression may have taken locks, pushed snapshots or left a query half done.
 * That costs more than most rules, and a parallel query cannot have it before
 * PostgreSQL 17.
 *
 * Most expressions that can fail are made of PostgreSQL's own functions over
 * values alone: a division, a cast, a logarithm. They call neither SQL nor the
 * user's code, and raise what is wrong with a value (division by zero, invalid
 * syntax, out of range) holding nothing but memory, which the next row frees.
 * Their errors are caught as they are. What is in this group is decided
 * narrowly: immutable functions written in C that are part of PostgreSQL, those
 * about dates and times too, which are only stable since they look at TimeZone
 * (constant here), and built-in types.
 */
#include "leadscore.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "model/eval_int.h"

static bool
is_datetime(Oid type)
{
	switch (type)
	{
		case DATEOID:
		case TIMEOID:
		case TIMETZOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
		case INTERVALOID:
			return true;
		default:
			return false;
	}
}

/* The callback of check_functions_in_node: is this one not of those described above? */
static bool
is_foreign_function(Oid function, void *context)
{
	HeapTuple	tuple;
	Form_pg_proc proc;
	bool		plain;

	(void) context;
	if (function >= FirstGenbkiObjectId)
		return true;
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (!HeapTupleIsValid(tuple))
		return true;
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	plain = proc->prolang == INTERNALlanguageId && !proc->proretset;
	if (plain && proc->provolatile != PROVOLATILE_IMMUTABLE)
	{
		bool		datetime = is_datetime(proc->prorettype);

		for (int i = 0; i < proc->pronargs; i++)
			datetime |= is_datetime(proc->proargtypes.values[i]);
		plain = datetime && proc->provolatile == PROVOLATILE_STABLE;
	}
	ReleaseSysCache(tuple);
	return !plain;
}

/* Could something else than PostgreSQL's own functions over values be at work? */
static bool
fails_anyhow(Node *node, void *context)
{
	Oid			type;

	if (node == NULL)
		return false;
	switch (nodeTag(node))
	{
		case T_List:
			return expression_tree_walker(node, fails_anyhow, context);

		case T_Var:
		case T_Const:
		case T_FuncExpr:
		case T_OpExpr:
		case T_DistinctExpr:
		case T_NullIfExpr:
		case T_ScalarArrayOpExpr:
		case T_BoolExpr:
		case T_NullTest:
		case T_BooleanTest:
		case T_RelabelType:
		case T_CoerceViaIO:
		case T_CaseExpr:
		case T_CaseTestExpr:
		case T_CoalesceExpr:
		case T_MinMaxExpr:
		case T_ArrayExpr:
			break;

		case T_CaseWhen:
			/* without a type of its own */
			return expression_tree_walker(node, fails_anyhow, context);

		default:
			return true;
	}

	/* other types bring their own functions: of an element, a domain, a row */
	type = exprType(node);
	if ((type >= FirstGenbkiObjectId && get_typtype(type) != TYPTYPE_ENUM) ||
		get_typtype(type) == TYPTYPE_COMPOSITE)
		return true;
	if (check_functions_in_node(node, is_foreign_function, context))
		return true;
	return expression_tree_walker(node, fails_anyhow, context);
}

/* How may this expression, which is planned, end in an error? */
LsFails
ls_expression_fails(Expr *expr)
{
	/* as for security barriers: what cannot leak by an error cannot fail */
	if (!contain_leaked_vars((Node *) expr))
		return LS_FAILS_NEVER;
	return fails_anyhow((Node *) expr, NULL) ? LS_FAILS_ANYHOW : LS_FAILS_PLAINLY;
}

/*
 * Is the error about the row and the rule, and not about the server or the session?
 * undone: whatever was under way was rolled back.
 */
bool
ls_error_is_of_rule(const ErrorData *error, bool undone)
{
	switch (ERRCODE_TO_CATEGORY(error->sqlerrcode))
	{
		case ERRCODE_OPERATOR_INTERVENTION:
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_TRANSACTION_ROLLBACK:
		case ERRCODE_SYSTEM_ERROR:
			return false;
		case ERRCODE_INTERNAL_ERROR:
			/* other extensions raise what is wrong with a value as one, too */
			return undone && error->sqlerrcode == ERRCODE_INTERNAL_ERROR;
		default:
			return error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE;
	}
}
