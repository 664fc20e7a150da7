#include "gateway/access.h"

#include "base/clock.h"
#include "base/json.h"

static void write_TEXT_ALWAYS(struct json *json, const char *name, struct str value)
{
	json_member_str(json, name, value);
}

static void write_TEXT(struct json *json, const char *name, struct str value)
{
	json_member_str_if(json, name, value);
}

static void write_INT(struct json *json, const char *name, int64_t value)
{
	if (value >= 0)
		json_member_int(json, name, value);
}

static void write_YES(struct json *json, const char *name, int value)
{
	if (value >= 0)
		json_member_bool(json, name, value);
}

static void write_MS(struct json *json, const char *name, int64_t ns)
{
	if (ns < 0)
		return;
	json_member_int(json, name, ns / NS_PER_MS);
	unsigned us = (unsigned)(ns % NS_PER_MS / NS_PER_US);
	buffer_append(json->out,
	        (char[]){'.', (char)('0' + us / 100), (char)('0' + us / 10 % 10),
	                (char)('0' + us % 10)},
	        4);
}

void access_write(const struct exchange *exchange, const struct outcome *outcome)
{
	const struct downstream *downstream = exchange->downstream;
	const struct head *head = &exchange->client->head;
	char when[CLOCK_TEXT_SIZE];
	struct buffer line = {0};
	struct json json;
	clock_text(clock_wall_ns() - outcome->total_ns, when);
	json_init(&json, &line);
	json_open(&json, '{');
#define ACCESS(name, kind, value, meaning) write_##kind(&json, #name, value);
#include "base/access.def"
#undef ACCESS
	json_close(&json, '}');
	audit_submit_access(downstream->worker->lane, buffer_str(&line));
	buffer_fini(&line);
}
