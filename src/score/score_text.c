/*
 * score_text.c
 *	  The text form of a score: a parser and a printer without the server.
 *
 *		score		= component { "|" component } [ "total" bounds ]
 *		component	= number [ "@" instant "/" half-life ] [ bounds ]
 *		bounds		= "[" [ number ] "," [ number ] "]", at least one of them
 *		instant		= YYYY-MM-DD [ "T" HH:MM [ ":SS" [ "." digits ] ] zone ]
 *		zone		= "Z" | ( "+" | "-" ) HH [ ":" MM ]
 *		half-life	= digits ( "d" | "h" | "m" | "s" | "ms" | "us" )
 *
 * White space may stand between the parts, not within a number, an instant or a
 * half-life. No setting of the server matters: the forms are immutable, and
 * printing and parsing gives back the same score to the last bit. A date alone
 * is midnight UTC. LC_NUMERIC must be "C", as it is in every backend.
 */
#include "score_core.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define USEC_PER_MINUTE (60 * SCORE_USEC_PER_SEC)
#define USEC_PER_HOUR	(60 * USEC_PER_MINUTE)
#define USEC_PER_DAY	(24 * USEC_PER_HOUR)

/* Longest unit first: the printer takes the first that divides. */
static const struct
{
	const char *name;
	int64_t		usec;
}			units[] =
{
	{"d", USEC_PER_DAY},
	{"h", USEC_PER_HOUR},
	{"m", USEC_PER_MINUTE},
	{"s", SCORE_USEC_PER_SEC},
	{"ms", 1000},
	{"us", 1},
};

#define NUM_UNITS ((int) (sizeof(units) / sizeof(units[0])))

/* ----------------------------------------------------------------
 *		Parsing
 * ----------------------------------------------------------------
 */

typedef struct Reader
{
	const char *start;
	const char *p;
	ScoreTextError *error;
} Reader;

static ScoreStatus
fail(Reader *r, ScoreStatus status, const char *at, const char *expected)
{
	r->error->offset = (size_t) (at - r->start);
	r->error->expected = expected;
	return status;
}

static ScoreStatus
expected(Reader *r, const char *what)
{
	return fail(r, SCORE_BAD_SYNTAX, r->p, what);
}

/* The <ctype.h> functions depend on the locale. */
static inline bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static void
skip_space(Reader *r)
{
	while (*r->p == ' ' || (*r->p >= '\t' && *r->p <= '\r'))
		r->p++;
}

/* Skip white space, then take the character if it stands there. */
static bool
take(Reader *r, char c)
{
	skip_space(r);
	if (*r->p != c)
		return false;
	r->p++;
	return true;
}

/*
 * A decimal number. What strtod takes beyond that (hexadecimal, "inf", "nan",
 * white space) is refused before it is called; so is a number that would become
 * infinite, or zero although it is not.
 */
static ScoreStatus
parse_number(Reader *r, double *v)
{
	const char *start;
	const char *p;
	bool		nonzero = false;
	int			digits = 0;
	char	   *end;

	skip_space(r);
	start = p = r->p;
	if (*p == '+' || *p == '-')
		p++;
	for (; is_digit(*p) || (*p == '.' && memchr(start, '.', (size_t) (p - start)) == NULL); p++)
	{
		digits += *p != '.';
		nonzero |= *p != '.' && *p != '0';
	}
	if (digits == 0)
		return expected(r, "a number");
	if (*p == 'e' || *p == 'E')
	{
		const char *e = p + 1;

		if (*e == '+' || *e == '-')
			e++;
		if (!is_digit(*e))
			return fail(r, SCORE_BAD_SYNTAX, e, "the digits of an exponent");
		while (is_digit(*e))
			e++;
		p = e;
	}
	*v = strtod(start, &end) + 0.0;
	if (end != p)
		return fail(r, SCORE_BAD_SYNTAX, p, "the end of the number");
	if (!isfinite(*v) || (*v == 0.0 && nonzero))
		return fail(r, SCORE_BAD_NUMBER, start, NULL);
	r->p = p;
	return SCORE_OK;
}

