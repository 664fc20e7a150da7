#include "conf/value.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "conf/utf8.h"

// Smallest first; the empty name is the bare number.
struct unit {
	const char *name;
	uint64_t factor;
};

static const struct unit size_units[] = {
        {"", 1}, {"B", 1}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}};
static const struct unit duration_units[] = {{"ms", NS_PER_MS}, {"s", NS_PER_S},
        {"m", 60 * (uint64_t)NS_PER_S}, {"h", 3600 * (uint64_t)NS_PER_S}};

// Takes the digits off the front of *text; false when there are none.
static bool take_number(struct str *text, uint64_t *number)
{
	size_t digits = 0;
	uint64_t value = 0;
	for (; digits < text->len && isdigit((unsigned char)text->at[digits]); digits++)
		if (__builtin_mul_overflow(value, 10u, &value) ||
		        __builtin_add_overflow(value, (unsigned)(text->at[digits] - '0'), &value))
			value = UINT64_MAX;
	if (!digits)
		return false;
	*text = str_skip(*text, digits);
	*number = value;
	return true;
}

static const struct unit *find_unit(struct str name, const struct unit *units, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (str_eq(name, str_from(units[i].name)))
			return &units[i];
	return NULL;
}

static bool scaled(struct str text, const struct unit *units, size_t count, uint64_t *value)
{
	uint64_t number;
	if (!take_number(&text, &number))
		return false;
	const struct unit *unit = find_unit(text, units, count);
	if (!unit)
		return false;
	if (__builtin_mul_overflow(number, unit->factor, value))
		*value = UINT64_MAX;
	return true;
}

bool value_count(struct str text, uint64_t *count)
{
	uint64_t number;
	if (!take_number(&text, &number) || text.len)
		return false;
	*count = number;
	return true;
}

bool value_size(struct str text, uint64_t *bytes)
{
	return scaled(text, size_units, ARRAY_LEN(size_units), bytes);
}

bool value_duration(struct str text, uint64_t *ns)
{
	uint64_t number;
	if (value_count(text, &number) && number == 0) {
		*ns = 0;
		return true;
	}
	return scaled(text, duration_units, ARRAY_LEN(duration_units), ns);
}

// From the second unit on: nobody counts calls by the millisecond.
static bool parse_period(struct str text, int64_t *period_ns)
{
	const struct unit *unit = find_unit(
	        text, duration_units + 1, ARRAY_LEN(duration_units) - 1);
	if (unit)
		*period_ns = (int64_t)unit->factor;
	return unit;
}

bool value_rate(struct str text, uint64_t *count, int64_t *period_ns)
{
	uint64_t number;
	if (!take_number(&text, &number) || !text.len || text.at[0] != '/' ||
	        !parse_period(str_skip(text, 1), period_ns))
		return false;
	*count = number;
	return true;
}

bool value_byte_rate(struct str text, uint64_t *bytes, int64_t *period_ns)
{
	const char *slash = str_find_byte(text, '/');
	size_t len = slash ? (size_t)(slash - text.at) : 0;
	uint64_t number;
	if (!slash || !value_size(str_of(text.at, len), &number) ||
	        !parse_period(str_skip(text, len + 1), period_ns))
		return false;
	*bytes = number;
	return true;
}

void value_write_count(uint64_t count, struct buffer *out)
{
	buffer_printf(out, "%" PRIu64, count);
}

static void write_scaled(uint64_t value, const struct unit *units, size_t count, struct buffer *out)
{
	const struct unit *unit = &units[0];
	for (size_t i = 1; i < count; i++)
		if (value && value % units[i].factor == 0 && units[i].factor > unit->factor)
			unit = &units[i];
	buffer_printf(out, "%" PRIu64 "%s", value / unit->factor, unit->name);
}

void value_write_size(uint64_t bytes, struct buffer *out)
{
	write_scaled(bytes, size_units, ARRAY_LEN(size_units), out);
}

