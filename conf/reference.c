#include "base/reason.h"
#include "conf/config.h"
#include "conf/schema.h"

static const char introduction[] =
        "# The config file, key by key\n"
        "\n"
        "Generated from the schema tables (`conf/schema*.c`) and\n"
        "the tables `base/*.def`; do not edit. `REGENERATE=1` with `tests/conf/reference_test` "
        "rewrites it.\n"
        "\n"
        "A file is one YAML document, in UTF-8, of at most 4 MiB, without anchors, aliases and "
        "tags. Unknown keys are\n"
        "errors, and so is whatever can have no effect. Relative file names are relative to the "
        "file they stand in.\n"
        "\n"
        "| written | means |\n"
        "| --- | --- |\n"
        "| duration | `250ms`, `10s`, `5m`, `1h`, or `0` |\n"
        "| size | bytes: `512`, `512B`, `16KiB`, `4MiB`, `1GiB` |\n"
        "| rate | `5/s`, `300/m`, `10000/h` |\n"
        "| address | `127.0.0.1:8443`, `[::]:8443`, `unix:/path`; for servers also `name:port` "
        "|\n"
        "| SPIFFE pattern | `spiffe://cluster.local/ns/*/sa/web`, `spiffe://cluster.local/*` |\n"
        "\n"
        "*Reload* says whether SIGHUP puts a changed value in force (live) or only a restart "
        "does.\n";

// A cell of a table: `|` would end it.
static void write_cell(const char *text, struct buffer *out)
{
	for (; *text; text++)
		buffer_printf(out, "%s%c", *text == '|' ? "\\" : "", *text);
	buffer_append_str(out, STR(" | "));
}

// What `write` says of the key, in a cell.
static void write_words(const struct schema_key *key,
        void (*write)(const struct schema_key *key, struct buffer *out), struct buffer *out)
{
	struct buffer words = {0};
	write(key, &words);
	buffer_append(&words, "", 1);
	write_cell(buffer_data(&words), out);
	buffer_fini(&words);
}

static void write_default(const struct schema_key *key, struct buffer *out)
{
	switch (key->presence) {
	case PRESENCE_REQUIRED:
		write_cell("*required*", out);
		return;
	case PRESENCE_OPTIONAL:
		write_cell("–", out);
		return;
	case PRESENCE_DEFAULT:
		if (key->fallback)
			buffer_printf(out, "`%s` | ", key->fallback);
		else
			write_cell("as below", out);
		return;
	}
}

static const char *reload_word(enum schema_reload reload)
{
	switch (reload) {
	case RELOAD_LIVE:
		return "live";
	case RELOAD_RESTART:
		return "restart";
	}
	CHECK(!"a reload class");
	return "";
}

static void write_row(const struct schema_key *key, struct buffer *out)
{
	buffer_printf(out, "| `%s` | ", key->name);
	write_words(key, schema_write_type, out);
	write_default(key, out);
	write_words(key, schema_write_range, out);
	write_cell(key->shape == SHAPE_OBJECT ? "" : reload_word(key->reload), out);
	buffer_printf(out, "%s%s |\n", key->doc, key->secret ? " Secret: redacted in dumps." : "");
}

static void write_object(const struct schema_object *object, const char *path, struct buffer *out)
{
	buffer_printf(out,
	        "\n## %s\n\n%s\n\n| key | type | default | range | reload | meaning |\n"
	        "| --- | --- | --- | --- | --- | --- |\n",
	        *path ? path : "The file", object->doc);
	for (size_t i = 0; i < object->key_count; i++)
		write_row(&object->keys[i], out);
	for (size_t i = 0; i < object->key_count; i++) {
		const struct schema_key *key = &object->keys[i];
		char below[160];
		if (!key->object)
			continue;
		snprintf(below, sizeof(below), "%s%s%s%s", path, *path ? "." : "", key->name,
		        key->shape == SHAPE_OBJECTS ? "[]" : "");
		write_object(key->object, below, out);
	}
}

