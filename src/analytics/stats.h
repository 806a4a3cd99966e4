/*
 * stats.h
 *	  The statistics of the reports, free of the server: intervals, quantiles,
 *	  survival. Formulas and sources in docs/analytics.md.
 */
#ifndef LS_STATS_H
#define LS_STATS_H

#include <stdbool.h>
#include <stddef.h>

/* The 97.5 % point of the normal distribution: all intervals are of 95 %. */
#define LS_Z95	1.959963984540054

typedef struct LsInterval
{
	double		low;
	double		high;
} LsInterval;

/* One span of time of one lead: did it end, or is it only known to last so long */
typedef struct LsSpan
{
	double		days;
	bool		ended;
} LsSpan;

/* One step of the Kaplan-Meier curve: at an instant at which spans end */
typedef struct LsSurvivalStep
{
	double		days;
	size_t		at_risk;
	size_t		ended;
	size_t		censored;		/* from this instant to before the next */
	double		survival;
	double		std_error;		/* Greenwood */
	double		low;			/* interval on the log scale */
	double		high;
} LsSurvivalStep;

/* The normal quantile of (1 + confidence) / 2 */
extern double ls_normal_quantile(double confidence);

/* Wilson's interval of a share; 0 <= successes <= total, total > 0 */
extern LsInterval ls_wilson(double successes, double total, double z);

/* Linear interpolation between order statistics, as percentile_cont; n > 0 */
extern double ls_quantile(const double *sorted, size_t n, double p);

/*
 * The curve of n spans, which are sorted by days, ended before censored at ties.
 * steps has room for n; the number of steps (distinct ends) is returned.
 */
extern size_t ls_kaplan_meier(const LsSpan *spans, size_t n, LsSurvivalStep *steps);

/* The first instant at which a value of the curve is at most p; NaN if never. */
extern double ls_km_quantile(const LsSurvivalStep *steps, size_t n, double p);
extern double ls_km_low_quantile(const LsSurvivalStep *steps, size_t n, double p);
extern double ls_km_high_quantile(const LsSurvivalStep *steps, size_t n, double p);

#endif							/* LS_STATS_H */
