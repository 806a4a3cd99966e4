/*
 * eval_compile.c
 *	  From a list of rules to an LsProgram (see eval_int.h for its form).
 *
 * Conditions are simplified by PostgreSQL's planner first, so constants are
 * folded and defaults filled in, then taken apart down to leaves; what lies over
 * one column is folded into a table by class. The order in which AND and OR look
 * at their arguments is kept wherever an expression that might fail is among
 * them: a condition written to guard a division keeps guarding it.
 */
#include "leadscore.h"

#include "access/sysattr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "utils/memutils.h"

#include "model/eval_int.h"

typedef struct Compiler
{
	LsProgram  *program;
	const char *rule;			/* the one being compiled, for error messages */
	bool		in_points;
	int			space;			/* room in program->columns */
	int		   *constant_space; /* room for constants, by column */
} Compiler;

static void
compile_error_callback(void *arg)
{
	Compiler   *compiler = (Compiler *) arg;

	if (compiler->rule)
		errcontext("%s of rule \"%s\" of model \"%s\"", compiler->in_points ? "points" : "condition",
				   compiler->rule, compiler->program->model);
}

static int
find_column(Compiler *compiler, AttrNumber attno, LsKind kind)
{
	LsProgram  *program = compiler->program;
	LsColumn   *column;

	for (int i = 0; i < program->ncolumns; i++)
		if (program->columns[i].attno == attno && program->columns[i].kind == kind)
			return i;

	if (program->ncolumns == compiler->space)
	{
		compiler->space *= 2;
		program->columns = repalloc(program->columns, compiler->space * sizeof(LsColumn));
	}
	column = &program->columns[program->ncolumns];
	memset(column, 0, sizeof(LsColumn));
	column->attno = attno;
	column->kind = kind;
	return program->ncolumns++;
}

/* ---- conditions to trees ---- */

static LsNode *
make_node(LsNodeOp op)
{
	LsNode	   *node = palloc0(sizeof(LsNode));

	node->op = op;
	return node;
}

static LsNode *
build_node(Compiler *compiler, Expr *expr)
{
	LsNode	   *node;
	List	   *args = NIL;
	LsAtom	   *atom;
	LsPattern  *pattern;
	AttrNumber	attno;
	LsKind		kind;
	bool		only_exprs = true;
	int			n = 0;

	check_stack_depth();
	if (IsA(expr, Const))
	{
		Const	   *constant = (Const *) expr;

		node = make_node(LS_NODE_CONST);
		node->truth = constant->constisnull ? LS_UNKNOWN :
			DatumGetBool(constant->constvalue) ? LS_TRUE : LS_FALSE;
		return node;
	}
	if (ls_atom_recognise(expr, &attno, &kind, &atom, &pattern))
	{
		node = make_node(pattern ? LS_NODE_PATTERN : LS_NODE_CLASS);
		node->column = find_column(compiler, attno, kind);
		node->atom = atom;
		if (pattern)
			node->pattern = *pattern;
		return node;
	}

	if (IsA(expr, BoolExpr))
	{
		BoolExpr   *bool_expr = (BoolExpr *) expr;

		node = make_node(bool_expr->boolop == AND_EXPR ? LS_NODE_AND :
						 bool_expr->boolop == OR_EXPR ? LS_NODE_OR : LS_NODE_NOT);
		args = bool_expr->args;
	}
	else if (IsA(expr, BooleanTest))
	{
		node = make_node(LS_NODE_TEST);
		node->test = ((BooleanTest *) expr)->booltesttype;
		args = list_make1(((BooleanTest *) expr)->arg);
	}
	else
	{
		node = make_node(LS_NODE_EXPR);
		node->source = expr;
		return node;
	}

	node->nargs = list_length(args);
	node->args = palloc(node->nargs * sizeof(LsNode *));
	for (n = 0; n < node->nargs; n++)
	{
		node->args[n] = build_node(compiler, (Expr *) list_nth(args, n));
		if (node->args[n]->op != LS_NODE_EXPR)
			only_exprs = false;
	}
	if (only_exprs)
	{
		/* nothing of it is ours: one expression, not many */
		node = make_node(LS_NODE_EXPR);
		node->source = expr;
	}
	return node;
}

