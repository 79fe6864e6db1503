#include "client/deadline.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { DIGITS_MOST = 12, DAY_S = 24 * 3600 };

static bool is_digits(const char *text, size_t length)
{
    return length && length <= DIGITS_MOST && strspn(text, "0123456789") >= length;
}

/* "2h", and seconds since 1970. */
static bool read_number(const char *text, int64_t now, int64_t *into)
{
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', DAY_S}};
    size_t length = strlen(text);
    if (is_digits(text, length)) {
        *into = strtoll(text, NULL, 10);
        return true;
    }
    if (length < 2 || !is_digits(text, length - 1))
        return false;
    for (size_t u = 0; u < sizeof units / sizeof units[0]; u++)
        if (text[length - 1] == units[u].unit) {
            *into = now + strtoll(text, NULL, 10) * units[u].seconds;
            return true;
        }
    return false;
}

/* Fields out of range are refused, not carried over: timegm would take any. */
static bool is_in_range(const struct tm *tm)
{
    static const int days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return tm->tm_mon >= 0 && tm->tm_mon < 12 && tm->tm_mday >= 1 &&
           tm->tm_mday <= days[tm->tm_mon] && tm->tm_hour >= 0 && tm->tm_hour < 24 &&
           tm->tm_min >= 0 && tm->tm_min < 60 && tm->tm_sec >= 0 && tm->tm_sec < 60;
}

/* "18:30": today, or tomorrow when that is over. */
static bool read_clock(const char *text, int64_t now, int64_t *into)
{
    struct tm tm;
    time_t at = (time_t)now;
    int end = 0;
    localtime_r(&at, &tm);
    tm.tm_sec = 0;
    tm.tm_isdst = -1;
    if (sscanf(text, "%2d:%2d%n", &tm.tm_hour, &tm.tm_min, &end) != 2 || text[end] ||
        !is_in_range(&tm))
        return false;
    *into = (int64_t)mktime(&tm);
    if (*into <= now) {
        tm.tm_mday++;
        tm.tm_isdst = -1;
        *into = (int64_t)mktime(&tm);
    }
    return true;
}

static bool read_date(const char *text, int64_t *into)
{
    struct tm tm = {.tm_hour = 23, .tm_min = 59, .tm_sec = 59, .tm_isdst = -1};
    int end = 0, more = 0;
    char between = 0;
    if (sscanf(text, "%4d-%2d-%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &end) != 3)
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon--;
    const char *rest = text + end;
    if (sscanf(rest, "%c%2d:%2d%n", &between, &tm.tm_hour, &tm.tm_min, &more) == 3 &&
        (between == ' ' || between == 'T')) {
        rest += more;
        tm.tm_sec = more = 0;
        if (sscanf(rest, ":%2d%n", &tm.tm_sec, &more) == 1)
            rest += more;
    }
    bool utc = !strcmp(rest, "Z");
    if ((*rest && !utc) || !is_in_range(&tm))
        return false;
    *into = (int64_t)(utc ? timegm(&tm) : mktime(&tm));
    return true;
}

bool deadline_read(const char *text, int64_t now, int64_t *deadline,
                   struct error *error)
{
    if (!read_number(text, now, deadline) && !read_clock(text, now, deadline) &&
        !read_date(text, deadline))
        return error_set_kind(error, ERROR_INPUT,
                              "deadline: \"%.40s\" is no time like 90m, 2h, 18:30, "
                              "2027-03-01 or \"2027-03-01 18:30\"",
                              text);
    return !*deadline || *deadline > now ||
           error_set_kind(error, ERROR_INPUT, "deadline: \"%.40s\" has passed", text);
}
