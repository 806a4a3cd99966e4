/*
 * eval_int.h
 *	  The compiled form of rules, shared by eval_atom.c (which comparisons are
 *	  understood), eval_compile.c (makes it) and eval_run.c (evaluates it).
 *
 * Every condition is a tree of AND, OR, NOT and IS [NOT] TRUE/FALSE/UNKNOWN over
 * leaves. A leaf is a comparison of one column with constants, a match of a text
 * column with a constant pattern, or anything else, left to PostgreSQL.
 *
 * The constants that all rules compare one column with cut its values into
 * classes: for an order, one class for each constant and one for each gap
 * between two of them; for equality, one for each constant and one for the
 * rest; one more for NULL. A value's class is looked up once a row, by binary
 * search or hash. What a condition over this column alone yields is then known
 * for each class when the program is compiled, and so is the sum of the points.
 */
#ifndef LS_EVAL_INT_H
#define LS_EVAL_INT_H

#include "model/eval.h"

#include "executor/executor.h"
#include "nodes/pg_list.h"
#include "pgtime.h"

/* How the values of a column are read for comparison. */
typedef enum LsKind
{
	LS_KIND_ANY,				/* only whether it is NULL */
	/* integer keys that keep the order of the values */
	LS_KIND_BOOL,
	LS_KIND_INT2,
	LS_KIND_INT4,				/* date too */
	LS_KIND_INT8,				/* timestamp and timestamptz too */
	LS_KIND_FLOAT4,
	LS_KIND_FLOAT8,
	LS_KIND_NUMERIC,
	LS_KIND_OID,				/* enum; for equality only */
	/* bytes, for equality */
	LS_KIND_TEXT,
	LS_KIND_BPCHAR				/* trailing blanks do not count */
} LsKind;

#define LS_KIND_IS_BYTES(kind)	((kind) >= LS_KIND_TEXT)
#define LS_KIND_IS_KEY(kind)	((kind) > LS_KIND_ANY && (kind) < LS_KIND_TEXT)

/* SQL's three truth values, so that AND is the least and OR the largest */
#define LS_FALSE	0
#define LS_UNKNOWN	1
#define LS_TRUE		2

typedef enum LsPatternKind
{
	LS_PATTERN_PREFIX,
	LS_PATTERN_SUFFIX,
	LS_PATTERN_CONTAINS
} LsPatternKind;

typedef struct LsPattern
{
	LsPatternKind kind;
	bool		negate;			/* NOT LIKE */
	int			len;
	const char *bytes;
	uint64		word;			/* its last (suffix) or first (prefix) bytes, up to 8 */
	uint64		mask;			/* which bytes of that count */
	int			rule;			/* the rule this alone decides, or -1 */
	int			component;
	double		points;
} LsPattern;

typedef struct LsBytes
{
	int			len;
	const char *bytes;
} LsBytes;

/*
 * Open addressing. The two words are of the constant's first and last bytes: up
 * to 16 bytes they are the constant. Which bits of the hash are taken is chosen
 * so that each constant has a place of its own, if there are such bits: then one
 * look says what a text is, and the processor need not guess whether there will
 * be another.
 */
typedef struct LsBytesSlot
{
	uint64		first;
	uint64		last;
	int			len;			/* -1: empty */
	int			constant;		/* number + 1; 0: empty */
} LsBytesSlot;

typedef struct LsBytesTable
{
	uint32		mask;
	uint32		shift;			/* of the hash */
	bool		single;			/* one look is enough, and the words all there is to compare */
	LsBytesSlot *slots;
} LsBytesTable;

/*
 * One column, read one way. Class 2i+1 is equality with constant i, class 2i
 * lies between constants i-1 and i (bytes: 2n is every other value), and the
 * last class, 2n+1, is NULL.
 */
typedef struct LsColumn
{
	AttrNumber	attno;
	int			arg;			/* position among the program's columns */
	LsKind		kind;
	int			n;				/* constants */
	int			nclasses;
	int64	   *keys;			/* ascending */
	LsBytes    *texts;
	LsBytesTable table;
	bool		any_points;		/* some rule is over this column alone */
	bool		classify;		/* the class of a value is needed */
	bool		used;
	double	   *points;			/* [class][component]; rules over this column alone */
	int			component;		/* the only one these give points to, or -1 */
	double	   *component_points;	/* [class], if so */
	uint64	   *rules;			/* [class][word]: those rules */
	int			npatterns;
	LsPattern  *patterns;
} LsColumn;

