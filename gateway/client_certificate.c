#include "gateway/client_certificate.h"

#include <ctype.h>

#include "base/buffer.h"

// Plain values may hold none of the grammar's own characters.
static bool needs_quotes(struct str value)
{
	for (size_t i = 0; i < value.len; i++)
		if (strchr(",;=\"\\ ", value.at[i]))
			return true;
	return false;
}

// Bytes that could end the field or the header line leave as %XX: nothing in a certificate can add
// an element.
static void append_value(struct buffer *out, struct str value, bool quoted)
{
	quoted |= needs_quotes(value);
	if (quoted)
		buffer_append_str(out, STR("\""));
	for (size_t i = 0; i < value.len; i++) {
		unsigned char byte = (unsigned char)value.at[i];
		if (byte == '"' || byte == '\\')
			buffer_printf(out, "\\%c", byte);
		else if (byte < 0x20 || byte >= 0x7f)
			buffer_printf(out, "%%%02X", byte);
		else
			buffer_append(out, &byte, 1);
	}
	if (quoted)
		buffer_append_str(out, STR("\""));
}

// The subject with whatever means something to a reader of the header or of the name as \XX (RFC
// 4514, 2.4): not even one that knows nothing of quotes finds an element of the caller's making.
static struct str plain_subject(struct str subject, struct arena *arena)
{
	struct buffer out = {0};
	bool in_value = false;
	for (size_t i = 0; i < subject.len; i++) {
		char byte = subject.at[i];
		bool escaped = byte == '\\' && i + 1 < subject.len;
		if (escaped)
			byte = subject.at[++i];
		bool hex = escaped ? !isalnum((unsigned char)byte)
		                   : strchr("\";\\", byte) || (byte == '=' && in_value);
		if (!escaped && (byte == '=' || byte == ',' || byte == '+'))
			in_value = byte == '=';
		if (hex)
			buffer_printf(&out, "\\%02X", (unsigned char)byte);
		else
			buffer_printf(&out, "%s%c", escaped ? "\\" : "", byte);
	}
	struct str text = arena_str(arena, buffer_str(&out));
	buffer_fini(&out);
	return text;
}

struct str client_certificate_header(
        const struct tls_peer *peer, struct str by, struct arena *arena)
{
	struct buffer out = {0};
	if (by.len) {
		buffer_append_str(&out, STR("By="));
		append_value(&out, by, false);
		buffer_append_str(&out, STR(";"));
	}
	buffer_append_str(&out, STR("Hash="));
	buffer_append_str(&out, peer->leaf.sha256);
	buffer_append_str(&out, STR(";Subject="));
	append_value(&out, plain_subject(peer->leaf.subject, arena), true);
	buffer_append_str(&out, STR(";URI="));
	append_value(&out, peer->uri, false);
	struct str header = arena_str(arena, buffer_str(&out));
	buffer_fini(&out);
	return header;
}
