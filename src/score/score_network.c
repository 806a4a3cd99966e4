/*
 * score_network.c
 *	  The bytes of a score on the wire and in COPY BINARY, in network byte order.
 *
 * The layout is told in score_core.h. It is a contract with clients, and has
 * nothing to do with the form in which scores are stored (score_form.c).
 */
#include "score_core.h"

#include <math.h>
#include <string.h>

#define FORM_VERSION	1
#define FORM_COUNT		0x0F	/* byte 1: components, and which bounds the total has */
#define FORM_TOTAL_LO	0x10
#define FORM_TOTAL_HI	0x20
#define FORM_AGES		0x01	/* flags of a component */
#define FORM_LO			0x02
#define FORM_HI			0x04

/* Eight bytes at a time, from and to any alignment. */
static inline uint64_t
swap_bytes(uint64_t bits)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return __builtin_bswap64(bits);
#else
	return bits;
#endif
}

static inline void
send_int64(unsigned char **p, int64_t v)
{
	uint64_t	bits = swap_bytes((uint64_t) v);

	memcpy(*p, &bits, 8);
	*p += 8;
}

static inline void
send_double(unsigned char **p, double v)
{
	int64_t		bits;

	memcpy(&bits, &v, 8);
	send_int64(p, bits);
}

static inline int64_t
receive_int64(const unsigned char **p)
{
	uint64_t	bits;

	memcpy(&bits, *p, 8);
	*p += 8;
	return (int64_t) swap_bytes(bits);
}

static inline double
receive_double(const unsigned char **p)
{
	int64_t		bits = receive_int64(p);
	double		v;

	memcpy(&v, &bits, 8);
	return v;
}

size_t
score_send(const Score *s, unsigned char *buf)
{
	unsigned char *p = buf;

	*p++ = FORM_VERSION;
	*p++ = (unsigned char) (s->n |
							(isfinite(s->lo) ? FORM_TOTAL_LO : 0) |
							(isfinite(s->hi) ? FORM_TOTAL_HI : 0));
	for (int i = 0; i < s->n; i++)
		*p++ = (unsigned char) ((s->c[i].half_life != 0 ? FORM_AGES : 0) |
								(isfinite(s->c[i].lo) ? FORM_LO : 0) |
								(isfinite(s->c[i].hi) ? FORM_HI : 0));
	if (isfinite(s->lo))
		send_double(&p, s->lo);
	if (isfinite(s->hi))
		send_double(&p, s->hi);
	for (int i = 0; i < s->n; i++)
	{
		const ScoreComponent *c = &s->c[i];

		send_double(&p, c->value);
		if (c->half_life != 0)
		{
			send_int64(&p, c->at);
			send_int64(&p, c->half_life);
		}
		if (isfinite(c->lo))
			send_double(&p, c->lo);
		if (isfinite(c->hi))
			send_double(&p, c->hi);
	}
	return (size_t) (p - buf);
}

/* A bound that is present must be finite. */
static inline ScoreStatus
receive_bound(const unsigned char **p, double *bound)
{
	*bound = receive_double(p);
	return isfinite(*bound) ? SCORE_OK : SCORE_BAD_BOUNDS;
}

ScoreStatus
score_receive(const unsigned char *buf, size_t len, Score *s)
{
	const unsigned char *flags;
	const unsigned char *p;
	ScoreStatus status;
	int			fields;
	int			n;

	/* the head first, then the length it implies: no field is read unchecked */
	if (len < 2 || buf[0] != FORM_VERSION ||
		(buf[1] & ~(FORM_COUNT | FORM_TOTAL_LO | FORM_TOTAL_HI)) != 0)
		return SCORE_BAD_FORM;
	n = buf[1] & FORM_COUNT;
	if (n < 1 || n > SCORE_MAX_COMPONENTS)
		return SCORE_BAD_COUNT;
	if (len < (size_t) (2 + n))
		return SCORE_BAD_FORM;
	flags = buf + 2;
	fields = ((buf[1] & FORM_TOTAL_LO) ? 1 : 0) + ((buf[1] & FORM_TOTAL_HI) ? 1 : 0);
	for (int i = 0; i < n; i++)
	{
		if ((flags[i] & ~(FORM_AGES | FORM_LO | FORM_HI)) != 0)
			return SCORE_BAD_FORM;
		fields += 1 + ((flags[i] & FORM_AGES) ? 2 : 0) +
			((flags[i] & FORM_LO) ? 1 : 0) + ((flags[i] & FORM_HI) ? 1 : 0);
	}
	if (len != 2 + n + 8 * (size_t) fields)
		return SCORE_BAD_FORM;

	p = flags + n;
	s->n = n;
	s->lo = -INFINITY;
	s->hi = INFINITY;
	if ((buf[1] & FORM_TOTAL_LO) && (status = receive_bound(&p, &s->lo)) != SCORE_OK)
		return status;
	if ((buf[1] & FORM_TOTAL_HI) && (status = receive_bound(&p, &s->hi)) != SCORE_OK)
		return status;
	for (int i = 0; i < n; i++)
	{
		ScoreComponent *c = &s->c[i];

		c->value = receive_double(&p);
		c->at = 0;
		c->half_life = 0;
		c->lo = -INFINITY;
		c->hi = INFINITY;
		if (flags[i] & FORM_AGES)
		{
			c->at = receive_int64(&p);
			c->half_life = receive_int64(&p);
			if (c->half_life == 0)
				return SCORE_BAD_HALF_LIFE;
		}
		if ((flags[i] & FORM_LO) && (status = receive_bound(&p, &c->lo)) != SCORE_OK)
			return status;
		if ((flags[i] & FORM_HI) && (status = receive_bound(&p, &c->hi)) != SCORE_OK)
			return status;
	}
	return score_check(s);
}