typedef enum LsNodeOp
{
	LS_NODE_AND,
	LS_NODE_OR,
	LS_NODE_NOT,
	LS_NODE_TEST,				/* IS [NOT] TRUE/FALSE/UNKNOWN */
	LS_NODE_CONST,
	LS_NODE_CLASS,				/* truth by class of a column */
	LS_NODE_PATTERN,
	LS_NODE_EXPR
} LsNodeOp;

typedef struct LsNode
{
	LsNodeOp	op;
	int			nargs;			/* AND, OR, NOT, TEST */
	struct LsNode **args;
	BoolTestType test;			/* TEST */
	uint8		truth;			/* CONST */
	int			column;			/* CLASS, PATTERN */
	uint8	   *truths;			/* CLASS, once the classes are known */
	struct LsAtom *atom;		/* CLASS, until then */
	LsPattern	pattern;		/* PATTERN */
	int			expr;			/* EXPR: index into LsProgram.exprs */
	Expr	   *source;			/* EXPR, until numbered */
} LsNode;

/* A comparison with constants: how it was found, before there are classes. */
typedef struct LsAtom
{
	bool		null_test;		/* IS [NOT] NULL */
	bool		is_null;
	int			strategy;		/* btree strategy; 0: <> */
	bool		use_or;			/* ANY, as opposed to ALL */
	bool		has_null;		/* one of the constants is NULL */
	int			n;
	int64	   *keys;
	LsBytes    *texts;
} LsAtom;

/* A rule that is not decided by the class or pattern of one column alone. */
typedef struct LsTreeRule
{
	int			rule;
	int			component;
	LsNode	   *root;
	double		points;
	int			points_expr;	/* index into exprs, or -1 */
} LsTreeRule;

typedef struct LsExprSource
{
	Expr	   *expr;			/* planned */
	int			rule;
	bool		points;			/* the rule's points, not its condition */
} LsExprSource;

/* How the evaluation of an expression may end in an error: see eval_fail.c. */
typedef enum LsFails
{
	LS_FAILS_NEVER,
	LS_FAILS_PLAINLY,			/* leaves nothing behind that has to be undone */
	LS_FAILS_ANYHOW
} LsFails;

struct LsProgram
{
	MemoryContext context;
	char	   *model;			/* for error messages */
	TupleDesc	desc;
	int			ncomponents;
	int			nrules;
	int			nwords;			/* of a set of rules */
	char	  **names;
	int		   *components;		/* of each rule */
	double	   *constants;		/* points of each rule, where constant */
	int		   *points_exprs;	/* of each rule, or -1 */

	int			nattnos;		/* columns used, ascending */
	AttrNumber *attnos;
	AttrNumber	last_attno;
	bool		needs_row;		/* a condition uses the whole row */
	LsFails		fails;			/* how an expression may end in an error */
	bool		by_settings;	/* some expression may depend on settings such as TimeZone */

	int			ncolumns;
	LsColumn   *columns;
	int			ntrees;
	LsTreeRule *trees;
	int			nexprs;
	LsExprSource *exprs;
	double		base[SCORE_MAX_COMPONENTS]; /* of rules that always match */
	uint64	   *base_rules;
};

struct LsEval
{
	const LsProgram *program;
	MemoryContext context;
	ExprContext *econtext;		/* NULL without expressions */
	ExprState **states;
	TupleTableSlot *slot;		/* for ls_eval_args */
	int		   *classes;		/* of the current row, by column */
	const LsExprSource *running; /* for the error context */
	MemoryContext states_context;	/* of econtext and states */
	char	  **failures;		/* why a rule failed last, by rule; NULL: none did */
};

/* eval_state.c */
extern void ls_eval_remake_states(LsEval *eval);

/* eval_atom.c */
extern bool ls_atom_recognise(Expr *expr, AttrNumber *attno, LsKind *kind,
							  LsAtom **atom, LsPattern **pattern);