/* ---- columns and their classes ---- */

/* Read a null test off a column that is classified anyway. */
static void
settle_null_tests(LsProgram *program, LsNode *node)
{
	if (node->op == LS_NODE_CLASS && program->columns[node->column].kind == LS_KIND_ANY)
	{
		for (int i = 0; i < program->ncolumns; i++)
			if (program->columns[i].attno == program->columns[node->column].attno &&
				program->columns[i].kind != LS_KIND_ANY)
			{
				node->column = i;
				break;
			}
	}
	for (int i = 0; i < node->nargs; i++)
		settle_null_tests(program, node->args[i]);
}

static void
collect_constants(Compiler *compiler, LsNode *node)
{
	if (node->op == LS_NODE_CLASS)
	{
		LsColumn   *column = &compiler->program->columns[node->column];
		int		   *space = &compiler->constant_space[node->column];
		LsAtom	   *atom = node->atom;
		bool		bytes = LS_KIND_IS_BYTES(column->kind);

		if (column->n + atom->n > *space)
		{
			*space = Max(*space * 2, column->n + atom->n);
			if (bytes)
				column->texts = column->texts ? repalloc(column->texts, *space * sizeof(LsBytes)) :
					palloc(*space * sizeof(LsBytes));
			else
				column->keys = column->keys ? repalloc(column->keys, *space * sizeof(int64)) :
					palloc(*space * sizeof(int64));
		}
		if (atom->n > 0 && bytes)
			memcpy(column->texts + column->n, atom->texts, atom->n * sizeof(LsBytes));
		else if (atom->n > 0)
			memcpy(column->keys + column->n, atom->keys, atom->n * sizeof(int64));
		column->n += atom->n;
	}
	for (int i = 0; i < node->nargs; i++)
		collect_constants(compiler, node->args[i]);
}

static int
compare_keys(const void *a, const void *b)
{
	int64		x = *(const int64 *) a;
	int64		y = *(const int64 *) b;

	return x < y ? -1 : x > y;
}

static int
compare_bytes(const void *a, const void *b)
{
	const LsBytes *x = a;
	const LsBytes *y = b;
	int			cmp = memcmp(x->bytes, y->bytes, Min(x->len, y->len));

	return cmp ? cmp : x->len - y->len;
}

/* Put a column's constants into the table; true if each lies where its hash says. */
static bool
fill_table(const LsColumn *column)
{
	const LsBytesTable *table = &column->table;
	bool		single = true;

	memset(table->slots, 0, (table->mask + 1) * sizeof(LsBytesSlot));
	for (uint32 i = 0; i <= table->mask; i++)
		table->slots[i].len = -1;
	for (int i = 0; i < column->n; i++)
	{
		const LsBytes *text = &column->texts[i];
		uint64		first,
					last;
		uint32		at;

		ls_bytes_words(text->bytes, text->len, &first, &last);
		at = (ls_bytes_hash(text->bytes, text->len, first, last) >> table->shift) & table->mask;
		single &= table->slots[at].constant == 0 && text->len <= 16;
		while (table->slots[at].constant != 0)
			at = (at + 1) & table->mask;
		table->slots[at].first = first;
		table->slots[at].last = last;
		table->slots[at].len = text->len;
		table->slots[at].constant = i + 1;
	}
	return single;
}

static void
make_table(LsColumn *column)
{
	LsBytesTable *table = &column->table;
	uint32		size = 8;
	int			bits = 3;

	while (size < 4 * (uint32) column->n)
	{
		size *= 2;
		bits++;
	}
	table->mask = size - 1;
	table->slots = palloc_array(LsBytesSlot, size);
	for (table->shift = 0; table->shift + bits <= 32 && !table->single; table->shift++)
		table->single = fill_table(column);
	if (table->single)
		table->shift--;
	else
	{
		table->shift = 0;
		(void) fill_table(column);
	}
}