void value_write_duration(uint64_t ns, struct buffer *out)
{
	if (ns == 0)
		buffer_append_str(out, STR("0s"));
	else
		write_scaled(ns, duration_units, ARRAY_LEN(duration_units), out);
}

void value_write_rate(uint64_t count, int64_t period_ns, struct buffer *out)
{
	for (size_t i = 0; i < ARRAY_LEN(duration_units); i++)
		if (duration_units[i].factor == (uint64_t)period_ns)
			buffer_printf(out, "%" PRIu64 "/%s", count, duration_units[i].name);
}

void value_write_byte_rate(uint64_t bytes, int64_t period_ns, struct buffer *out)
{
	struct buffer rate = {0};
	value_write_rate(1, period_ns, &rate);  // `1/s`
	value_write_size(bytes, out);
	buffer_append_str(out, str_skip(buffer_str(&rate), 1));
	buffer_fini(&rate);
}

// Words that YAML 1.1 or 1.2 readers take for something else than a string.
static bool is_reserved(struct str text)
{
	static const char *const words[] = {
	        "null", "true", "false", "yes", "no", "on", "off", "y", "n"};
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (str_eq_nocase(text, str_from(words[i])))
			return true;
	return false;
}

static bool is_plain(struct str text)
{
	if (!text.len || !(isalpha((unsigned char)text.at[0]) || text.at[0] == '/'))
		return false;
	for (size_t i = 0; i < text.len; i++)
		if (!isalnum((unsigned char)text.at[i]) && !memchr("._/-", text.at[i], 4))
			return false;
	return !is_reserved(text);
}

static void write_quoted_byte(unsigned char byte, struct buffer *out)
{
	if (byte == '"' || byte == '\\')
		buffer_printf(out, "\\%c", byte);
	else if (byte == '\n')
		buffer_append_str(out, STR("\\n"));
	else if (byte == '\t')
		buffer_append_str(out, STR("\\t"));
	else if (byte < 0x20 || byte == 0x7F)
		buffer_printf(out, "\\x%02x", byte);
	else
		buffer_append(out, &byte, 1);
}

void value_write_text(struct str text, struct buffer *out)
{
	if (is_plain(text)) {
		buffer_append_str(out, text);
		return;
	}
	buffer_append_str(out, STR("\""));
	while (text.len) {
		struct str rest = text;
		int32_t character = utf8_take(&rest);
		CHECK(character >= 0);  // the tree holds UTF-8 alone
		if (character < 0x80)
			write_quoted_byte((unsigned char)character, out);
		else
			buffer_printf(out, character > 0xFFFF ? "\\U%08x" : "\\u%04x", character);
		text = rest;
	}
	buffer_append_str(out, STR("\""));
}

// Somebody may have put a key where its file was expected: messages end up in logs.
static struct str before_secret(struct str text)
{
	static const struct str heading = {"PRIVATE KEY", sizeof("PRIVATE KEY") - 1};
	const char *found = text.len ? memmem(text.at, text.len, heading.at, heading.len) : NULL;
	return found ? str_of(text.at, (size_t)(found - text.at) + heading.len) : text;
}

struct value_quote value_quote(struct str text)
{
	enum { SHOWN = 80, LONGEST_PIECE = 4, ENDING = 5 };
	struct value_quote quote;
	size_t len = 0;
	text = before_secret(text);
	quote.text[len++] = '\'';
	while (text.len && len < SHOWN) {
		struct str rest = text;
		int32_t character = utf8_take(&rest);
		bool escape = character < 0x20 || (character >= 0x7F && character < 0xA0);
		size_t taken = escape ? 1 : text.len - rest.len;
		if (escape)
			snprintf(quote.text + len, LONGEST_PIECE + 1, "\\x%02x",
			        (unsigned char)text.at[0]);
		else
			memcpy(quote.text + len, text.at, taken);
		len += escape ? LONGEST_PIECE : taken;
		text = str_skip(text, taken);
	}
	snprintf(quote.text + len, ENDING, "%s'", text.len ? "..." : "");
	return quote;
}
