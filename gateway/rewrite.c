#include "gateway/rewrite.h"

static struct str word_of(struct exchange *exchange, const struct config_value_part *part)
{
	switch (part->placeholder) {
	case PLACEHOLDER_NONE:
		return part->text;
	case PLACEHOLDER_IDENTITY:
		// A copy: a reload may judge the connection anew while the request is under way.
		return arena_str(&exchange->arena, exchange->downstream->identity.id.text);
	case PLACEHOLDER_ROUTE:
		return exchange_route(exchange)->pattern.text;
	case PLACEHOLDER_REQUEST_ID:
		return exchange->request_id;
	}
	CHECK(!"a placeholder");
	return STR("");
}

static struct str value_of(struct exchange *exchange, const struct config_value *value)
{
	if (value->part_count == 1)
		return word_of(exchange, value->parts);
	struct str *words = arena_alloc(&exchange->arena, value->part_count * sizeof(*words));
	for (size_t i = 0; i < value->part_count; i++)
		words[i] = word_of(exchange, &value->parts[i]);
	return arena_join(&exchange->arena, words, value->part_count);
}

// The type of a gRPC answer is the protocol's, whatever route the call came by.
static bool exempt(const struct exchange *exchange, struct str name)
{
	return exchange->grpc && str_same_field(name, STR("content-type"));
}

bool rewrite_takes(
        const struct exchange *exchange, const struct config_field_rules *rules, struct str name)
{
	if (exempt(exchange, name))
		return false;
	for (size_t i = 0; i < rules->set_count; i++)
		if (str_same_field(rules->set[i].name.text, name))
			return true;
	for (size_t i = 0; i < rules->remove.count; i++)
		if (str_same_field(rules->remove.items[i].text, name))
			return true;
	return false;
}

static void put(struct exchange *exchange, const struct config_field *items, size_t count,
        struct fields *fields)
{
	for (size_t i = 0; i < count; i++)
		if (!exempt(exchange, items[i].name.text))
			fields_add(fields, &exchange->arena, items[i].name.text,
			        value_of(exchange, &items[i].value));
}

void rewrite_fields(struct exchange *exchange, const struct config_field_rules *rules, bool interim,
        struct fields *fields)
{
	size_t kept = 0;
	for (size_t i = 0; i < fields->count; i++)
		if (!rewrite_takes(exchange, rules, fields->items[i].name))
			fields->items[kept++] = fields->items[i];
	fields->count = kept;
	if (interim)
		return;
	put(exchange, rules->set, rules->set_count, fields);
	put(exchange, rules->add, rules->add_count, fields);
}

static struct str target_of(struct exchange *exchange, const struct config_target *target)
{
	const struct path *asked = &exchange->path;
	struct str parts[] = {target->path.text, STR(""), asked->query};
	if (!target->path.text.len) {
		struct str prefix = target->prefix.text;
		parts[0] = str_ends(prefix, STR("/")) ? str_of(prefix.at, prefix.len - 1) : prefix;
		parts[1] = asked->path;
		if (prefix.len)
			parts[1] = path_below(asked->path,
			        path_pattern_prefix(exchange_route(exchange)->pattern.text));
	}
	return arena_join(&exchange->arena, parts, ARRAY_LEN(parts));
}

void rewrite_target(struct exchange *exchange, struct head *out)
{
	const struct config_target *target = &exchange_route(exchange)->rewrite;
	struct str asked = exchange->client->head.authority;
	out->target = target_of(exchange, target);
	if (!target->host.text.len)
		return;
	out->authority = target->host.text;
	if (asked.len)
		fields_add(&out->fields, &exchange->arena, STR("x-forwarded-host"), asked);
}

struct str rewrite_location(struct exchange *exchange)
{
	const struct config_target *target = &exchange_route(exchange)->redirect.target;
	struct str host = target->host.text.len ? target->host.text
	                                        : exchange->client->head.authority;
	struct str path = target_of(exchange, target);
	// HTTP/1.0 may name no host: whoever asks like that stays where he is.
	return host.len ? arena_join(
	                          &exchange->arena, (struct str[]){STR("https://"), host, path}, 3)
	                : path;
}