/* The number of a constant, or -1, in a table where constants got into each other's way. */
int
ls_bytes_search(const LsBytesTable *table, const LsBytes *constants, const char *bytes, int len,
				uint64 first, uint64 last, uint32 at)
{
	for (;; at = (at + 1) & table->mask)
	{
		const LsBytesSlot *slot = &table->slots[at];

		if (slot->constant == 0)
			return -1;
		if (slot->first == first && slot->last == last && slot->len == len &&
			(len <= 16 || memcmp(constants[slot->constant - 1].bytes, bytes, len) == 0))
			return slot->constant - 1;
	}
}

/* Sort a column's constants, drop the duplicates, and make the classes. */
static void
finish_column(LsProgram *program, LsColumn *column)
{
	bool		bytes = LS_KIND_IS_BYTES(column->kind);
	int			n = 0;

	if (bytes && column->n > 0)
	{
		qsort(column->texts, column->n, sizeof(LsBytes), compare_bytes);
		for (int i = 0; i < column->n; i++)
			if (n == 0 || compare_bytes(&column->texts[n - 1], &column->texts[i]) != 0)
				column->texts[n++] = column->texts[i];
	}
	else if (column->n > 0)
	{
		qsort(column->keys, column->n, sizeof(int64), compare_keys);
		for (int i = 0; i < column->n; i++)
			if (n == 0 || column->keys[n - 1] != column->keys[i])
				column->keys[n++] = column->keys[i];
	}
	column->n = n;
	column->nclasses = 2 * n + 2;
	column->points = palloc0_array(double, (Size) column->nclasses * program->ncomponents);
	column->rules = palloc0_array(uint64, (Size) column->nclasses * program->nwords);

	if (bytes)
		make_table(column);
}

/* ---- folding ---- */

uint8
ls_boolean_test(BoolTestType test, uint8 truth)
{
	bool		result;

	switch (test)
	{
		case IS_TRUE:
			result = truth == LS_TRUE;
			break;
		case IS_NOT_TRUE:
			result = truth != LS_TRUE;
			break;
		case IS_FALSE:
			result = truth == LS_FALSE;
			break;
		case IS_NOT_FALSE:
			result = truth != LS_FALSE;
			break;
		case IS_UNKNOWN:
			result = truth == LS_UNKNOWN;
			break;
		default:
			result = truth != LS_UNKNOWN;
			break;
	}
	return result ? LS_TRUE : LS_FALSE;
}

static bool
contains_expression(const LsNode *node)
{
	if (node->op == LS_NODE_EXPR)
		return true;
	for (int i = 0; i < node->nargs; i++)
		if (contains_expression(node->args[i]))
			return true;
	return false;
}

/* a AND/OR b into a, both tables of one column's classes */
static void
merge_truths(const LsProgram *program, LsNodeOp op, LsNode *a, const LsNode *b)
{
	int			nclasses = program->columns[a->column].nclasses;

	for (int i = 0; i < nclasses; i++)
		a->truths[i] = op == LS_NODE_AND ? Min(a->truths[i], b->truths[i])
			: Max(a->truths[i], b->truths[i]);
}

/* Fold what lies over one column into a table of its classes. */
static LsNode *
fold_node(const LsProgram *program, LsNode *node)
{
	const LsColumn *column;

	for (int i = 0; i < node->nargs; i++)
		node->args[i] = fold_node(program, node->args[i]);

	switch (node->op)
	{
		case LS_NODE_CLASS:
			column = &program->columns[node->column];
			node->truths = palloc(column->nclasses);
			ls_atom_truths(node->atom, column, node->truths);
			return node;

		case LS_NODE_NOT:
		case LS_NODE_TEST:
			if (node->args[0]->op == LS_NODE_CLASS)
			{
				LsNode	   *arg = node->args[0];

				column = &program->columns[arg->column];
				for (int i = 0; i < column->nclasses; i++)
					arg->truths[i] = node->op == LS_NODE_NOT ? LS_TRUE - arg->truths[i]
						: ls_boolean_test(node->test, arg->truths[i]);
				return arg;
			}
			return node;

		case LS_NODE_AND:
		case LS_NODE_OR:
			if (!contains_expression(node))
			{
				int			n = 0;

				for (int i = 0; i < node->nargs; i++)
				{
					int			same = n;

					if (node->args[i]->op == LS_NODE_CLASS)
						for (same = 0; same < n; same++)
							if (node->args[same]->op == LS_NODE_CLASS &&
								node->args[same]->column == node->args[i]->column)
								break;
					if (same < n)
						merge_truths(program, node->op, node->args[same], node->args[i]);
					else
						node->args[n++] = node->args[i];
				}
				node->nargs = n;
			}
			return node->nargs == 1 ? node->args[0] : node;

		default:
			return node;
	}
}

