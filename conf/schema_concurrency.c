#include "conf/reader.h"
#include "conf/schema_row.h"
#include "conf/value.h"

enum {
	CALLS_MAX = 1000000,
	HUNDREDTHS = 100,
	TOLERANCE_MIN = 110,
	TOLERANCE_MAX = 1000,
	FACTOR_BYTES_MAX = 8
};

// `2`, `1.5`, `1.25`: in hundredths, so that what is written reads back as the same.
static bool parse_factor(struct str text, uint64_t *hundredths)
{
	size_t point = 0;
	while (point < text.len && text.at[point] != '.')
		point++;
	uint64_t whole, part = 0;
	struct str digits = str_skip(text, point < text.len ? point + 1 : point);
	if (!str_to_u64(str_of(text.at, point), CALLS_MAX, &whole) || digits.len > 2)
		return false;
	if (point < text.len && !str_to_u64(digits, HUNDREDTHS - 1, &part))
		return false;
	*hundredths = whole * HUNDREDTHS + (digits.len == 1 ? part * 10 : part);
	return true;
}

static bool set_factor(
        struct reader *reader, const struct schema_key *key, const struct tree *node, void *field)
{
	uint64_t hundredths;
	if (!type_fits(key, node->text) || !parse_factor(node->text, &hundredths) ||
	        hundredths < key->min || hundredths > key->max)
		return reader_refuse(reader, key, node);
	*(uint64_t *)field = hundredths;
	return true;
}

static void write_bound(uint64_t hundredths, struct buffer *out)
{
	unsigned whole = (unsigned)hundredths / HUNDREDTHS,
	         part = (unsigned)hundredths % HUNDREDTHS;
	if (part % 10)
		buffer_printf(out, "%u.%02u", whole, part);
	else if (part)
		buffer_printf(out, "%u.%u", whole, part / 10);
	else
		buffer_printf(out, "%u", whole);
}

static void write_factor(const struct schema_key *key, const void *field, struct buffer *out)
{
	(void)key;
	write_bound(*(const uint64_t *)field, out);
}

static const struct schema_type type_factor = {.name = "factor",
        .expected = "a number such as 1.5, with two decimals at most,",
        .set = set_factor,
        .write = write_factor,
        .write_bound = write_bound,
        .bytes_max = FACTOR_BYTES_MAX};

static bool shown_fixed(const void *base)
{
	return ((const struct config_concurrency *)base)->limit > 0;
}

static bool shown_adaptive(const void *base)
{
	const struct config_concurrency *concurrency = base;
	return concurrency->mark.line && !concurrency->limit;
}

static void check_concurrency(struct reader *reader, const struct tree *node, void *base)
{
	static const char *const of_adaptive[] = {"min", "max", "tolerance"};
	struct config_concurrency *concurrency = base;
	concurrency->mark = node->mark;
	for (size_t i = 0; tree_get(node, "limit") && i < ARRAY_LEN(of_adaptive); i++)
		if (tree_get(node, of_adaptive[i]))
			reader_problem_at(reader, node, of_adaptive[i],
			        "can have no effect beside limit, which never changes; expected "
			        "either limit, or min, max and tolerance");
	if (!concurrency->limit && concurrency->max <= concurrency->min && concurrency->max)
		reader_problem_at(reader, node, tree_get(node, "max") ? "max" : "min",
		        "leaves nothing to adapt: min is %llu and max %llu; expected max to be "
		        "more than min, or limit alone",
		        (unsigned long long)concurrency->min, (unsigned long long)concurrency->max);
}

static const struct schema_key concurrency_keys[] = {
        {"limit", .presence = PRESENCE_OPTIONAL, TYPE(type_count), AT(config_concurrency, limit),
                RANGE(1, CALLS_MAX), .shown = shown_fixed,
                DOC("A limit that never changes. Without the key it adapts itself: it follows the "
                    "time from a whole request to the head of its answer.")},
        {"min", TYPE(type_count), AT(config_concurrency, min), RANGE(1, CALLS_MAX), .fallback = "4",
                .shown = shown_adaptive,
                DOC("So many calls are let through however slow the backend is.")},
        {"max", TYPE(type_count), AT(config_concurrency, max), RANGE(1, CALLS_MAX),
                .fallback = "1000", .shown = shown_adaptive,
                DOC("The limit grows no further, however quick the backend is. It begins at 32 of "
                    "all workers, at 8 of one at least, and grows only while it is needed.")},
        {"tolerance", TYPE(type_factor), AT(config_concurrency, tolerance_percent),
                RANGE(TOLERANCE_MIN, TOLERANCE_MAX), .fallback = "1.5", .shown = shown_adaptive,
                DOC("How many times as long as from an unloaded backend answers may take on "
                    "average: above that the limit shrinks, below it grows. Differences of less "
                    "than 1 ms do not count.")},
};

const struct schema_object schema_concurrency = {
        DOC("How many calls each worker lets the backend have under way; what is over that is "
            "refused at once as `overloaded` instead of waiting there, and takes no token. A call "
            "counts from its forwarding to the head of its answer, so streams and tunnels do not "
            "count once they are answered; a request that is still coming after a second does not "
            "count until it is whole. Errors and calls without an answer tell of the backend only "
            "when they took longer than is fine; calls that find it unavailable (no connection, "
            "503, UNAVAILABLE) count as slow ones, so a tenth of them shrinks the limit. How long "
            "an unloaded backend takes is measured anew every 10 s while calls are refused (less "
            "often where answers take longer than 100 ms): for about five answers' time half as "
            "many are let through. Give answers that are slow on purpose (long polls, streams "
            "whose first message is long in coming) a backend entry of their own."),
        .size = sizeof(struct config_concurrency), KEYS(concurrency_keys),
        .check = check_concurrency};
