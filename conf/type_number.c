#include <inttypes.h>
#include <sched.h>
#include <unistd.h>

#include "conf/reader.h"
#include "conf/type.h"
#include "conf/value.h"

enum { WORKERS_MAX = 1024, WEIGHT_MAX = 1000, WEIGHT_BYTES_MAX = 4 };

static bool set_flag(
        struct reader *reader, const struct schema_key *key, const struct tree *node, void *field)
{
	bool yes = str_eq(node->text, STR("true"));
	if (!yes && !str_eq(node->text, STR("false")))
		return reader_refuse(reader, key, node);
	*(bool *)field = yes;
	return true;
}

static void write_flag(const struct schema_key *key, const void *field, struct buffer *out)
{
	(void)key;
	buffer_append_str(out, *(const bool *)field ? STR("true") : STR("false"));
}

const struct schema_type type_flag = {
        .name = "true or false", .expected = "true or false", .set = set_flag, .write = write_flag};

static bool set_choice(
        struct reader *reader, const struct schema_key *key, const struct tree *node, void *field)
{
	for (unsigned i = 0; key->choices[i]; i++)
		if (str_eq(node->text, str_from(key->choices[i]))) {
			*(unsigned *)field = i;  // what gcc and clang make an enum of
			return true;
		}
	return reader_refuse(reader, key, node);
}

static void write_choice(const struct schema_key *key, const void *field, struct buffer *out)
{
	value_write_text(str_from(key->choices[*(const unsigned *)field]), out);
}

const struct schema_type type_choice = {
        .name = "word", .expected = "", .set = set_choice, .write = write_choice};

// The processors this process may use, not those of the machine: cpusets and taskset count. The
// mask is too small for a machine of more than 1024; then it is all that are there.
static uint64_t processor_count(void)
{
	cpu_set_t set;
	bool masked = sched_getaffinity(0, sizeof(set), &set) == 0;
	long count = masked ? CPU_COUNT(&set) : sysconf(_SC_NPROCESSORS_ONLN);
	return count < 1 ? 1 : count > WORKERS_MAX ? WORKERS_MAX : (uint64_t)count;
}

static bool read_number(struct reader *reader, const struct schema_key *key,
        const struct tree *node, bool (*parse)(struct str, uint64_t *), uint64_t *number)
{
	uint64_t value;
	if (parse(node->text, &value) && value >= key->min && value <= key->max) {
		*number = value;
		return true;
	}
	(void)reader_refuse(reader, key, node);
	return false;
}

// In a list of texts: what is kept is the text.
static bool set_weight(
        struct reader *reader, const struct schema_key *key, const struct tree *node, void *field)
{
	uint64_t weight;
	if (!value_count(node->text, &weight) || weight < 1 || weight > WEIGHT_MAX)
		return reader_refuse(reader, key, node);
	return type_set_text(reader, key, node, field);
}

static void write_weight(const struct schema_key *key, const void *field, struct buffer *out)
{
	(void)key;
	buffer_append_str(out, ((const struct config_text *)field)->text);
}

const struct schema_type type_weight = {.name = "count",
        .expected = "a whole number from 1 to 1000",
        .set = set_weight,
        .write = write_weight,
        .given = type_text_given,
        .bytes_max = WEIGHT_BYTES_MAX};

static bool set_workers(
        struct reader *reader, const struct schema_key *key, const struct tree *node, void *field)
{
	uint64_t count = processor_count();
	if (!str_eq(node->text, STR("auto")) &&
	        !read_number(reader, key, node, value_count, &count))
		return false;
	*(size_t *)field = (size_t)count;
	return true;
}

static void write_workers(const struct schema_key *key, const void *field, struct buffer *out)
{
	(void)key;
	value_write_count(*(const size_t *)field, out);
}

const struct schema_type type_workers = {.name = "count or `auto`",
        .expected = "auto or a whole number",
        .set = set_workers,
        .write = write_workers,
        .write_bound = value_write_count};

static bool set_status(
        struct reader *reader, const struct schema_key *key, const struct tree *node, void *field)
{
	uint64_t status;
	if (!read_number(reader, key, node, value_count, &status))
		return false;
	*(int *)field = (int)status;
	return true;
}