/* Exactly n digits. */
static bool
take_digits(Reader *r, int n, int *v)
{
	*v = 0;
	for (int i = 0; i < n; i++)
	{
		if (!is_digit(r->p[i]))
			return false;
		*v = *v * 10 + (r->p[i] - '0');
	}
	r->p += n;
	return true;
}

static bool
take_char(Reader *r, char c)
{
	if (*r->p != c)
		return false;
	r->p++;
	return true;
}

static int
days_in_month(int y, int m)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	return days[m - 1] + (m == 2 && y % 4 == 0 && (y % 100 != 0 || y % 400 == 0));
}

/* Days since 2000-01-01 in the proleptic Gregorian calendar, for years >= 1. */
static int64_t
days_from_date(int y, int m, int d)
{
	/* count years from March, so that the leap day is the last day of a year */
	int64_t		year = m > 2 ? y : y - 1;
	int			month = m > 2 ? m - 3 : m + 9;

	return year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + d - 1 - 730425;
}

static ScoreStatus
parse_instant(Reader *r, int64_t *t)
{
	const char *start;
	int			y,
				mo,
				d,
				h = 0,
				mi = 0,
				s = 0,
				zh = 0,
				zm = 0;
	int64_t		usec = 0;
	int64_t		zone = 0;

	skip_space(r);
	start = r->p;
	if (!take_digits(r, 4, &y) || !take_char(r, '-') || !take_digits(r, 2, &mo) ||
		!take_char(r, '-') || !take_digits(r, 2, &d))
		return expected(r, "an instant such as 2026-01-31T10:00:00Z");
	if (take_char(r, 'T'))
	{
		if (!take_digits(r, 2, &h) || !take_char(r, ':') || !take_digits(r, 2, &mi))
			return expected(r, "a time of day such as 10:00:00Z");
		if (take_char(r, ':'))
		{
			if (!take_digits(r, 2, &s))
				return expected(r, "seconds of two digits");
			if (take_char(r, '.'))
			{
				int64_t		unit = SCORE_USEC_PER_SEC;

				if (!is_digit(*r->p))
					return expected(r, "a fraction of a second");
				for (; is_digit(*r->p) && unit > 1; r->p++)
					usec += (*r->p - '0') * (unit /= 10);
				if (is_digit(*r->p))
					return expected(r, "at most six digits of a second");
			}
		}
		if (*r->p == '+' || *r->p == '-')
		{
			int			sign = *r->p++ == '-' ? -1 : 1;

			if (!take_digits(r, 2, &zh) || (take_char(r, ':') && !take_digits(r, 2, &zm)))
				return expected(r, "an offset from UTC such as +02:00");
			zone = sign * (zh * USEC_PER_HOUR + zm * USEC_PER_MINUTE);
		}
		else if (!take_char(r, 'Z'))
			return expected(r, "\"Z\" or an offset from UTC");
	}
	if (y < 1 || mo < 1 || mo > 12 || d < 1 || d > days_in_month(y, mo) ||
		h > 23 || mi > 59 || s > 59 || zh > 23 || zm > 59)
		return fail(r, SCORE_BAD_INSTANT, start, NULL);
	*t = days_from_date(y, mo, d) * USEC_PER_DAY + h * USEC_PER_HOUR +
		mi * USEC_PER_MINUTE + s * SCORE_USEC_PER_SEC + usec - zone;
	/* an offset may lead out of the first or the last year */
	if (!score_instant_is_valid(*t))
		return fail(r, SCORE_BAD_INSTANT, start, NULL);
	return SCORE_OK;
}

