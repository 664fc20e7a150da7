#include "base/log_line.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/json.h"

// Walks over `pairs`, taking arguments as they are asked for.
struct walk {
	const char *at;
	va_list arguments;
	struct buffer value;  // of the pair at hand, not escaped
	bool number;          // nothing but one integer
	bool lost;            // a conversion not known here: what follows cannot be read either
};

// What stands between `%` and the letter: `08`, `.3`; the length is kept apart.
struct conversion {
	char flags[16];
	size_t flags_len;
	char length;  // 'H' for hh, 'L' for ll
	long precision;
};

static void append_limited(struct walk *walk, const char *bytes, size_t len)
{
	static const char more[] = "…";
	size_t have = buffer_len(&walk->value);
	if (have > LOG_VALUE_MAX)
		return;
	if (have + len <= LOG_VALUE_MAX) {
		buffer_append(&walk->value, bytes, len);
		return;
	}
	buffer_append(&walk->value, bytes, LOG_VALUE_MAX - have);
	buffer_append(&walk->value, more, sizeof(more) - 1);
}

static intmax_t take_signed(struct walk *walk, char length)
{
	switch (length) {
	case 'H':
		return (signed char)va_arg(walk->arguments, int);
	case 'h':
		return (short)va_arg(walk->arguments, int);
	case 'l':
		return va_arg(walk->arguments, long);
	case 'L':
		return va_arg(walk->arguments, long long);
	case 'j':
		return va_arg(walk->arguments, intmax_t);
	case 'z':
		return va_arg(walk->arguments, ssize_t);
	case 't':
		return va_arg(walk->arguments, ptrdiff_t);
	default:
		return va_arg(walk->arguments, int);
	}
}

static uintmax_t take_unsigned(struct walk *walk, char length)
{
	switch (length) {
	case 'H':
		return (unsigned char)va_arg(walk->arguments, unsigned);
	case 'h':
		return (unsigned short)va_arg(walk->arguments, unsigned);
	case 'l':
		return va_arg(walk->arguments, unsigned long);
	case 'L':
		return va_arg(walk->arguments, unsigned long long);
	case 'j':
		return va_arg(walk->arguments, uintmax_t);
	case 'z':
		return va_arg(walk->arguments, size_t);
	case 't':
		return (uintmax_t)va_arg(walk->arguments, ptrdiff_t);
	default:
		return va_arg(walk->arguments, unsigned);
	}
}

static void append_text(struct walk *walk, long precision)
{
	const char *text = va_arg(walk->arguments, const char *);
	if (!text)
		text = precision ? "(null)" : "";
	append_limited(walk, text, precision < 0 ? strlen(text) : strnlen(text, (size_t)precision));
}

// Flags, width, precision and length, as far as the letter. A width from the arguments is more
// than any event asks for.
static struct conversion read_conversion(struct walk *walk)
{
	struct conversion found = {.precision = -1};
	while (*walk->at && strchr("-+ #0123456789.*", *walk->at)) {
		if (walk->at[0] == '.' && walk->at[1] == '*') {
			found.precision = va_arg(walk->arguments, int);
			walk->at += 2;
			continue;
		}
		if (*walk->at == '*' || found.flags_len + 1 == sizeof(found.flags))
			walk->lost = true;
		else
			found.flags[found.flags_len++] = *walk->at;
		walk->at++;
	}
	for (; *walk->at && strchr("hljzt", *walk->at); walk->at++)
		found.length = found.length == 'h' ? 'H' : found.length == 'l' ? 'L' : *walk->at;
	return found;
}

static void append_number(struct walk *walk, const struct conversion *conversion, char letter)
{
	char format[32], text[64];
	bool whole = strchr("di", letter) != NULL, real = strchr("feEgG", letter) != NULL;
	int len;
	snprintf(format, sizeof(format), "%%%.*s%s%c", (int)conversion->flags_len,
	        conversion->flags, real ? "" : "j", letter);
	if (real)
		len = snprintf(text, sizeof(text), format, va_arg(walk->arguments, double));
	else if (whole)
		len = snprintf(text, sizeof(text), format, take_signed(walk, conversion->length));
	else
		len = snprintf(text, sizeof(text), format, take_unsigned(walk, conversion->length));
	append_limited(walk, text, len < 0 ? 0 : strnlen(text, (size_t)len));
	// JSON knows no hexadecimal, no leading zeros, no plus sign and no NaN.
	walk->number = (whole || letter == 'u') && conversion->flags_len == 0;
}

