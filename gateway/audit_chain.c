#include "gateway/audit_chain.h"

#include <jansson.h>

#include "base/clock.h"

void audit_chain_init(struct audit_chain *chain)
{
	chain->seq = 0;
	memset(chain->hash, '0', DIGEST_HEX_SIZE - 1);
	chain->hash[DIGEST_HEX_SIZE - 1] = '\0';
}

void audit_chain_step(struct audit_chain *chain, uint64_t seq, struct str line)
{
	chain->seq = seq;
	digest_hex(line, chain->hash);
}

void audit_chain_append(struct audit_chain *chain, struct buffer *out, int64_t wall_ns,
        struct str body, struct str extra)
{
	char when[CLOCK_TEXT_SIZE];
	clock_text(wall_ns, when);
	size_t before = buffer_len(out);
	buffer_append_str(out, STR("{\"timestamp\":\""));
	buffer_append_str(out, str_from(when));
	buffer_append_str(out, STR("\",\"seq\":"));
	buffer_append_digits(out, chain->seq + 1);
	buffer_append_str(out, STR(","));
	buffer_append_str(out, body);
	buffer_append_str(out, extra);
	buffer_append_str(out, STR(",\"previous\":\""));
	buffer_append(out, chain->hash, DIGEST_HEX_SIZE - 1);
	buffer_append_str(out, STR("\"}"));
	audit_chain_step(chain, chain->seq + 1, str_skip(buffer_str(out), before));
	buffer_append(out, "\n", 1);
}

static bool is_hash(const json_t *value)
{
	const char *text = json_string_value(value);
	return text && json_string_length(value) == DIGEST_HEX_SIZE - 1 &&
	       strspn(text, "0123456789abcdef") == DIGEST_HEX_SIZE - 1;
}

enum audit_link_kind audit_link_read(struct str line, struct audit_link *link)
{
	// Text from the network may hold NUL; two members of one name could say two things.
	json_t *object = json_loadb(
	        line.at ? line.at : "", line.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
	if (!object)
		return AUDIT_LINK_NOT_JSON;
	const json_t *seq = json_object_get(object, "seq");
	const json_t *previous = json_object_get(object, "previous");
	bool ours = json_is_integer(seq) && json_integer_value(seq) > 0 && is_hash(previous);
	if (ours) {
		link->seq = (uint64_t)json_integer_value(seq);
		memcpy(link->previous, json_string_value(previous), DIGEST_HEX_SIZE);
	}
	json_decref(object);
	return ours ? AUDIT_LINK_OURS : AUDIT_LINK_FOREIGN;
}
