/*
 * eval_atom.c
 *	  Which comparisons of one column with constants the evaluator understands,
 *	  and what they yield for each class of the column's values.
 *
 * Comparisons are known by the OID of the built-in function that implements
 * them, never by an operator's name, so that an operator somebody made or put
 * ahead in the search_path is never taken for another. What is not recognised
 * here is left to PostgreSQL's expression machinery.
 */
#include "leadscore.h"

#include "access/stratnum.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "nodes/nodeFuncs.h"
#include "utils/array.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"

#include "model/eval_int.h"

#define LS_NOT_EQUAL	0		/* beside the btree strategies */

typedef struct Comparison
{
	Oid			func;
	LsKind		left;
	LsKind		right;
	int			strategy;
} Comparison;

#define EQ_NE(prefix, l, r) \
	{prefix##EQ, l, r, BTEqualStrategyNumber}, \
	{prefix##NE, l, r, LS_NOT_EQUAL}
#define ORDERED(prefix, l, r) \
	EQ_NE(prefix, l, r), \
	{prefix##LT, l, r, BTLessStrategyNumber}, \
	{prefix##LE, l, r, BTLessEqualStrategyNumber}, \
	{prefix##GE, l, r, BTGreaterEqualStrategyNumber}, \
	{prefix##GT, l, r, BTGreaterStrategyNumber}

static const Comparison comparisons[] = {
	EQ_NE(F_BOOL, LS_KIND_BOOL, LS_KIND_BOOL),
	ORDERED(F_INT2, LS_KIND_INT2, LS_KIND_INT2),
	ORDERED(F_INT24, LS_KIND_INT2, LS_KIND_INT4),
	ORDERED(F_INT28, LS_KIND_INT2, LS_KIND_INT8),
	ORDERED(F_INT4, LS_KIND_INT4, LS_KIND_INT4),
	ORDERED(F_INT42, LS_KIND_INT4, LS_KIND_INT2),
	ORDERED(F_INT48, LS_KIND_INT4, LS_KIND_INT8),
	ORDERED(F_INT8, LS_KIND_INT8, LS_KIND_INT8),
	ORDERED(F_INT82, LS_KIND_INT8, LS_KIND_INT2),
	ORDERED(F_INT84, LS_KIND_INT8, LS_KIND_INT4),
	ORDERED(F_FLOAT4, LS_KIND_FLOAT4, LS_KIND_FLOAT4),
	ORDERED(F_FLOAT48, LS_KIND_FLOAT4, LS_KIND_FLOAT8),
	ORDERED(F_FLOAT8, LS_KIND_FLOAT8, LS_KIND_FLOAT8),
	ORDERED(F_FLOAT84, LS_KIND_FLOAT8, LS_KIND_FLOAT4),
	ORDERED(F_NUMERIC_, LS_KIND_NUMERIC, LS_KIND_NUMERIC),
	ORDERED(F_DATE_, LS_KIND_INT4, LS_KIND_INT4),
	ORDERED(F_TIMESTAMP_, LS_KIND_INT8, LS_KIND_INT8),
	ORDERED(F_TIMESTAMPTZ_, LS_KIND_INT8, LS_KIND_INT8),
	EQ_NE(F_ENUM_, LS_KIND_OID, LS_KIND_OID),
	EQ_NE(F_TEXT, LS_KIND_TEXT, LS_KIND_TEXT),
	EQ_NE(F_BPCHAR, LS_KIND_BPCHAR, LS_KIND_BPCHAR),
};

static const Comparison *
find_comparison(Oid func)
{
	for (int i = 0; i < (int) lengthof(comparisons); i++)
		if (comparisons[i].func == func)
			return &comparisons[i];
	return NULL;
}

static int
commuted(int strategy)
{
	switch (strategy)
	{
		case BTLessStrategyNumber:
			return BTGreaterStrategyNumber;
		case BTLessEqualStrategyNumber:
			return BTGreaterEqualStrategyNumber;
		case BTGreaterEqualStrategyNumber:
			return BTLessEqualStrategyNumber;
		case BTGreaterStrategyNumber:
			return BTLessStrategyNumber;
		default:
			return strategy;
	}
}

/* Binary-compatible casts (varchar to text, a domain to its base) change nothing. */
static Node *
strip_relabel(Node *node)
{
	while (node && IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	return node;
}

/* The column if node is one of the row's own columns, else 0. */
static AttrNumber
column_of(Node *node)
{
	node = strip_relabel(node);
	if (node && IsA(node, Var) && ((Var *) node)->varlevelsup == 0 &&
		((Var *) node)->varattno > 0)
		return ((Var *) node)->varattno;
	return InvalidAttrNumber;
}

static Const *
constant_of(Node *node)
{
	node = strip_relabel(node);
	return node && IsA(node, Const) ? (Const *) node : NULL;
}

/*
 * The place of a numeric among multiples of 0.0001: twice the multiple if it is
 * one, else the odd number between its neighbours. Whether the key is exact and
 * of a number we take as a constant, that is, one with at most four decimals and
 * twelve digits before the point, is returned. Larger numbers, the infinities and
 * NaN (which is larger than all numbers) get keys beyond those.
 *
 * This reads the stored form of numeric, which is part of the on-disk format:
 * a 16-bit header (sign, and in the short form the weight), in the long form a
 * 16-bit weight, then digits of base 10000.
 */
bool
ls_numeric_key(Datum value, int64 *key)
{
	struct varlena *numeric = PG_DETOAST_DATUM_PACKED(value);
	const char *bytes = VARDATA_ANY(numeric);
	int			size = VARSIZE_ANY_EXHDR(numeric);
	uint16		header;
	int			weight;
	int			ndigits;
	bool		negative;
	int64		k = 0;
	bool		exact = true;

	memcpy(&header, bytes, sizeof(header));
	bytes += sizeof(header);
	size -= sizeof(header);
	if ((header & 0xC000) == 0xC000)
	{
		/* NaN, infinity, -infinity */
		*key = header == 0xF000 ? -LS_NUMERIC_BEYOND : LS_NUMERIC_BEYOND;
		exact = false;
		goto done;
	}
	if (header & 0x8000)
	{
		negative = (header & 0x2000) != 0;
		weight = ((header & 0x0040) ? ~0x003F : 0) | (header & 0x003F);
	}
	else
	{
		int16		stored;

		negative = (header & 0xC000) == 0x4000;
		memcpy(&stored, bytes, sizeof(stored));
		weight = stored;
		bytes += sizeof(stored);
		size -= sizeof(stored);
	}
	ndigits = size / (int) sizeof(int16);

	if (ndigits == 0)
		*key = 0;
	else if (weight > 2)
	{
		*key = negative ? -LS_NUMERIC_BEYOND : LS_NUMERIC_BEYOND;
		exact = false;
	}
	else
	{
		/* digit i counts 10000 ^ (weight - i); take those down to 10000 ^ -1 */
		int			take = Max(weight + 2, 0);

		for (int i = 0; i < take; i++)
		{
			int16		digit = 0;

			if (i < ndigits)
				memcpy(&digit, bytes + i * sizeof(digit), sizeof(digit));
			k = k * 10000 + digit;
		}
		k *= 2;
		if (ndigits > take)
		{
			/* digits are stored without trailing zeros, so something is left */
			k++;
			exact = false;
		}
		*key = negative ? -k : k;
	}

done:
	if ((Pointer) numeric != DatumGetPointer(value))
		pfree(numeric);
	return exact;
}

/* Read one constant; false if this kind cannot hold it exactly. */
static bool
read_constant(Datum value, LsKind kind, LsAtom *atom)
{
	int64		key = 0;

	if (LS_KIND_IS_BYTES(kind))
	{
		struct varlena *text = PG_DETOAST_DATUM_PACKED(value);
		LsBytes    *into = &atom->texts[atom->n];

		into->len = VARSIZE_ANY_EXHDR(text);
		into->bytes = VARDATA_ANY(text);
		if (kind == LS_KIND_BPCHAR)
			into->len = ls_bpchar_length(into->bytes, into->len);
		atom->n++;
		return true;
	}
	switch (kind)
	{
		case LS_KIND_BOOL:
			key = DatumGetBool(value) ? 1 : 0;
			break;
		case LS_KIND_INT2:
			key = DatumGetInt16(value);
			break;
		case LS_KIND_INT4:
			key = DatumGetInt32(value);
			break;
		case LS_KIND_INT8:
			key = DatumGetInt64(value);
			break;
		case LS_KIND_FLOAT4:
			key = ls_double_key((double) DatumGetFloat4(value));
			break;
		case LS_KIND_FLOAT8:
			key = ls_double_key(DatumGetFloat8(value));
			break;
		case LS_KIND_NUMERIC:
			if (!ls_numeric_key(value, &key))
				return false;
			break;
		case LS_KIND_OID:
			key = DatumGetObjectId(value);
			break;
		default:
			return false;
	}
	atom->keys[atom->n++] = key;
	return true;
}

static LsAtom *
make_atom(LsKind kind, int strategy, int nconstants)
{
	LsAtom	   *atom = palloc0(sizeof(LsAtom));

	atom->strategy = strategy;
	atom->use_or = true;
	if (LS_KIND_IS_BYTES(kind))
		atom->texts = palloc(Max(nconstants, 1) * sizeof(LsBytes));
	else
		atom->keys = palloc(Max(nconstants, 1) * sizeof(int64));
	return atom;
}

/*
 * Bytes decide equality of text where the collation says so; patterns, too,
 * where in addition no character's bytes can be part of another's.
 */
static bool
bytes_decide(Oid collation)
{
	return OidIsValid(collation) && get_collation_isdeterministic(collation);
}

static bool
patterns_by_bytes(Oid collation)
{
	return bytes_decide(collation) &&
		(GetDatabaseEncoding() == PG_UTF8 || pg_database_encoding_max_length() == 1);
}

/* column op constant, or constant op column */
static bool
recognise_comparison(OpExpr *op, AttrNumber *attno, LsKind *kind, LsAtom **atom)
{
	const Comparison *comparison = find_comparison(op->opfuncid);
	Node	   *left = linitial(op->args);
	Node	   *right = lsecond(op->args);
	Const	   *constant;
	LsKind		constant_kind;
	int			strategy;

	if (comparison == NULL)
		return false;
	if ((*attno = column_of(left)) != InvalidAttrNumber)
	{
		constant = constant_of(right);
		*kind = comparison->left;
		constant_kind = comparison->right;
		strategy = comparison->strategy;
	}
	else if ((*attno = column_of(right)) != InvalidAttrNumber)
	{
		constant = constant_of(left);
		*kind = comparison->right;
		constant_kind = comparison->left;
		strategy = commuted(comparison->strategy);
	}
	else
		return false;
	if (constant == NULL || constant->constisnull)
		return false;
	if (LS_KIND_IS_BYTES(*kind) && !bytes_decide(op->inputcollid))
		return false;

	*atom = make_atom(*kind, strategy, 1);
	return read_constant(constant->constvalue, constant_kind, *atom);
}

/* column op ANY | ALL (constant array), which IN and NOT IN become */
static bool
recognise_array(ScalarArrayOpExpr *op, AttrNumber *attno, LsKind *kind, LsAtom **atom)
{
	const Comparison *comparison = find_comparison(op->opfuncid);
	Const	   *constant = constant_of(lsecond(op->args));
	ArrayType  *array;
	int16		len;
	bool		by_value;
	char		align;
	Datum	   *values;
	bool	   *nulls;
	int			n;

	if (comparison == NULL || constant == NULL || constant->constisnull)
		return false;
	*attno = column_of(linitial(op->args));
	if (*attno == InvalidAttrNumber)
		return false;
	*kind = comparison->left;
	if (LS_KIND_IS_BYTES(*kind) && !bytes_decide(op->inputcollid))
		return false;

	array = DatumGetArrayTypeP(constant->constvalue);
	get_typlenbyvalalign(ARR_ELEMTYPE(array), &len, &by_value, &align);
	deconstruct_array(array, ARR_ELEMTYPE(array), len, by_value, align, &values, &nulls, &n);

	*atom = make_atom(*kind, comparison->strategy, n);
	(*atom)->use_or = op->useOr;
	for (int i = 0; i < n; i++)
	{
		if (nulls[i])
			(*atom)->has_null = true;
		else if (!read_constant(values[i], comparison->right, *atom))
			return false;
	}
	return true;
}

/*
 * text LIKE '...%', '%...', '%...%' or no wildcard at all (equality), NOT LIKE,
 * and starts_with. Patterns with _ or \ or % in the middle are not for us.
 */
static bool
recognise_pattern(Oid func, List *args, Oid collation, AttrNumber *attno, LsKind *kind,
				  LsAtom **atom, LsPattern **pattern)
{
	Const	   *constant;
	struct varlena *text;
	const char *bytes;
	int			len;
	bool		any_before = false,
				any_after = false;

	if ((func != F_TEXTLIKE && func != F_TEXTNLIKE && func != F_STARTS_WITH) ||
		!patterns_by_bytes(collation))
		return false;
	*attno = column_of(linitial(args));
	constant = constant_of(lsecond(args));
	if (*attno == InvalidAttrNumber || constant == NULL || constant->constisnull)
		return false;

	*kind = LS_KIND_TEXT;
	text = PG_DETOAST_DATUM_PACKED(constant->constvalue);
	bytes = VARDATA_ANY(text);
	len = VARSIZE_ANY_EXHDR(text);

	if (func == F_STARTS_WITH)
		any_after = true;
	else
	{
		while (len > 0 && bytes[0] == '%')
		{
			any_before = true;
			bytes++;
			len--;
		}
		while (len > 0 && bytes[len - 1] == '%')
		{
			any_after = true;
			len--;
		}
		if (memchr(bytes, '%', len) || memchr(bytes, '_', len) || memchr(bytes, '\\', len))
			return false;
	}

	if (!any_before && !any_after)
	{
		*atom = make_atom(LS_KIND_TEXT,
						  func == F_TEXTNLIKE ? LS_NOT_EQUAL : BTEqualStrategyNumber, 1);
		(*atom)->texts[0].bytes = bytes;
		(*atom)->texts[0].len = len;
		(*atom)->n = 1;
		return true;
	}
	*pattern = palloc0(sizeof(LsPattern));
	(*pattern)->kind = any_before ? (any_after ? LS_PATTERN_CONTAINS : LS_PATTERN_SUFFIX)
		: LS_PATTERN_PREFIX;
	(*pattern)->negate = (func == F_TEXTNLIKE);
	(*pattern)->bytes = bytes;
	(*pattern)->len = len;
	(*pattern)->rule = -1;
	if ((*pattern)->kind != LS_PATTERN_CONTAINS)
	{
		/* values of 8 bytes or more are first compared as words */
		char		word[8] = {0};
		char		mask[8] = {0};
		int			n = Min(len, 8);
		int			at = (*pattern)->kind == LS_PATTERN_SUFFIX ? 8 - n : 0;

		memcpy(word + at, (*pattern)->kind == LS_PATTERN_SUFFIX ? bytes + len - n : bytes, n);
		memset(mask + at, 0xFF, n);
		memcpy(&(*pattern)->word, word, 8);
		memcpy(&(*pattern)->mask, mask, 8);
	}
	return true;
}

/*
 * Is this (planned) boolean expression a comparison of one column with
 * constants? Then say of which column, read how, and give either the atom or
 * the pattern.
 */
bool
ls_atom_recognise(Expr *expr, AttrNumber *attno, LsKind *kind, LsAtom **atom, LsPattern **pattern)
{
	*atom = NULL;
	*pattern = NULL;
	switch (nodeTag(expr))
	{
		case T_Var:
		case T_RelabelType:
			*attno = column_of((Node *) expr);
			if (*attno == InvalidAttrNumber || getBaseType(exprType(strip_relabel((Node *) expr))) != BOOLOID)
				return false;
			*kind = LS_KIND_BOOL;
			*atom = make_atom(LS_KIND_BOOL, BTEqualStrategyNumber, 1);
			(*atom)->keys[(*atom)->n++] = 1;
			return true;

		case T_NullTest:
			*attno = column_of((Node *) ((NullTest *) expr)->arg);
			if (*attno == InvalidAttrNumber || ((NullTest *) expr)->argisrow)
				return false;
			*kind = LS_KIND_ANY;
			*atom = make_atom(LS_KIND_ANY, BTEqualStrategyNumber, 0);
			(*atom)->null_test = true;
			(*atom)->is_null = ((NullTest *) expr)->nulltesttype == IS_NULL;
			return true;

		case T_OpExpr:
			{
				OpExpr	   *op = (OpExpr *) expr;

				if (list_length(op->args) != 2)
					return false;
				return recognise_comparison(op, attno, kind, atom) ||
					recognise_pattern(op->opfuncid, op->args, op->inputcollid,
									  attno, kind, atom, pattern);
			}

		case T_FuncExpr:
			{
				FuncExpr   *func = (FuncExpr *) expr;

				return list_length(func->args) == 2 &&
					recognise_pattern(func->funcid, func->args, func->inputcollid,
									  attno, kind, atom, pattern);
			}

		case T_ScalarArrayOpExpr:
			return recognise_array((ScalarArrayOpExpr *) expr, attno, kind, atom);

		default:
			return false;
	}
}

/* Where an atom's constant i stands among the column's. */
static int
constant_position(const LsAtom *atom, int i, const LsColumn *column)
{
	if (LS_KIND_IS_BYTES(column->kind))
	{
		int			found = ls_bytes_find(&column->table, column->texts,
										  atom->texts[i].bytes, atom->texts[i].len);

		Assert(found >= 0);
		return found;
	}
	else
	{
		int			lo = 0,
					hi = column->n - 1;

		while (lo < hi)
		{
			int			mid = (lo + hi) / 2;

			if (column->keys[mid] < atom->keys[i])
				lo = mid + 1;
			else
				hi = mid;
		}
		Assert(column->keys[lo] == atom->keys[i]);
		return lo;
	}
}

static bool
holds(int strategy, int cmp)
{
	switch (strategy)
	{
		case LS_NOT_EQUAL:
			return cmp != 0;
		case BTLessStrategyNumber:
			return cmp < 0;
		case BTLessEqualStrategyNumber:
			return cmp <= 0;
		case BTGreaterEqualStrategyNumber:
			return cmp >= 0;
		case BTGreaterStrategyNumber:
			return cmp > 0;
		default:
			return cmp == 0;
	}
}

/* The truth of an atom for every class of its column. */
void
ls_atom_truths(const LsAtom *atom, const LsColumn *column, uint8 *truths)
{
	int			nonnull = column->nclasses - 1;
	uint8		start;

	if (atom->null_test)
	{
		memset(truths, atom->is_null ? LS_FALSE : LS_TRUE, nonnull);
		truths[nonnull] = atom->is_null ? LS_TRUE : LS_FALSE;
		return;
	}

	/* over no constants ANY is false and ALL true, even for NULL */
	start = atom->use_or ? LS_FALSE : LS_TRUE;
	truths[nonnull] = atom->n == 0 && !atom->has_null ? start : LS_UNKNOWN;
	memset(truths, atom->has_null ? LS_UNKNOWN : start, nonnull);

	for (int i = 0; i < atom->n; i++)
	{
		int			equal = 2 * constant_position(atom, i, column) + 1;

		/* long lists are IN or NOT IN: only one class differs */
		if (atom->strategy == BTEqualStrategyNumber && atom->use_or)
			truths[equal] = LS_TRUE;
		else if (atom->strategy == LS_NOT_EQUAL && !atom->use_or)
			truths[equal] = LS_FALSE;
		else
		{
			for (int class = 0; class < nonnull; class++)
			{
				uint8		truth = holds(atom->strategy, class - equal) ? LS_TRUE : LS_FALSE;

				truths[class] = atom->use_or ? Max(truths[class], truth) : Min(truths[class], truth);
			}
		}
	}
}
