#include "gateway/quota_fields.h"

#include "base/clock.h"

static uint64_t seconds(int64_t duration_ns)
{
	return ((uint64_t)duration_ns + NS_PER_S - 1) / NS_PER_S;
}

static enum config_quota_fields wanted(const struct exchange *exchange)
{
	return downstream_config(exchange->downstream)->rate_limit_headers;
}

// `"limit-0";q=10;w=2`
static struct str policies(const struct policy_decision *decision, struct arena *arena)
{
	struct buffer text = {0};
	for (size_t i = 0; i < decision->quota_count; i++)
		buffer_printf(&text, "%s\"limit-%zu\";q=%llu;w=%llu", i ? ", " : "",
		        decision->quotas[i].limit_index,
		        (unsigned long long)decision->quotas[i].burst,
		        (unsigned long long)seconds(decision->quotas[i].refill_ns));
	struct str written = arena_str(arena, buffer_str(&text));
	buffer_fini(&text);
	return written;
}

// `"limit-0";r=9;t=1`
static struct str quotas(const struct policy_decision *decision, struct arena *arena)
{
	struct buffer text = {0};
	for (size_t i = 0; i < decision->quota_count; i++) {
		const struct policy_quota *quota = &decision->quotas[i];
		buffer_printf(&text, "%s\"limit-%zu\";r=%llu", i ? ", " : "", quota->limit_index,
		        (unsigned long long)quota->left.tokens);
		if (quota->left.more_in_ns >= 0)
			buffer_printf(&text, ";t=%llu",
			        (unsigned long long)seconds(quota->left.more_in_ns));
	}
	struct str written = arena_str(arena, buffer_str(&text));
	buffer_fini(&text);
	return written;
}

static const struct policy_quota *tightest(const struct policy_decision *decision)
{
	const struct policy_quota *found = &decision->quotas[0];
	for (size_t i = 1; i < decision->quota_count; i++)
		if (decision->quotas[i].left.tokens < found->left.tokens)
			found = &decision->quotas[i];
	return found;
}

static void add_legacy(
        const struct policy_decision *decision, struct arena *arena, struct fields *fields)
{
	const struct policy_quota *quota = tightest(decision);
	fields_add(fields, arena, STR("x-ratelimit-limit"), arena_digits(arena, quota->burst));
	fields_add(fields, arena, STR("x-ratelimit-remaining"),
	        arena_digits(arena, quota->left.tokens));
	if (quota->left.full_in_ns >= 0)
		fields_add(fields, arena, STR("x-ratelimit-reset"),
		        arena_digits(arena, seconds(quota->left.full_in_ns)));
}

void quota_fields_add(struct exchange *exchange, struct fields *fields)
{
	const struct policy_decision *decision = &exchange->decision;
	struct arena *arena = &exchange->arena;
	if (!decision->quota_count)
		return;
	if (wanted(exchange) != QUOTA_LEGACY) {
		fields_add(fields, arena, STR("ratelimit-policy"), policies(decision, arena));
		fields_add(fields, arena, STR("ratelimit"), quotas(decision, arena));
	}
	if (wanted(exchange) != QUOTA_STANDARD)
		add_legacy(decision, arena, fields);
}

bool quota_field_is_ours(const struct exchange *exchange, struct str name)
{
	static const struct str standard[] = {{"ratelimit", 9}, {"ratelimit-policy", 16}};
	static const struct str legacy[] = {{"x-ratelimit-limit", 17},
	        {"x-ratelimit-remaining", 21}, {"x-ratelimit-reset", 17}};
	enum config_quota_fields fields = wanted(exchange);
	for (size_t i = 0; fields != QUOTA_LEGACY && i < ARRAY_LEN(standard); i++)
		if (str_eq(name, standard[i]))
			return true;
	for (size_t i = 0; fields != QUOTA_STANDARD && i < ARRAY_LEN(legacy); i++)
		if (str_eq(name, legacy[i]))
			return true;
	return false;
}