/* ---- expressions ---- */

static int
add_expression(Compiler *compiler, Expr *expr, int rule, bool points)
{
	LsProgram  *program = compiler->program;
	LsExprSource *source;

	program->exprs = program->exprs ?
		repalloc(program->exprs, (program->nexprs + 1) * sizeof(LsExprSource)) :
		palloc(sizeof(LsExprSource));
	source = &program->exprs[program->nexprs];
	source->expr = expr;
	source->rule = rule;
	source->points = points;
	program->fails = Max(program->fails, ls_expression_fails(expr));
	if (points)
		program->fails = Max(program->fails, LS_FAILS_PLAINLY); /* they may be NaN */
	if (contain_mutable_functions((Node *) expr))
		program->by_settings = true;
	return program->nexprs++;
}

static void
number_expressions(Compiler *compiler, LsNode *node, int rule)
{
	if (node->op == LS_NODE_EXPR)
		node->expr = add_expression(compiler, node->source, rule, false);
	for (int i = 0; i < node->nargs; i++)
		number_expressions(compiler, node->args[i], rule);
}

/* ---- rules ---- */

static void
place_rule(Compiler *compiler, int rule, LsNode *root, bool apart)
{
	LsProgram  *program = compiler->program;
	int			component = program->components[rule];
	double		points = program->constants[rule];
	int			points_expr = program->points_exprs[rule];

	if (points_expr < 0 && root->op == LS_NODE_CLASS && !apart)
	{
		LsColumn   *column = &program->columns[root->column];

		for (int i = 0; i < column->nclasses; i++)
			if (root->truths[i] == LS_TRUE)
			{
				column->points[i * program->ncomponents + component] += points;
				column->rules[i * program->nwords + rule / 64] |= UINT64CONST(1) << (rule % 64);
				column->any_points = true;
			}
	}
	else if (points_expr < 0 && root->op == LS_NODE_PATTERN && !apart)
	{
		LsColumn   *column = &program->columns[root->column];
		LsPattern  *pattern;

		column->patterns = column->patterns ?
			repalloc(column->patterns, (column->npatterns + 1) * sizeof(LsPattern)) :
			palloc(sizeof(LsPattern));
		pattern = &column->patterns[column->npatterns++];
		*pattern = root->pattern;
		pattern->rule = rule;
		pattern->component = component;
		pattern->points = points;
	}
	else if (points_expr < 0 && root->op == LS_NODE_CONST && !apart)
	{
		if (root->truth == LS_TRUE)
		{
			program->base[component] += points;
			program->base_rules[rule / 64] |= UINT64CONST(1) << (rule % 64);
		}
	}
	else
	{
		LsTreeRule *tree = &program->trees[program->ntrees++];

		tree->rule = rule;
		tree->component = component;
		tree->root = root;
		tree->points = points;
		tree->points_expr = points_expr;
		number_expressions(compiler, root, rule);
	}
}

/*
 * The columns that the rules read, by number, ascending. Taken from the rules as
 * written, before simplification, so that only a change of the rules or of the
 * table changes them, and not that of a function, which plans made with them
 * would not notice.
 */
