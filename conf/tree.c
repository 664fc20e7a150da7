#include "conf/tree.h"

#include <yaml.h>

#include "conf/utf8.h"

struct builder {
	yaml_parser_t parser;
	yaml_event_t event;  // the one being looked at
	struct str text;
	size_t skipped;    // in front of it: a byte order mark
	struct str left;   // of the text, behind
	size_t character;  // this many of it
	struct arena *arena;
	struct config_problems *problems;
	int depth;
};

static struct config_mark mark_of(yaml_mark_t mark)
{
	return (struct config_mark){(int)mark.line + 1, (int)mark.column + 1};
}

// libyaml speaks of tokens; this is what the writer of the file most likely did.
static const struct hint {
	const char *context, *problem, *advice;
} hints[] = {
        {"while scanning an alias", NULL, "a value that begins with * must stand in quotes"},
        {"while scanning an anchor", NULL, "a value that begins with & must stand in quotes"},
        {NULL, "found character that cannot start any token",
                "indent with spaces, not tabs, and quote a value that begins with @ ` or %"},
        {NULL, "mapping values are not allowed in this context",
                "quote a value that holds ': ', and indent the keys of one mapping alike"},
        {NULL, "did not find expected key", "indent the keys of one mapping alike"},
        {NULL, "could not find expected ':'", "a key is followed by ': '"},
        {"while parsing a flow sequence", NULL, "a list opened with [ is closed with ]"},
        {"while parsing a flow mapping", NULL, "a mapping opened with { is closed with }"},
        {"while parsing a block collection", NULL, "indent the elements of one list alike"},
        {"while scanning a quoted scalar", NULL, "a quoted text ends with the same quote"},
};

static bool matches(const char *wanted, const char *found)
{
	return !wanted || (found && strcmp(wanted, found) == 0);
}

static void syntax_problem(struct builder *builder)
{
	const yaml_parser_t *parser = &builder->parser;
	CHECK(parser->error != YAML_MEMORY_ERROR);
	const char *advice = "expected well-formed YAML";
	for (size_t i = ARRAY_LEN(hints); i-- > 0;)
		if (matches(hints[i].context, parser->context) &&
		        matches(hints[i].problem, parser->problem))
			advice = hints[i].advice;
	config_problem_add(builder->problems, mark_of(parser->problem_mark), STR(""),
	        "is not YAML here: %s; %s", parser->problem ? parser->problem : "junk", advice);
}

// A scalar may be a password, and the library frees it as it is.
static void forget_event(struct builder *builder)
{
	if (builder->event.type == YAML_SCALAR_EVENT)
		explicit_bzero(builder->event.data.scalar.value, builder->event.data.scalar.length);
	yaml_event_delete(&builder->event);
}

static void forget_parser(yaml_parser_t *parser)
{
	explicit_bzero(parser->raw_buffer.start,
	        (size_t)(parser->raw_buffer.end - parser->raw_buffer.start));
	explicit_bzero(parser->buffer.start, (size_t)(parser->buffer.end - parser->buffer.start));
	yaml_parser_delete(parser);
}

static bool advance(struct builder *builder)
{
	forget_event(builder);
	if (yaml_parser_parse(&builder->parser, &builder->event))
		return true;
	syntax_problem(builder);
	return false;
}

// libyaml counts characters. It names places in their order, or this would start over.
static size_t byte_at(struct builder *builder, yaml_mark_t mark)
{
	if (mark.index < builder->character) {
		builder->left = builder->text;
		builder->character = 0;
	}
	for (; builder->character < mark.index && builder->left.len; builder->character++)
		CHECK(utf8_take(&builder->left) >= 0);
	return builder->skipped + builder->text.len - builder->left.len;
}

static struct tree *node_new(struct builder *builder, enum tree_kind kind)
{
	struct tree *node = arena_zalloc(builder->arena, sizeof(*node));
	node->kind = kind;
	node->mark = mark_of(builder->event.start_mark);
	node->at = byte_at(builder, builder->event.start_mark);
	node->end = byte_at(builder, builder->event.end_mark);
	return node;
}

static struct tree *text_node(struct builder *builder)
{
	struct tree *node = node_new(builder, TREE_TEXT);
	const yaml_event_t *event = &builder->event;
	node->text = arena_str(builder->arena,
	        str_of((const char *)event->data.scalar.value, event->data.scalar.length));
	node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	node->anchor = event->data.scalar.anchor != NULL;
	node->tag = event->data.scalar.tag != NULL;
	return node;
}

static struct tree *build(struct builder *builder);

static void append(struct tree *parent, struct tree *node)
{
	if (parent->last)
		parent->last->next = node;
	else
		parent->first = node;
	parent->last = node;
	parent->count++;
}

// The value under the key that stands in the builder; NULL when the file breaks off.
static struct tree *build_member(struct builder *builder)
{
	struct tree *key = build(builder);
	if (!key || !advance(builder))
		return NULL;
	struct tree *value = build(builder);
	if (!value)
		return NULL;
	value->key_mark = key->mark;
	value->key_at = key->at;
	if (key->kind == TREE_TEXT && !key->anchor && !key->tag)
		value->key = key->text;
	return value;
}

