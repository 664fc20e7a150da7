#include "base/reason.h"
#include "conf/config.h"
#include "conf/schema.h"
#include "conf/utf8.h"

enum { LINE_MAX_BYTES = 76, FONT_BYTES = 3, PATH_BYTES = 160 };  // `\fB`

static const char head[] =
        ".\\\" Generated from the schema table (conf/schema.c) and base/reason.def; do not edit.\n"
        ".TH TOLLGATE.YAML 5 \"@DATE@\" \"tollgate @VERSION@\" \"File Formats\"\n"
        ".SH NAME\n"
        "tollgate.yaml \\- configuration of the gateway tollgate\n"
        ".SH DESCRIPTION\n";

static const char introduction[] =
        "A file is one YAML document, in UTF-8, of at most 4 MiB, without anchors, aliases and "
        "tags. Unknown keys are errors, and so is whatever can have no effect. Relative file "
        "names are relative to the file they stand in. `tollgate check` lists every problem.";

static const struct form {
	const char *name, *examples;
} forms[] = {
        {"duration", "`250ms`, `10s`, `5m`, `1h`, or `0`"},
        {"size", "bytes: `512`, `512B`, `16KiB`, `4MiB`, `1GiB`"},
        {"rate", "`5/s`, `300/m`, `10000/h`"},
        {"address", "`127.0.0.1:8443`, `[::]:8443`, `unix:/path`; for servers also `name:port`"},
        {"SPIFFE pattern",
                "`spiffe://cluster.local/ns/*/sa/web`, `spiffe://cluster.local/*`: a `*` is one "
                "segment, a final `/*` one or more"},
};

static const char restart[] =
        "What a key says is put in force by a reload (SIGHUP), unless it says that a restart is "
        "needed.";

// One character as roff wants it. `column` counts what stands in the line.
static void write_character(int32_t character, bool code, size_t *column, struct buffer *out)
{
	if (*column == 0 && (character == '.' || character == '\''))
		buffer_append_str(out, STR("\\&"));
	if (character == '\\')
		buffer_append_str(out, STR("\\e"));
	else if (character == '-' && code)
		buffer_append_str(out, STR("\\-"));
	else if (character < 0x80)
		buffer_printf(out, "%c", (char)character);
	else
		buffer_printf(out, "\\[u%04X]", (unsigned)character);
	++*column;
}

static bool word_fits(struct str text, size_t column)
{
	size_t len = 0;
	for (size_t i = 0; i < text.len && text.at[i] != ' '; i++)
		len += text.at[i] == '`' ? FONT_BYTES : 1;
	return column + 1 + len <= LINE_MAX_BYTES;
}

// Prose: wrapped, `code` in bold.
static void write_prose(const char *sentence, struct buffer *out)
{
	struct str text = str_from(sentence);
	size_t column = 0;
	bool code = false;
	while (text.len) {
		int32_t character = utf8_take(&text);
		CHECK(character >= 0);
		if (character == '`') {
			code = !code;
			buffer_append_str(out, code ? STR("\\fB") : STR("\\fR"));
			column += FONT_BYTES;
		} else if (character == ' ' && !word_fits(text, column)) {
			buffer_append_str(out, STR("\n"));
			column = 0;
		} else {
			write_character(character, code, &column, out);
		}
	}
	buffer_append_str(out, STR("\n"));
}

static void write_presence(const struct schema_key *key, struct buffer *out)
{
	switch (key->presence) {
	case PRESENCE_REQUIRED:
		buffer_append_str(out, STR("; required"));
		return;
	case PRESENCE_OPTIONAL:
		return;
	case PRESENCE_DEFAULT:
		if (key->fallback)
			buffer_printf(out, "; default `%s`", key->fallback);
		return;
	}
}

// `duration, from 1ms to 5m; default 1s; needs a restart.`
static void write_facts(const struct schema_key *key, struct buffer *out)
{
	struct buffer facts = {0}, range = {0};
	schema_write_type(key, &facts);
	schema_write_range(key, &range);
	if (buffer_len(&range))
		buffer_printf(
		        &facts, ", %.*s", (int)buffer_len(&range), (char *)buffer_data(&range));
	write_presence(key, &facts);
	if (key->shape != SHAPE_OBJECT && key->reload == RELOAD_RESTART)
		buffer_append_str(&facts, STR("; needs a restart"));
	buffer_append(&facts, ".", 2);
	write_prose(buffer_data(&facts), out);
	buffer_fini(&facts);
	buffer_fini(&range);
}

static void write_key(const struct schema_key *key, struct buffer *out)
{
	buffer_printf(out, ".TP\n.B %s\n", key->name);
	write_prose(key->doc, out);
	if (key->secret)
		buffer_append_str(out, STR("Secret: redacted in dumps.\n"));
	buffer_append_str(out, STR(".br\n"));
	write_facts(key, out);
}

static void write_object(const struct schema_object *object, const char *path, struct buffer *out)
{
	buffer_printf(out, ".SS %s\n", *path ? path : "The file");
	write_prose(object->doc, out);
	for (size_t i = 0; i < object->key_count; i++)
		write_key(&object->keys[i], out);
	for (size_t i = 0; i < object->key_count; i++) {
		const struct schema_key *key = &object->keys[i];
		char below[PATH_BYTES];
		if (!key->object)
			continue;
		snprintf(below, sizeof(below), "%s%s%s%s", path, *path ? "." : "", key->name,
		        key->shape == SHAPE_OBJECTS ? "[]" : "");
		write_object(key->object, below, out);
	}
}

static void write_reasons(struct buffer *out)
{
	buffer_append_str(out, STR(".SH DIAGNOSTICS\n"));
	write_prose("The `reason` of audit records, problem bodies and metrics, with the HTTP and "
	            "the gRPC status; the title is all that a caller is told.",
	        out);
	for (enum reason reason = REASON_NONE + 1; reason < REASON_COUNT; reason++) {
		buffer_printf(out, ".TP\n.B %s\n", reason_name(reason));
		write_prose(reason_title(reason), out);
		buffer_append_str(out, STR(".br\n"));
		if (reason_http_status(reason))
			buffer_printf(out, "HTTP %d, ", reason_http_status(reason));
		buffer_printf(out, "gRPC %d.\n", reason_grpc_status(reason));
	}
}

void config_manual(FILE *out)
{
	struct buffer text = {0};
	buffer_append_str(&text, STR(head));
	write_prose(introduction, &text);
	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		buffer_printf(&text, ".TP\n.I %s\n", forms[i].name);
		write_prose(forms[i].examples, &text);
	}
	buffer_append_str(&text, STR(".PP\n"));
	write_prose(restart, &text);
	buffer_append_str(&text, STR(".SH KEYS\n"));
	write_object(&schema_config, "", &text);
	write_reasons(&text);
	buffer_append_str(&text, STR(".SH FILES\n"
	                             ".TP\n.I @SYSCONFDIR@/tollgate/tollgate.yaml\n"
	                             "The file that the service reads.\n"
	                             ".TP\n.I @DOCDIR@/examples\nMore to copy.\n"
	                             ".TP\n.I @DOCDIR@/REFERENCE.md\n"
	                             "The same as this page, with the metrics.\n"
	                             ".SH SEE ALSO\n.BR tollgate (1)\n"));
	fwrite(buffer_data(&text), 1, buffer_len(&text), out);
	buffer_fini(&text);
}