static ScoreStatus
parse_half_life(Reader *r, int64_t *span)
{
	const char *start;
	int64_t		count = 0;
	size_t		len = 0;

	skip_space(r);
	start = r->p;
	if (!is_digit(*r->p))
		return expected(r, "a half-life such as 14d");
	for (; is_digit(*r->p); r->p++)
	{
		/* beyond any valid half-life: stop counting before it overflows */
		if (count <= SCORE_MAX_HALF_LIFE)
			count = count * 10 + (*r->p - '0');
	}
	while (r->p[len] >= 'a' && r->p[len] <= 'z')
		len++;
	for (int i = 0; i < NUM_UNITS; i++)
	{
		if (len != strlen(units[i].name) || memcmp(r->p, units[i].name, len) != 0)
			continue;
		if (count > SCORE_MAX_HALF_LIFE / units[i].usec ||
			count * units[i].usec < SCORE_MIN_HALF_LIFE)
			return fail(r, SCORE_BAD_HALF_LIFE, start, NULL);
		*span = count * units[i].usec;
		r->p += len;
		return SCORE_OK;
	}
	return expected(r, "one of the units d, h, m, s, ms, us");
}

/* What follows the opening bracket. */
static ScoreStatus
parse_bounds(Reader *r, double *lo, double *hi)
{
	const char *start = r->p;
	bool		has_lo;
	ScoreStatus status;

	has_lo = !take(r, ',');
	if (has_lo)
	{
		if ((status = parse_number(r, lo)) != SCORE_OK)
			return status;
		if (!take(r, ','))
			return expected(r, "\",\"");
	}
	if (take(r, ']'))
		return has_lo ? SCORE_OK : fail(r, SCORE_BAD_SYNTAX, start, "a bound");
	if ((status = parse_number(r, hi)) != SCORE_OK)
		return status;
	if (!take(r, ']'))
		return expected(r, "\"]\"");
	if (*lo > *hi)
		return fail(r, SCORE_BAD_BOUNDS, start, NULL);
	return SCORE_OK;
}

static ScoreStatus
parse_component(Reader *r, ScoreComponent *c)
{
	ScoreStatus status;

	c->at = 0;
	c->half_life = 0;
	c->lo = -INFINITY;
	c->hi = INFINITY;
	if ((status = parse_number(r, &c->value)) != SCORE_OK)
		return status;
	if (take(r, '@'))
	{
		if ((status = parse_instant(r, &c->at)) != SCORE_OK)
			return status;
		if (!take(r, '/'))
			return expected(r, "\"/\" and a half-life");
		if ((status = parse_half_life(r, &c->half_life)) != SCORE_OK)
			return status;
	}
	if (take(r, '['))
		return parse_bounds(r, &c->lo, &c->hi);
	return SCORE_OK;
}

ScoreStatus
score_parse(const char *text, Score *s, ScoreTextError *error)
{
	Reader		r = {text, text, error};
	ScoreStatus status;

	error->offset = 0;
	error->expected = NULL;
	s->n = 0;
	s->lo = -INFINITY;
	s->hi = INFINITY;
	do
	{
		if (s->n == SCORE_MAX_COMPONENTS)
			return fail(&r, SCORE_BAD_COUNT, r.p, NULL);
		if ((status = parse_component(&r, &s->c[s->n])) != SCORE_OK)
			return status;
		s->n++;
	} while (take(&r, '|'));

	if (strncmp(r.p, "total", 5) == 0)
	{
		r.p += 5;
		if (!take(&r, '['))
			return expected(&r, "\"[\"");
		if ((status = parse_bounds(&r, &s->lo, &s->hi)) != SCORE_OK)
			return status;
		skip_space(&r);
	}
	if (*r.p != '\0')
		return expected(&r, "the end, or \"|\" and another component");
	return SCORE_OK;
}

/* ----------------------------------------------------------------
 *		Printing
 * ----------------------------------------------------------------
 */