// libyaml has what is without brackets end where the next thing begins.
static void end_children(struct builder *builder, struct tree *parent)
{
	struct str rest = str_skip(builder->text, parent->at - builder->skipped);
	if (rest.len && (rest.at[0] == '[' || rest.at[0] == '{'))
		parent->end = byte_at(builder, builder->event.end_mark);
	else
		parent->end = parent->last ? parent->last->end : parent->at;
}

static struct tree *build_children(struct builder *builder, struct tree *parent,
        yaml_event_type_t end, struct tree *(*build_child)(struct builder *))
{
	if (++builder->depth > TREE_DEPTH_MAX) {
		config_problem_add(builder->problems, parent->mark, STR(""),
		        "is nested too deeply, expected at most %d levels", TREE_DEPTH_MAX);
		return NULL;
	}
	while (advance(builder)) {
		if (builder->event.type == end) {
			builder->depth--;
			end_children(builder, parent);
			return parent;
		}
		struct tree *child = build_child(builder);
		if (!child)
			return NULL;
		append(parent, child);
	}
	return NULL;
}

static struct tree *build_list(struct builder *builder)
{
	struct tree *node = node_new(builder, TREE_LIST);
	node->anchor = builder->event.data.sequence_start.anchor != NULL;
	node->tag = builder->event.data.sequence_start.tag != NULL;
	return build_children(builder, node, YAML_SEQUENCE_END_EVENT, build);
}

static struct tree *build_map(struct builder *builder)
{
	struct tree *node = node_new(builder, TREE_MAP);
	node->anchor = builder->event.data.mapping_start.anchor != NULL;
	node->tag = builder->event.data.mapping_start.tag != NULL;
	return build_children(builder, node, YAML_MAPPING_END_EVENT, build_member);
}

// The node whose first event stands in the builder; its last one stands there afterwards.
static struct tree *build(struct builder *builder)
{
	if (builder->event.type == YAML_SEQUENCE_START_EVENT)
		return build_list(builder);
	if (builder->event.type == YAML_MAPPING_START_EVENT)
		return build_map(builder);
	if (builder->event.type == YAML_ALIAS_EVENT)
		return node_new(builder, TREE_ALIAS);
	CHECK(builder->event.type == YAML_SCALAR_EVENT);
	return text_node(builder);
}

static struct tree *build_document(struct builder *builder)
{
	if (!advance(builder) || !advance(builder))  // the stream's start, the document's
		return NULL;
	if (builder->event.type == YAML_STREAM_END_EVENT) {
		config_problem_add(builder->problems, (struct config_mark){1, 1}, STR(""),
		        "is empty, expected a config that begins with version: tollgate/v1");
		return NULL;
	}
	if (!advance(builder))
		return NULL;
	struct tree *root = build(builder);
	if (!root || !advance(builder) || !advance(builder))
		return NULL;
	if (builder->event.type == YAML_STREAM_END_EVENT)
		return root;
	config_problem_add(builder->problems, mark_of(builder->event.start_mark), STR(""),
	        "begins a second YAML document, expected one document a file");
	return NULL;
}

static bool check_bytes(struct str text, struct config_problems *problems)
{
	struct utf8_fault fault;
	if (text.len > TREE_BYTES_MAX)
		config_problem_add(problems, (struct config_mark){1, 1}, STR(""),
		        "is larger than 4MiB, expected a config file");
	else if (utf8_printable(text, &fault))
		return true;
	else if (fault.malformed)
		config_problem_add(problems, fault.mark, STR(""),
		        "holds the byte 0x%02x, which is not UTF-8 here; expected UTF-8 text",
		        fault.character);
	else
		config_problem_add(problems, fault.mark, STR(""),
		        "holds the control character U+%04X, expected text without any",
		        fault.character);
	return false;
}

struct tree *tree_parse(struct str text, struct arena *arena, struct config_problems *problems)
{
	static const struct str byte_order_mark = {"\xEF\xBB\xBF", 3};
	size_t skipped = str_starts(text, byte_order_mark) ? byte_order_mark.len : 0;
	text = str_skip(text, skipped);
	if (!check_bytes(text, problems))
		return NULL;
	struct builder builder = {.arena = arena,
	        .problems = problems,
	        .text = text,
	        .skipped = skipped,
	        .left = text};
	CHECK(yaml_parser_initialize(&builder.parser));
	yaml_parser_set_encoding(&builder.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(
	        &builder.parser, (const unsigned char *)(text.len ? text.at : ""), text.len);
	struct tree *root = build_document(&builder);
	forget_event(&builder);
	forget_parser(&builder.parser);
	return root;
}

bool tree_absent(const struct tree *node)
{
	static const char *const words[] = {"", "~", "null", "Null", "NULL"};
	if (node->kind != TREE_TEXT || !node->plain)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (str_eq(node->text, str_from(words[i])))
			return true;
	return false;
}

const struct tree *tree_get(const struct tree *map, const char *key)
{
	for (const struct tree *node = map->first; node; node = node->next)
		if (str_eq(node->key, str_from(key)))
			return node;
	return NULL;
}
