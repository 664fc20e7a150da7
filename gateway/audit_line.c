#include "gateway/audit_line.h"

#include "base/json.h"

void audit_record_caller(
        struct audit_record *record, const char *address, const struct tls_session *tls)
{
	record->client.address = str_from(address);
	if (!tls)
		return;
	const struct tls_peer *peer = tls_session_peer(tls);
	if (peer && peer->presented)
		record->client.certificate = &peer->leaf;
	record->tls.sni = tls_session_sni(tls);
	record->tls.version = tls_session_version(tls);  // empty before it is agreed on
	record->tls.cipher = tls_session_cipher(tls);
	record->tls.resumed = tls_session_resumed(tls);
}

static const struct str ellipsis = {"\xe2\x80\xa6", 3};

// The first `most` bytes, less the part of a UTF-8 sequence that the cut would leave behind.
static struct str cut(struct str text, size_t most)
{
	if (text.len <= most)
		return text;
	size_t len = most;
	for (int back = 0; back < 3 && ((unsigned char)text.at[len] & 0xc0) == 0x80; back++)
		len--;
	return str_of(text.at, len);
}

static void put_text(struct json *json, struct str text)
{
	if (text.len <= AUDIT_TEXT_BYTES) {
		json_str(json, text);
		return;
	}
	char told[AUDIT_TEXT_BYTES + 3];
	struct str kept = cut(text, AUDIT_TEXT_BYTES);
	memcpy(told, kept.at, kept.len);
	memcpy(told + kept.len, ellipsis.at, ellipsis.len);
	json_str(json, str_of(told, kept.len + ellipsis.len));
}

static void member(struct json *json, struct str key, struct str text)
{
	if (text.len == 0)
		return;
	json_name(json, key);
	put_text(json, text);
}

static void member_positive(struct json *json, struct str key, int64_t value)
{
	if (value <= 0)
		return;
	json_name(json, key);
	json_int(json, value);
}

static void open_member(struct json *json, struct str key, char bracket)
{
	json_name(json, key);
	json_open(json, bracket);
}

static void put_answer(struct json *json, const struct audit_record *record)
{
	bool any = record->answer.status > 0 || record->answer.grpc_status > 0 ||
	           record->answer.retry_after_ms > 0 || record->answer.tls_alert.len;
	if (!any)
		return;
	open_member(json, STR("answer"), '{');
	member_positive(json, STR("status"), record->answer.status);
	member_positive(
	        json, STR("grpc_status"), record->answer.grpc_status);  // a refusal is never 0
	member_positive(json, STR("retry_after_ms"), record->answer.retry_after_ms);
	member(json, STR("tls_alert"), record->answer.tls_alert);
	json_close(json, '}');
}

// Takes what it tells out of *room; the first name that finds none ends the list.
static void put_names(
        struct json *json, struct str key, const struct str *names, size_t count, size_t *room)
{
	open_member(json, key, '[');
	for (size_t i = 0; i < count; i++) {
		size_t cost = names[i].len + sizeof("\"\",");
		if (cost > *room) {
			json_str(json, ellipsis);
			break;
		}
		*room -= cost;
		put_text(json, names[i]);
	}
	json_close(json, ']');
}

static void put_certificate(struct json *json, const struct tls_certificate_facts *certificate)
{
	size_t room = AUDIT_NAMES_BYTES;
	open_member(json, STR("certificate"), '{');
	member(json, STR("subject"), certificate->subject);
	member(json, STR("issuer"), certificate->issuer);
	member(json, STR("serial"), certificate->serial);
	member(json, STR("sha256"), certificate->sha256);
	member(json, STR("not_before"), certificate->not_before);
	member(json, STR("not_after"), certificate->not_after);
	put_names(json, STR("uri_sans"), certificate->uri_sans, certificate->uri_san_count, &room);
	put_names(json, STR("dns_sans"), certificate->dns_sans, certificate->dns_san_count, &room);
	json_close(json, '}');
}

static void put_client(struct json *json, const struct audit_record *record)
{
	if (record->client.address.len == 0 && !record->client.certificate)
		return;
	open_member(json, STR("client"), '{');
	member(json, STR("address"), record->client.address);
	member(json, STR("proxy"), record->client.proxy);
	if (record->client.certificate)
		put_certificate(json, record->client.certificate);
	json_close(json, '}');
}

static void put_tls(struct json *json, const struct audit_record *record)
{
	if (record->tls.version.len == 0)
		return;
	open_member(json, STR("tls"), '{');
	member(json, STR("version"), record->tls.version);
	member(json, STR("cipher"), record->tls.cipher);
	member(json, STR("sni"), record->tls.sni);
	json_member_bool(json, "resumed", record->tls.resumed);
	json_close(json, '}');
}

static void put_request(struct json *json, const struct audit_record *record)
{
	if (record->request.protocol.len == 0)
		return;
	open_member(json, STR("request"), '{');
	member(json, STR("id"), record->request.id);
	member(json, STR("trace_id"), record->request.trace_id);
	member(json, STR("protocol"), record->request.protocol);
	member(json, STR("method"), record->request.method);
	member(json, STR("host"), record->request.host);
	member(json, STR("path"), record->request.path);
	json_close(json, '}');
}

static void put_verdict(struct json *json, const struct audit_record *record)
{
	json_member_str(json, "event", str_from(record->event));
	if (record->reason == REASON_NONE)
		return;
	json_member_bool(json, "authorized", record->authorized);
	json_member_str(json, "reason", str_from(reason_name(record->reason)));
}

void audit_line_body(struct buffer *out, const struct audit_record *record)
{
	struct json json;
	json_init(&json, out);
	put_verdict(&json, record);
	member(&json, STR("detail"), record->detail);
	member(&json, STR("principal"), record->principal);
	member(&json, STR("rpc_method"), record->rpc_method);
	member(&json, STR("policy_name"), record->policy_name);
	member(&json, STR("matched_rule"), record->matched_rule);
	member(&json, STR("listener"), record->listener);
	put_answer(&json, record);
	put_client(&json, record);
	put_tls(&json, record);
	put_request(&json, record);
}

void audit_line_reason_body(struct buffer *out, const struct audit_record *record)
{
	struct json json;
	json_init(&json, out);
	put_verdict(&json, record);
}

static struct str without_port(struct str address)
{
	const char *colon = address.len ? memrchr(address.at, ':', address.len) : NULL;
	if (!colon)
		return address;
	size_t host_len = (size_t)(colon - address.at);
	uint64_t port;
	return str_to_u64(str_skip(address, host_len + 1), UINT16_MAX, &port)
	               ? str_of(address.at, host_len)
	               : address;
}

void audit_line_key(struct buffer *out, const struct audit_record *record)
{
	const struct str parts[] = {str_from(record->event), record->principal, record->listener,
	        record->policy_name, record->matched_rule, without_port(record->client.address)};
	buffer_append(out, &record->reason, sizeof(record->reason));
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		buffer_append(out, &parts[i].len, sizeof(parts[i].len));
		buffer_append_str(out, parts[i]);
	}
}