static void write_status(const struct schema_key *key, const void *field, struct buffer *out)
{
	(void)key;
	buffer_printf(out, "%d", *(const int *)field);
}

const struct schema_type type_status = {.name = "HTTP status",
        .expected = "an HTTP status",
        .set = set_status,
        .write = write_status,
        .write_bound = value_write_count};

static bool set_count(
        struct reader *reader, const struct schema_key *key, const struct tree *node, void *field)
{
	return read_number(reader, key, node, value_count, field);
}

static void write_count(const struct schema_key *key, const void *field, struct buffer *out)
{
	(void)key;
	value_write_count(*(const uint64_t *)field, out);
}

const struct schema_type type_count = {.name = "count",
        .expected = "a whole number",
        .set = set_count,
        .write = write_count,
        .write_bound = value_write_count};

static bool set_size(
        struct reader *reader, const struct schema_key *key, const struct tree *node, void *field)
{
	return read_number(reader, key, node, value_size, field);
}

static void write_size(const struct schema_key *key, const void *field, struct buffer *out)
{
	(void)key;
	value_write_size(*(const uint64_t *)field, out);
}

const struct schema_type type_size = {.name = "size",
        .expected = "a size such as 512, 16KiB, 4MiB or 1GiB",
        .set = set_size,
        .write = write_size,
        .write_bound = value_write_size};

static bool set_duration(
        struct reader *reader, const struct schema_key *key, const struct tree *node, void *field)
{
	uint64_t ns;
	struct str text = node->text;
	if (!value_duration(text, &ns) && value_count(text, &ns)) {
		reader_problem(reader, node->mark,
		        "found '%.*s', which has no unit; expected %.*sms, %.*ss, %.*sm or %.*sh",
		        STR_FMT(text), STR_FMT(text), STR_FMT(text), STR_FMT(text), STR_FMT(text));
		return false;
	}
	if (!read_number(reader, key, node, value_duration, &ns))
		return false;
	*(int64_t *)field = (int64_t)ns;
	return true;
}

static void write_duration(const struct schema_key *key, const void *field, struct buffer *out)
{
	(void)key;
	value_write_duration((uint64_t) * (const int64_t *)field, out);
}

const struct schema_type type_duration = {.name = "duration",
        .expected = "a duration such as 250ms, 10s, 5m or 1h",
        .set = set_duration,
        .write = write_duration,
        .write_bound = value_write_duration};

static bool set_rate(
        struct reader *reader, const struct schema_key *key, const struct tree *node, void *field)
{
	struct config_rate rate;
	if (!value_rate(node->text, &rate.count, &rate.period_ns) || rate.count < key->min ||
	        rate.count > key->max)
		return reader_refuse(reader, key, node);
	*(struct config_rate *)field = rate;
	return true;
}

static void write_rate(const struct schema_key *key, const void *field, struct buffer *out)
{
	const struct config_rate *rate = field;
	(void)key;
	value_write_rate(rate->count, rate->period_ns, out);
}

static bool rate_given(const void *field)
{
	return ((const struct config_rate *)field)->count > 0;
}

const struct schema_type type_rate = {.name = "rate",
        .expected = "a rate such as 5/s, 300/m or 10000/h, its number",
        .set = set_rate,
        .write = write_rate,
        .given = rate_given,
        .write_bound = value_write_count};

static bool set_byte_rate(
        struct reader *reader, const struct schema_key *key, const struct tree *node, void *field)
{
	struct config_rate rate;
	if (!value_byte_rate(node->text, &rate.count, &rate.period_ns) || rate.count < key->min ||
	        rate.count > key->max)
		return reader_refuse(reader, key, node);
	*(struct config_rate *)field = rate;
	return true;
}

static void write_byte_rate(const struct schema_key *key, const void *field, struct buffer *out)
{
	const struct config_rate *rate = field;
	(void)key;
	value_write_byte_rate(rate->count, rate->period_ns, out);
}

const struct schema_type type_byte_rate = {.name = "rate of bytes",
        .expected = "a rate such as 64KiB/s or 100MiB/m, its size",
        .set = set_byte_rate,
        .write = write_byte_rate,
        .given = rate_given,
        .write_bound = value_write_size};