static void write_reasons(struct buffer *out)
{
	buffer_append_str(
	        out, STR("\n## Why a caller is refused\n\n"
	                 "The `reason` of audit records, problem bodies and metrics; the "
	                 "title is all that the caller is told.\n\n"
	                 "| reason | HTTP | gRPC | title |\n| --- | --- | --- | --- |\n"));
	for (enum reason reason = REASON_NONE + 1; reason < REASON_COUNT; reason++) {
		buffer_printf(out, "| `%s` | ", reason_name(reason));
		if (reason_http_status(reason))
			buffer_printf(out, "%d | ", reason_http_status(reason));
		else
			write_cell("–", out);
		buffer_printf(out, "%d | %s |\n", reason_grpc_status(reason), reason_title(reason));
	}
}

static void write_metrics(struct buffer *out)
{
#define LABELS(...) #__VA_ARGS__
#define METRIC(name, type, labels, help) {"tollgate_" #name, #type, labels, help},
#define PROCESS_METRIC(name, type, labels, help) {#name, #type, labels, help},
	static const struct {
		const char *name, *type, *labels, *help;
	} rows[] = {
#include "base/metric.def"
	};
#undef PROCESS_METRIC
#undef METRIC
#undef LABELS
#define BUCKET(upper_ns, upper_s) " " upper_s
	static const char buckets[] =
#include "base/metric_bucket.def"
	        ;
#undef BUCKET
	buffer_append_str(
	        out, STR("\n## Metrics\n\nAt `/metrics` of the admin listener, in the text "
	                 "format of Prometheus.\n\n"
	                 "| metric | type | labels | meaning |\n"
	                 "| --- | --- | --- | --- |\n"));
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		buffer_printf(out, "| `%s` | ", rows[i].name);
		for (const char *letter = rows[i].type; *letter; letter++)
			buffer_printf(out, "%c", *letter + 'a' - 'A');
		buffer_append_str(out, STR(" | "));
		for (const char *letter = rows[i].labels; *letter; letter++)
			buffer_printf(out, "%.*s", *letter != '"', letter);
		buffer_printf(out, " | %s |\n", rows[i].help);
	}
	buffer_printf(out,
	        "\nThe buckets of every histogram end at%s and +Inf seconds.\n\n"
	        "Label values are names of the configuration and words of the gateway, never the "
	        "caller's, and a code is a\n"
	        "status or `other`: callers cannot add series, and backends no more than there are "
	        "statuses. What a reload\n"
	        "no longer names is not told any more, and forgotten once nothing under way uses "
	        "it.\n",
	        buckets);
}

static void write_access(struct buffer *out)
{
#define ACCESS(name, kind, value, meaning) {#name, #kind, meaning},
	static const struct {
		const char *name, *kind, *meaning;
	} rows[] = {
#include "base/access.def"
	};
#undef ACCESS
	buffer_append_str(
	        out, STR("\n## The access log\n\nOne JSON object a line for every request that was "
	                 "answered or broken off. What does not apply is left out.\n\n"
	                 "| field | kind | meaning |\n| --- | --- | --- |\n"));
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char first = rows[i].kind[0];
		const char *kind = first == 'T'   ? "text"
		                   : first == 'Y' ? "true or false"
		                   : first == 'M' ? "ms"
		                                  : "number";
		buffer_printf(out, "| `%s` | %s | %s |\n", rows[i].name, kind, rows[i].meaning);
	}
}

static void write_flags(struct buffer *out)
{
#define RESPONSE_FLAG(letters, words, meaning) {#letters, words, meaning},
	static const struct {
		const char *letters, *words, *meaning;
	} rows[] = {
#include "base/response_flag.def"
	};
#undef RESPONSE_FLAG
	buffer_append_str(
	        out, STR("\n`response_flags` has Envoy's letters; what has no row has none:\n\n"
	                 "| flag | reason or cause | meaning |\n| --- | --- | --- |\n"));
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		buffer_printf(out, "| `%s` | ", rows[i].letters);
		for (const char *letter = rows[i].words; *letter; letter++)
			buffer_printf(out, *letter == ' ' ? ", " : "%c", *letter);
		buffer_printf(out, " | %s |\n", rows[i].meaning);
	}
}

void config_reference(FILE *out)
{
	struct buffer text = {0};
	buffer_append_str(&text, STR(introduction));
	write_object(&schema_config, "", &text);
	write_reasons(&text);
	write_metrics(&text);
	write_access(&text);
	write_flags(&text);
	fwrite(buffer_data(&text), 1, buffer_len(&text), out);
	buffer_fini(&text);
}
