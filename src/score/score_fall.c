/*
 * score_fall.c
 *	  When ageing alone takes a score under a threshold, without the server.
 *
 * The answer is the earliest microsecond, not before the latest instant of the
 * score's components, at which score_total is below the threshold. It is exact
 * in this sense: the total there is below, the total one microsecond earlier is
 * not. A closed form would agree with that only to its own rounding, so there is
 * none; what is computed in floating point are the instants between which the
 * total is monotone, and the answer is then found by halving on score_total.
 *
 * With one component, or several of one sign, those are the instants at which a
 * component leaves or reaches a bound. Where a positive and a negative component
 * age with different half-lives the total also turns in between: its derivative
 * is a sum of exponentials, whose roots turning_points finds.
 */
#include "score_fall.h"

#include <float.h>
#include <math.h>

/* bounds of each component, turns between them, the two ends */
#define MAX_BREAKS		(2 * SCORE_MAX_COMPONENTS + 2)
#define MAX_POSTS		(MAX_BREAKS + (MAX_BREAKS - 1) * SCORE_MAX_COMPONENTS)

/* a term a * 2^(-rate * x) of a sum of exponentials */
typedef struct Term
{
	double		a;
	double		rate;
} Term;

/* The sum of the terms times 2^(terms[0].rate * x), which has the same sign. */
static double
sum_of_terms(const Term *terms, int n, double x)
{
	double		sum = terms[0].a;

	for (int i = 1; i < n; i++)
		sum += terms[i].a * exp2(-(terms[i].rate - terms[0].rate) * x);
	return sum;
}

/*
 * Where a sum of n terms, ordered by ascending rate, changes sign for x in
 * (0, length): at most n - 1 instants, ascending.
 *
 * By Rolle's theorem: divide the sum by its slowest term's exponential, and that
 * term is constant. The derivative has one term fewer; between two of its sign
 * changes the quotient is monotone and has at most one root, which halving finds.
 */
static int
sign_changes(const Term *terms, int n, double length, double *out)
{
	Term		derived[SCORE_MAX_COMPONENTS];
	double		turns[SCORE_MAX_COMPONENTS + 1];
	double		largest = 0.0;
	double		low = 0.0;
	int			nturns;
	int			found = 0;
	bool		mixed = false;

	for (int i = 1; i < n; i++)
		mixed |= (terms[i].a > 0.0) != (terms[0].a > 0.0);
	if (!mixed)
		return 0;

	for (int i = 1; i < n; i++)
	{
		derived[i - 1].rate = terms[i].rate - terms[0].rate;
		derived[i - 1].a = terms[i].a * derived[i - 1].rate;
		largest = fmax(largest, fabs(derived[i - 1].a));
	}
	nturns = 0;
	if (largest > 0.0)
	{
		/* only signs matter: keep clear of underflow */
		for (int i = 0; i < n - 1; i++)
			derived[i].a /= largest;
		nturns = sign_changes(derived, n - 1, length, turns);
	}
	turns[nturns++] = length;

	for (int i = 0; i < nturns; i++)
	{
		double		high = turns[i];
		bool		positive = sum_of_terms(terms, n, low) > 0.0;

		if ((sum_of_terms(terms, n, high) > 0.0) != positive)
		{
			double		l = low,
						h = high;

			while (h - l > 0.25)
			{
				double		middle = l + (h - l) * 0.5;

				if (middle <= l || middle >= h)
					break;
				if ((sum_of_terms(terms, n, middle) > 0.0) == positive)
					l = middle;
				else
					h = middle;
			}
			out[found++] = h;
		}
		low = high;
	}
	return found;
}

/*
 * Where the total turns within (from, to), in which no component meets a bound.
 */