// At a `%`.
static void expand(struct walk *walk)
{
	bool first = buffer_len(&walk->value) == 0;
	walk->at++;
	struct conversion conversion = read_conversion(walk);
	char letter = *walk->at;
	walk->number = false;
	if (walk->lost || !letter) {
		walk->lost = true;
		return;
	}
	walk->at++;
	if (letter == '%') {
		append_limited(walk, "%", 1);
	} else if (letter == 's') {
		// `%.3s` has its precision among the flags.
		const char *dot = memchr(conversion.flags, '.', conversion.flags_len);
		append_text(walk, dot ? strtol(dot + 1, NULL, 10) : conversion.precision);
	} else if (letter == 'c') {
		append_limited(walk, &(char){(char)va_arg(walk->arguments, int)}, 1);
	} else if (strchr("diuxXofeEgG", letter) && conversion.precision < 0) {
		append_number(walk, &conversion, letter);
		walk->number = walk->number && first;
	} else {
		walk->lost = true;
	}
}

// The value of one pair, as far as `end` (a quote, or a space).
static void read_value(struct walk *walk, char end)
{
	buffer_clear(&walk->value);
	walk->number = false;
	while (*walk->at && *walk->at != end && !walk->lost) {
		if (*walk->at == '%') {
			expand(walk);
			continue;
		}
		append_limited(walk, walk->at++, 1);
		walk->number = false;
	}
	if (*walk->at && !walk->lost)
		walk->at++;
}

// Whether logfmt's readers would take the bare value for something else.
static bool wants_quotes(struct str value)
{
	for (size_t i = 0; i < value.len; i++) {
		unsigned char byte = (unsigned char)value.at[i];
		if (byte <= ' ' || byte >= 0x7f || byte == '"' || byte == '=' || byte == '\\')
			return true;
	}
	return value.len == 0;
}

struct writer {
	enum log_format format;
	struct json json;
};

// What JSON quotes, logfmt's readers understand too.
static void write_pair(struct writer *writer, struct str key, struct str value, bool quoted)
{
	struct buffer *out = writer->json.out;
	if (writer->format == LOG_JSON) {
		buffer_printf(out, "%s\"%.*s\":", writer->json.comma ? "," : "", STR_FMT(key));
		writer->json.comma = true;
	} else {
		buffer_printf(out, "%s%.*s=", buffer_len(out) ? " " : "", STR_FMT(key));
	}
	if (quoted)
		json_str(&(struct json){.out = out}, value);
	else
		buffer_append_str(out, value);
}

static void write_text(struct writer *writer, const char *key, const char *text)
{
	write_pair(writer, str_from(key), str_from(text), true);
}

// One pair; false at the end, or when no more may follow.
static bool next_pair(struct walk *walk, struct writer *writer)
{
	walk->at += strspn(walk->at, " ");
	if (!*walk->at)
		return false;
	struct str key = str_of(walk->at, strcspn(walk->at, "=% "));
	bool named = key.len && key.at[key.len] == '=';
	if (named)
		walk->at += key.len + 1;
	else
		key = STR("text");
	bool quoted = *walk->at == '"';
	walk->at += quoted;
	size_t before = buffer_len(writer->json.out);
	read_value(walk, quoted ? '"' : ' ');
	struct str value = buffer_str(&walk->value);
	if (!named && value.len == 0)
		return !walk->lost;  // "%s" with nothing to say
	bool bare = writer->format == LOG_JSON ? walk->number : !wants_quotes(value);
	write_pair(writer, key, value, quoted || !bare);
	if (buffer_len(writer->json.out) <= LOG_LINE_MAX)
		return !walk->lost;
	buffer_cut(writer->json.out, before);
	write_pair(writer, STR("cut"), STR("true"), false);
	return false;
}

void log_line_text(struct buffer *out, enum log_format format, enum log_level level,
        const char *what, const char *pairs, va_list arguments)
{
	static const char *const names[] = {"debug", "info", "warn", "error"};
	struct writer writer = {.format = format, .json = {.out = out}};
	struct walk walk = {.at = pairs};
	va_copy(walk.arguments, arguments);
	write_pair(&writer, STR("level"), str_from(names[level]), format == LOG_JSON);
	write_text(&writer, "msg", what);
	while (next_pair(&walk, &writer))
		;
	if (walk.lost)
		write_text(&writer, "unreadable", pairs);
	va_end(walk.arguments);
	buffer_fini(&walk.value);
}

void log_line_whole(struct buffer *out, enum log_format format, int64_t wall_ns, struct str text,
        uint64_t repeated)
{
	enum { TO_MS = sizeof("2026-11-23T16:40:00.123") - 1 };
	char when[CLOCK_TEXT_SIZE];
	bool json = format == LOG_JSON;
	clock_text(wall_ns, when);
	buffer_printf(out, json ? "{\"time\":\"%.*sZ\"," : "time=%.*sZ ", TO_MS, when);
	buffer_append_str(out, text);
	if (repeated) {
		buffer_append_str(out, json ? STR(",\"repeated\":") : STR(" repeated="));
		buffer_append_digits(out, repeated);
	}
	buffer_append_str(out, json ? STR("}\n") : STR("\n"));
}