/* The fewest digits that read back as the same number. */
size_t
score_print_number(double v, char *buf)
{
	int			len = 0;

	/* whole numbers, the usual points, need no search */
	if (fabs(v) < 1e15 && v == (double) (int64_t) v)
		return (size_t) snprintf(buf, SCORE_MAX_NUMBER_TEXT, "%lld", (long long) v);

	/*
	 * %g drops trailing zeros and a decimal of at most 15 digits survives the
	 * way through a normal double, so 15 is never longer than needed.
	 * Denormals have fewer digits to give.
	 */
	for (int digits = fabs(v) < DBL_MIN ? 1 : DBL_DIG; digits <= 17; digits++)
	{
		len = snprintf(buf, SCORE_MAX_NUMBER_TEXT, "%.*g", digits, v);
		if (strtod(buf, NULL) == v)
			break;
	}
	return (size_t) len;
}

size_t
score_print_instant(int64_t t, char *buf)
{
	int64_t		shifted = t - SCORE_MIN_INSTANT;	/* since 0001-01-01, never negative */
	int64_t		days = shifted / USEC_PER_DAY + 306;	/* since 0000-03-01 */
	int64_t		time = shifted % USEC_PER_DAY;
	int			era = (int) (days / 146097);
	int			doe = (int) (days % 146097);	/* day of an era of 400 years */
	int			yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int			doy = doe - (365 * yoe + yoe / 4 - yoe / 100);	/* from March */
	int			m = (5 * doy + 2) / 153;
	int			usec = (int) (time % SCORE_USEC_PER_SEC);
	int			len;

	len = snprintf(buf, SCORE_MAX_INSTANT_TEXT, "%04d-%02d-%02dT%02d:%02d:%02d",
				   era * 400 + yoe + (m >= 10), m < 10 ? m + 3 : m - 9, doy - (153 * m + 2) / 5 + 1,
				   (int) (time / USEC_PER_HOUR), (int) (time / USEC_PER_MINUTE % 60),
				   (int) (time / SCORE_USEC_PER_SEC % 60));
	if (usec != 0)
	{
		len += snprintf(buf + len, SCORE_MAX_INSTANT_TEXT - (size_t) len, ".%06d", usec);
		while (buf[len - 1] == '0')
			len--;
	}
	buf[len++] = 'Z';
	buf[len] = '\0';
	return (size_t) len;
}

size_t
score_print_half_life(int64_t span, char *buf)
{
	int			i = 0;

	while (span % units[i].usec != 0)
		i++;
	return (size_t) snprintf(buf, SCORE_MAX_HALF_LIFE_TEXT, "%lld%s",
							 (long long) (span / units[i].usec), units[i].name);
}

static char *
print_bounds(char *p, double lo, double hi)
{
	if (isinf(lo) && isinf(hi))
		return p;
	*p++ = '[';
	if (!isinf(lo))
		p += score_print_number(lo, p);
	*p++ = ',';
	if (!isinf(hi))
		p += score_print_number(hi, p);
	*p++ = ']';
	return p;
}

static char *
print_literal(char *p, const char *literal)
{
	size_t		len = strlen(literal);

	memcpy(p, literal, len);
	return p + len;
}

size_t
score_print(const Score *s, char *buf)
{
	char	   *p = buf;

	for (int i = 0; i < s->n; i++)
	{
		const ScoreComponent *c = &s->c[i];

		if (i > 0)
			p = print_literal(p, " | ");
		p += score_print_number(c->value, p);
		if (c->half_life != 0)
		{
			*p++ = '@';
			p += score_print_instant(c->at, p);
			*p++ = '/';
			p += score_print_half_life(c->half_life, p);
		}
		p = print_bounds(p, c->lo, c->hi);
	}
	if (!isinf(s->lo) || !isinf(s->hi))
		p = print_bounds(print_literal(p, " total"), s->lo, s->hi);
	*p = '\0';
	return (size_t) (p - buf);
}