static int
turning_points(const Score *s, int64_t from, int64_t to, int64_t *out)
{
	Term		terms[SCORE_MAX_COMPONENTS];
	double		turns[SCORE_MAX_COMPONENTS];
	int64_t		middle = from + (to - from) / 2;
	double		largest = 0.0;
	int			n = 0;
	int			kept = 0;
	int			found;

	for (int i = 0; i < s->n; i++)
	{
		const ScoreComponent *c = &s->c[i];
		Term		term;
		double		v;
		int			k;

		if (c->half_life == 0 || c->value == 0.0)
			continue;
		v = score_age(c->value, middle - c->at, c->half_life);
		if (v <= c->lo || v >= c->hi)
			continue;
		term.rate = 1.0 / (double) c->half_life;
		term.a = score_age(c->value, from - c->at, c->half_life) * term.rate;
		for (k = 0; k < n && terms[k].rate < term.rate; k++)
			;
		if (k < n && terms[k].rate == term.rate)
			terms[k].a += term.a;
		else
		{
			for (int j = n++; j > k; j--)
				terms[j] = terms[j - 1];
			terms[k] = term;
		}
	}

	/* terms that cancelled, or aged to nothing, turn nothing */
	for (int i = 0; i < n; i++)
	{
		largest = fmax(largest, fabs(terms[i].a));
		if (terms[i].a != 0.0)
			terms[kept++] = terms[i];
	}
	if (kept < 2)
		return 0;
	for (int i = 0; i < kept; i++)
		terms[i].a /= largest;
	found = sign_changes(terms, kept, (double) (to - from), turns);
	for (int i = 0; i < found; i++)
		out[i] = from + (int64_t) turns[i];
	return found;
}

/* Add t, if within (from, to), to posts in ascending order. */
static int
add_post(int64_t *posts, int n, double t, int64_t from, int64_t to)
{
	int64_t		instant;
	int			k;

	if (!(t > (double) from && t < (double) to))
		return n;
	instant = (int64_t) t;
	if (instant <= from || instant >= to)
		return n;
	for (k = n; k > 0 && posts[k - 1] > instant; k--)
		posts[k] = posts[k - 1];
	posts[k] = instant;
	return n + 1;
}

ScoreFall
score_falls_below(const Score *s, double threshold, int64_t *at)
{
	int64_t		breaks[MAX_BREAKS];
	int64_t		posts[MAX_POSTS];
	int64_t		from = SCORE_MIN_INSTANT - 1;
	int64_t		to = SCORE_END_INSTANT - 1;
	int			nbreaks = 0;
	int			nposts = 0;
	int			below = -1;
	int64_t		low,
				high;

	for (int i = 0; i < s->n; i++)
	{
		if (s->c[i].half_life != 0 && s->c[i].at > from)
			from = s->c[i].at;
	}
	if (from < SCORE_MIN_INSTANT)	/* nothing ages */
		return score_total(s, 0) < threshold ? SCORE_FALLS_BEFORE : SCORE_FALLS_NEVER;

	/* where a component's worth passes a bound of the same sign */
	breaks[nbreaks++] = from;
	for (int i = 0; i < s->n; i++)
	{
		const ScoreComponent *c = &s->c[i];
		double		bounds[2] = {c->lo, c->hi};

		if (c->half_life == 0)
			continue;
		for (int k = 0; k < 2; k++)
		{
			if (isfinite(bounds[k]) && bounds[k] * c->value != 0.0 && (bounds[k] > 0) == (c->value > 0))
				nbreaks = add_post(breaks, nbreaks, (double) c->at + (double) c->half_life *
								   (log2(fabs(c->value)) - log2(fabs(bounds[k]))), from, to);
		}
	}
	breaks[nbreaks++] = to;

	for (int i = 0; i < nbreaks; i++)
	{
		posts[nposts++] = breaks[i];
		if (i + 1 < nbreaks)
			nposts += turning_points(s, breaks[i], breaks[i + 1], posts + nposts);
	}

	for (int i = 0; i < nposts && below < 0; i++)
	{
		if (score_total(s, posts[i]) < threshold)
			below = i;
	}
	if (below < 0)
		return SCORE_FALLS_NEVER;
	if (below == 0)
	{
		for (int i = 1; i < nposts; i++)
		{
			if (score_total(s, posts[i]) >= threshold)
			{
				*at = from;
				return SCORE_FALLS_AT;
			}
		}
		return SCORE_FALLS_BEFORE;
	}

	low = posts[below - 1];
	high = posts[below];
	while (high - low > 1)
	{
		int64_t		middle = low + (high - low) / 2;

		if (score_total(s, middle) < threshold)
			high = middle;
		else
			low = middle;
	}
	*at = high;
	return SCORE_FALLS_AT;
}
