#include "base/clock.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

static atomic_bool faked;
static _Atomic int64_t fake_monotonic, fake_wall;

static int64_t read_clock(clockid_t id)
{
	struct timespec now;
	clock_gettime(id, &now);
	return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

int64_t clock_monotonic_ns(void)
{
	return atomic_load_explicit(&faked, memory_order_relaxed) ? fake_monotonic
	                                                          : read_clock(CLOCK_MONOTONIC);
}

int64_t clock_wall_ns(void)
{
	return atomic_load_explicit(&faked, memory_order_relaxed) ? fake_wall
	                                                          : read_clock(CLOCK_REALTIME);
}

void clock_fake(int64_t monotonic_ns, int64_t wall_ns)
{
	fake_monotonic = monotonic_ns;
	fake_wall = wall_ns;
	faked = true;
}

void clock_real(void)
{
	faked = false;
}

static void put_digits(char *at, int count, unsigned value)
{
	for (; count--; value /= 10)
		at[count] = (char)('0' + value % 10);
}

void clock_text(int64_t wall_ns, char text[CLOCK_TEXT_SIZE])
{
	time_t seconds = (time_t)(wall_ns / NS_PER_S);
	int64_t rest_ns = wall_ns % NS_PER_S;
	if (rest_ns < 0) {  // before 1970: down to the second, not towards zero
		rest_ns += NS_PER_S;
		seconds--;
	}
	struct tm utc;
	gmtime_r(&seconds, &utc);
	// By hand: every record and access line takes this way, and snprintf costs ten times this.
	memcpy(text, "0000-00-00T00:00:00.000000Z", CLOCK_TEXT_SIZE);
	put_digits(text, 4, (unsigned)utc.tm_year + 1900);
	put_digits(text + 5, 2, (unsigned)utc.tm_mon + 1);
	put_digits(text + 8, 2, (unsigned)utc.tm_mday);
	put_digits(text + 11, 2, (unsigned)utc.tm_hour);
	put_digits(text + 14, 2, (unsigned)utc.tm_min);
	put_digits(text + 17, 2, (unsigned)utc.tm_sec);
	put_digits(text + 20, 6, (unsigned)(rest_ns / NS_PER_US));
}

void clock_http(int64_t wall_ns, char text[CLOCK_HTTP_SIZE])
{
	static const char days[] = "SunMonTueWedThuFriSat";
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	time_t seconds = (time_t)(wall_ns / NS_PER_S);
	struct tm utc;
	gmtime_r(&seconds, &utc);
	memcpy(text, "Day, 00 Mon 0000 00:00:00 GMT", CLOCK_HTTP_SIZE);
	memcpy(text, days + 3 * utc.tm_wday, 3);
	put_digits(text + 5, 2, (unsigned)utc.tm_mday);
	memcpy(text + 8, months + 3 * utc.tm_mon, 3);
	put_digits(text + 12, 4, (unsigned)utc.tm_year + 1900);
	put_digits(text + 17, 2, (unsigned)utc.tm_hour);
	put_digits(text + 20, 2, (unsigned)utc.tm_min);
	put_digits(text + 23, 2, (unsigned)utc.tm_sec);
}
