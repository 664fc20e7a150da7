#include "gateway/client_certificate.h"

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
	append_value(&out, peer->leaf.subject, true);
	buffer_append_str(&out, STR(";URI="));
	append_value(&out, peer->uri, false);
	struct str header = arena_str(arena, buffer_str(&out));
	buffer_fini(&out);
	return header;
}