extern void ls_atom_truths(const LsAtom *atom, const LsColumn *column, uint8 *truths);

/*
 * A row's points must not depend on who asks: what is not immutable, such as the
 * date of an instant, is evaluated under the settings of ls_portable_settings
 * that such functions read. The variables behind the settings are exchanged for
 * the time of an expression, since setting them properly costs more than it.
 */
typedef struct LsSettings
{
	pg_tz	   *timezone;
	int			date_style;
	int			date_order;
	int			interval_style;
	int			float_digits;
	int			bytea_form;
} LsSettings;

extern void ls_settings_enter(LsSettings *saved);
extern void ls_settings_leave(const LsSettings *saved);

/* eval_fail.c */
extern LsFails ls_expression_fails(Expr *expr);
extern bool ls_error_is_of_rule(const ErrorData *error, bool undone);

/* eval_compile.c */
extern uint8 ls_boolean_test(BoolTestType test, uint8 truth);
extern int	ls_bytes_search(const LsBytesTable *table, const LsBytes *constants, const char *bytes, int len,
							uint64 first, uint64 last, uint32 at);

/* The keys and bytes of values, as compile and run both read them. */
#define LS_NUMERIC_BEYOND	PG_INT64_MAX	/* larger than every constant we take */

extern bool ls_numeric_key(Datum value, int64 *key);

static inline int64
ls_double_key(double value)
{
	union
	{
		double		d;
		int64		i;
	}			u;

	if (unlikely(value != value))
		return PG_INT64_MAX;	/* NaN equals itself and is larger than all else */
	u.d = value + 0.0;			/* -0 becomes 0 */
	return u.i < 0 ? (int64) (UINT64CONST(0x8000000000000000) - (uint64) u.i) : u.i;
}

/*
 * The first and the last bytes of a text, as words that up to 16 bytes and
 * together with the length no other text has.
 */
static inline void
ls_bytes_words(const char *bytes, int len, uint64 *first, uint64 *last)
{
	if (len >= 8)
	{
		memcpy(first, bytes, 8);
		memcpy(last, bytes + len - 8, 8);
	}
	else if (len >= 4)
	{
		uint32		x,
					y;

		memcpy(&x, bytes, 4);
		memcpy(&y, bytes + len - 4, 4);
		*first = x;
		*last = y;
	}
	else
	{
		*first = 0;
		if (len > 0)
			*first = ((uint64) (unsigned char) bytes[0] << 16) |
				((uint64) (unsigned char) bytes[len >> 1] << 8) |
				(unsigned char) bytes[len - 1];
		*last = 0;
	}
}

static inline uint32
ls_bytes_hash(const char *bytes, int len, uint64 first, uint64 last)
{
	uint64		a = first ^ ((uint64) len << 56);

	if (len > 16)
	{
		uint64		middle;

		memcpy(&middle, bytes + len / 2 - 4, 8);
		a ^= (middle << 23) | (middle >> 41);
	}
	a *= UINT64CONST(0x9E3779B97F4A7C15);
	a ^= (last ^ (a >> 32)) * UINT64CONST(0xC2B2AE3D27D4EB4F);
	return (uint32) (a >> 32);
}

/* The number of the constant that equals this text, or -1. */
static pg_attribute_always_inline int
ls_bytes_find(const LsBytesTable *table, const LsBytes *constants, const char *bytes, int len)
{
	uint64		first,
				last;
	uint32		at;
	const LsBytesSlot *slot;
	bool		same;

	ls_bytes_words(bytes, len, &first, &last);
	at = (ls_bytes_hash(bytes, len, first, last) >> table->shift) & table->mask;
	if (unlikely(!table->single))
		return ls_bytes_search(table, constants, bytes, len, first, last, at);
	slot = &table->slots[at];
	same = (slot->first == first) & (slot->last == last) & (slot->len == len);
	return same ? slot->constant - 1 : -1;
}

/* the length without trailing blanks, which bpchar does not count */
static inline int
ls_bpchar_length(const char *bytes, int len)
{
	while (len > 0 && bytes[len - 1] == ' ')
		len--;
	return len;
}

#endif							/* LS_EVAL_INT_H */