static void
find_attributes(LsProgram *program, const LsRuleSpec *rules)
{
	Bitmapset  *used = NULL;
	int			attno = -1;

	for (int i = 0; i < program->nrules; i++)
	{
		pull_varattnos((Node *) rules[i].condition, 1, &used);
		pull_varattnos((Node *) rules[i].points, 1, &used);
	}

	program->attnos = palloc(Max(bms_num_members(used), 1) * sizeof(AttrNumber));
	while ((attno = bms_next_member(used, attno)) >= 0)
	{
		AttrNumber	number = attno + FirstLowInvalidHeapAttributeNumber;

		if (number <= 0)
			program->needs_row = true;
		else
			program->attnos[program->nattnos++] = number;
	}
	if (program->nattnos > 0)
		program->last_attno = program->attnos[program->nattnos - 1];
	for (int i = 0; i < program->ncolumns; i++)
		for (int j = 0; j < program->nattnos; j++)
			if (program->attnos[j] == program->columns[i].attno)
				program->columns[i].arg = j;
}

/* Which columns the conditions over several of them read, and how. */
static void
mark_columns(LsProgram *program, const LsNode *node)
{
	if (node->op == LS_NODE_CLASS)
		program->columns[node->column].classify = true;
	else if (node->op == LS_NODE_PATTERN)
		program->columns[node->column].used = true;
	for (int i = 0; i < node->nargs; i++)
		mark_columns(program, node->args[i]);
}

static void
renumber_columns(LsNode *node, const int *moved)
{
	if (node->op == LS_NODE_CLASS || node->op == LS_NODE_PATTERN)
		node->column = moved[node->column];
	for (int i = 0; i < node->nargs; i++)
		renumber_columns(node->args[i], moved);
}

/* Do all classes of a column give points to one component only? */
static void
narrow_points(const LsProgram *program, LsColumn *column)
{
	int			n = program->ncomponents;

	column->component = 0;
	for (int c = 0; c < n; c++)
		for (int i = 0; i < column->nclasses; i++)
			if (column->points[i * n + c] != 0)
				column->component = c;
	for (int i = 0; i < column->nclasses * n; i++)
		if (column->points[i] != 0 && i % n != column->component)
		{
			column->component = -1;
			return;
		}
	column->component_points = palloc_array(double, column->nclasses);
	for (int i = 0; i < column->nclasses; i++)
		column->component_points[i] = column->points[i * n + column->component];
}

/* Keep only columns that something is read from: null tests may have moved. */
static void
drop_unused_columns(LsProgram *program)
{
	int		   *moved = palloc_array(int, Max(program->ncolumns, 1));
	int			n = 0;

	for (int i = 0; i < program->ntrees; i++)
		mark_columns(program, program->trees[i].root);
	for (int i = 0; i < program->ncolumns; i++)
	{
		LsColumn   *column = &program->columns[i];

		if (column->any_points)
		{
			column->classify = true;
			narrow_points(program, column);
		}
		if (column->classify || column->npatterns > 0)
			column->used = true;
		moved[i] = n;
		if (column->used)
			program->columns[n++] = *column;
	}
	program->ncolumns = n;
	for (int i = 0; i < program->ntrees; i++)
		renumber_columns(program->trees[i].root, moved);
	pfree(moved);
}

