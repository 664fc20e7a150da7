// Audit records: whatever stands in them, one line of JSON without control bytes, far below the
// longest that `audit verify` reads, whose chain verifies.
//   fields in the order of struct audit_record, a line end between two
#include <jansson.h>
#include <string.h>

#include "gateway/audit_chain.h"
#include "gateway/audit_line.h"
#include "tests/fuzz/fuzz.h"

struct fuzzed {
	struct audit_record record;
	struct tls_certificate_facts facts;
	struct str names[8];
};

static void fill(struct fuzzed *fuzzed, struct dice *dice_all)
{
	struct audit_record *record = &fuzzed->record;
	struct dice choices = {dice_line(dice_all)};
	struct str *texts[] = {&record->detail, &record->principal, &record->rpc_method,
	        &record->policy_name, &record->matched_rule, &record->listener,
	        &record->answer.tls_alert, &record->client.address, &record->tls.version,
	        &record->tls.cipher, &record->tls.sni, &record->request.id,
	        &record->request.trace_id, &record->request.protocol, &record->request.method,
	        &record->request.host, &record->request.path, &fuzzed->facts.subject,
	        &fuzzed->facts.issuer, &fuzzed->facts.serial, &fuzzed->facts.not_before};
	record->event = "rejected";
	record->reason = (enum reason)dice(&choices, REASON_COUNT);
	record->answer.status = (int)dice(&choices, 2) * 403;
	record->answer.grpc_status = (int)dice(&choices, 17) - 1;
	record->answer.retry_after_ms = (int64_t)dice(&choices, 3) - 1;
	fuzzed->facts.uri_sans = fuzzed->names;
	fuzzed->facts.uri_san_count = dice(&choices, 5);
	fuzzed->facts.dns_sans = fuzzed->names + 4;
	fuzzed->facts.dns_san_count = dice(&choices, 5);
	if (dice(&choices, 2))
		record->client.certificate = &fuzzed->facts;
	for (size_t i = 0; i < ARRAY_LEN(fuzzed->names); i++)
		fuzzed->names[i] = dice_line(dice_all);
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		*texts[i] = dice_line(dice_all);
}

static void check_line(struct str line, enum reason reason, struct audit_link *link)
{
	CHECK(line.len && line.at[line.len - 1] == '\n' && line.len < AUDIT_LINE_BYTES / 2);
	line.len--;
	CHECK(!has_control_bytes(line));
	CHECK(audit_link_read(line, link) == AUDIT_LINK_OURS);
	json_t *object = json_loadb(
	        line.at, line.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
	CHECK(json_is_object(object));
	// A note says neither that somebody was refused nor why.
	const json_t *authorized = json_object_get(object, "authorized");
	CHECK((json_object_get(object, "reason") == NULL) == !reason);
	CHECK(reason ? json_is_false(authorized) : !authorized);
	const char *event = json_string_value(json_object_get(object, "event"));
	CHECK(event && strcmp(event, "rejected") == 0);
	json_decref(object);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str input = own_copy(str_of((const char *)data, size));
	struct dice dice_all = {input};
	struct fuzzed fuzzed = {0};
	struct buffer body = {0}, reason = {0}, key = {0}, lines = {0};
	struct audit_chain chain;
	struct audit_link link;
	fill(&fuzzed, &dice_all);
	audit_line_body(&body, &fuzzed.record);
	audit_line_reason_body(&reason, &fuzzed.record);
	audit_line_key(&key, &fuzzed.record);
	audit_chain_init(&chain);
	audit_chain_append(&chain, &lines, 0, buffer_str(&body), STR(",\"count\":2"));
	size_t first = buffer_len(&lines);
	check_line(buffer_str(&lines), fuzzed.record.reason, &link);
	CHECK(link.seq == 1 && strspn(link.previous, "0") == DIGEST_HEX_SIZE - 1);
	struct audit_chain after_first = chain;
	audit_chain_append(&chain, &lines, 1, buffer_str(&reason), STR(""));
	check_line(str_skip(buffer_str(&lines), first), fuzzed.record.reason, &link);
	CHECK(link.seq == 2 && strcmp(link.previous, after_first.hash) == 0);
	buffer_fini(&body);
	buffer_fini(&reason);
	buffer_fini(&key);
	buffer_fini(&lines);
	own_free(input);
	return 0;
}