static LsProgram *
compile_rules(MemoryContext parent, const char *model, TupleDesc desc,
			  int ncomponents, int nrules, const LsRuleSpec *rules, bool apart)
{
	MemoryContext context = AllocSetContextCreate(parent, "leadscore rules", ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	LsProgram  *program = palloc0(sizeof(LsProgram));
	Compiler	compiler = {0};
	ErrorContextCallback callback;
	LsNode	  **roots;

	Assert(ncomponents <= SCORE_MAX_COMPONENTS);
	program->context = context;
	program->model = pstrdup(model);
	program->desc = CreateTupleDescCopy(desc);
	program->ncomponents = ncomponents;
	program->nrules = nrules;
	program->nwords = LS_RULE_WORDS(nrules);
	program->names = palloc_array(char *, Max(nrules, 1));
	program->components = palloc_array(int, Max(nrules, 1));
	program->constants = palloc0_array(double, Max(nrules, 1));
	program->points_exprs = palloc_array(int, Max(nrules, 1));
	program->trees = palloc_array(LsTreeRule, Max(nrules, 1));
	program->base_rules = palloc0_array(uint64, Max(program->nwords, 1));
	roots = palloc_array(LsNode *, Max(nrules, 1));
	compiler.program = program;
	compiler.space = 16;
	program->columns = palloc_array(LsColumn, compiler.space);

	callback.callback = compile_error_callback;
	callback.arg = &compiler;
	callback.previous = error_context_stack;
	error_context_stack = &callback;

	for (int i = 0; i < nrules; i++)
	{
		Expr	   *points;

		compiler.rule = program->names[i] = pstrdup(rules[i].name);
		program->components[i] = rules[i].component;
		compiler.in_points = false;
		roots[i] = build_node(&compiler, expression_planner(copyObject(rules[i].condition)));

		compiler.in_points = true;
		points = expression_planner(copyObject(rules[i].points));
		program->points_exprs[i] = -1;
		if (!IsA(points, Const))
			program->points_exprs[i] = add_expression(&compiler, points, i, true);
		else if (!((Const *) points)->constisnull)
			program->constants[i] = DatumGetFloat8(((Const *) points)->constvalue);
		else
		{
			/* points that are NULL: the rule never gives any */
			roots[i] = make_node(LS_NODE_CONST);
			roots[i]->truth = LS_FALSE;
		}
	}
	compiler.rule = NULL;

	compiler.constant_space = palloc0_array(int, Max(program->ncolumns, 1));
	for (int i = 0; i < nrules; i++)
	{
		settle_null_tests(program, roots[i]);
		collect_constants(&compiler, roots[i]);
	}
	for (int i = 0; i < program->ncolumns; i++)
		finish_column(program, &program->columns[i]);
	for (int i = 0; i < nrules; i++)
	{
		roots[i] = fold_node(program, roots[i]);
		place_rule(&compiler, i, roots[i], apart);
	}
	drop_unused_columns(program);
	find_attributes(program, rules);

	error_context_stack = callback.previous;
	MemoryContextSwitchTo(old);
	return program;
}

LsProgram *
ls_eval_compile(MemoryContext parent, const char *model, TupleDesc desc,
				int ncomponents, int nrules, const LsRuleSpec *rules)
{
	return compile_rules(parent, model, desc, ncomponents, nrules, rules, false);
}

/* The same for ls_eval_judge, with each rule a tree of its own. */
LsProgram *
ls_eval_compile_apart(MemoryContext parent, const char *model, TupleDesc desc,
					  int ncomponents, int nrules, const LsRuleSpec *rules)
{
	return compile_rules(parent, model, desc, ncomponents, nrules, rules, true);
}

void
ls_eval_free(LsProgram *program)
{
	MemoryContextDelete(program->context);
}

/* The columns to be given to ls_eval_args, in this order. */
int
ls_eval_columns(const LsProgram *program, const AttrNumber **attnos)
{
	*attnos = program->attnos;
	return program->nattnos;
}

/* Is there a condition over the whole row, so that columns will not do? */
bool
ls_eval_needs_row(const LsProgram *program)
{
	return program->needs_row;
}

/* Is there a rule whose evaluation may end in an error? */
bool
ls_eval_may_fail(const LsProgram *program)
{
	return program->fails != LS_FAILS_NEVER;
}

/* ... and, in a parallel query, cannot be passed over? */
bool
ls_eval_not_parallel(const LsProgram *program)
{
	return program->fails == LS_FAILS_ANYHOW && !LS_MAY_CATCH_IN_PARALLEL;
}

/* Does it depend on definitions beyond the table's, such as functions'? */
bool
ls_eval_has_expressions(const LsProgram *program)
{
	return program->nexprs > 0;
}

/* How the rules are evaluated, in words. */
char *
ls_eval_describe(const LsProgram *program)
{
	StringInfoData text;
	int			classes = 0,
				patterns = 0;

	for (int i = 0; i < program->ncolumns; i++)
	{
		patterns += program->columns[i].npatterns;
		classes += program->columns[i].nclasses;
	}
	initStringInfo(&text);
	appendStringInfo(&text, "%d rules: %d by look-up or pattern of one column, %d by conditions over several; "
					 "%d columns, %d classes of values, %d patterns, %d expressions",
					 program->nrules, program->nrules - program->ntrees, program->ntrees,
					 program->nattnos, classes, patterns, program->nexprs);
	return text.data;
}
