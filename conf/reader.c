#include "conf/reader.h"

#include <stdarg.h>
#include <stdio.h>

#include "conf/nearest.h"
#include "conf/value.h"

void reader_enter(struct reader *reader, const char *key)
{
	CHECK(reader->step_count < READER_STEPS_MAX);
	reader->steps[reader->step_count++].key = str_from(key);
}

void reader_enter_item(struct reader *reader, size_t index)
{
	reader_enter(reader, NULL);
	reader->steps[reader->step_count - 1].index = index;
}

void reader_leave(struct reader *reader)
{
	CHECK(reader->step_count > 0);
	reader->step_count--;
}

static bool texts_alike(const struct config_texts *a, const struct config_texts *b)
{
	for (size_t i = 0; a->count == b->count && i < a->count; i++)
		if (!str_eq(a->items[i].text, b->items[i].text))
			return false;
	return a->count == b->count;
}

const struct config *reader_present(const struct reader *reader)
{
	const struct config *present = reader->present;
	return present && texts_alike(&present->dns.servers, &reader->config->dns.servers) ? present
	                                                                                   : NULL;
}

const struct config_dns *reader_dns(const struct reader *reader)
{
	return reader->offline || reader->silence ? NULL : &reader->config->dns;
}

static void write_path(const struct reader *reader, struct buffer *out)
{
	for (size_t i = 0; i < reader->step_count; i++)
		if (reader->steps[i].key.at)
			buffer_printf(out, "%s%.*s", i ? "." : "", STR_FMT(reader->steps[i].key));
		else
			buffer_printf(out, "[%zu]", reader->steps[i].index);
}

static void add(struct reader *reader, struct config_mark mark, struct str below,
        const char *format, va_list arguments)
{
	struct buffer path = {0};
	write_path(reader, &path);
	if (below.len)
		buffer_printf(&path, "%s%.*s", reader->step_count ? "." : "", STR_FMT(below));
	char what[2048];
	vsnprintf(what, sizeof(what), format, arguments);
	config_problem_add(reader->problems, mark, buffer_str(&path), "%s", what);
	buffer_fini(&path);
}

void reader_problem(struct reader *reader, struct config_mark mark, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	add(reader, mark, STR(""), format, arguments);
	va_end(arguments);
}

void reader_problem_at(
        struct reader *reader, const struct tree *map, const char *key, const char *format, ...)
{
	const struct tree *node = tree_get(map, key);
	va_list arguments;
	va_start(arguments, format);
	add(reader, node ? node->mark : map->mark, str_from(key), format, arguments);
	va_end(arguments);
}

static struct value_quote describe(const struct tree *node)
{
	switch (node->kind) {
	case TREE_TEXT:
		return tree_absent(node) ? (struct value_quote){"nothing"}
		                         : value_quote(node->text);
	case TREE_LIST:
		return (struct value_quote){"a list"};
	case TREE_MAP:
		return (struct value_quote){"a mapping"};
	case TREE_ALIAS:
		return (struct value_quote){"an alias"};
	}
	CHECK(!"a kind of node");
	return (struct value_quote){""};
}

bool reader_refuse(struct reader *reader, const struct schema_key *key, const struct tree *node)
{
	struct buffer expected = {0};
	bool element = !reader->steps[reader->step_count - 1].key.at;
	schema_write_expected(key, element, &expected);
	reader_problem(reader, node->mark, "found %s, expected %.*s", describe(node).text,
	        STR_FMT(buffer_str(&expected)));
	buffer_fini(&expected);
	return false;
}

// Anchors, aliases and tags are refused: a config that is read top to bottom needs none, and a few
// lines of aliases can unfold into gigabytes. False when there is no value to go on with.
static bool check_node(struct reader *reader, const struct tree *node)
{
	if (node->kind == TREE_ALIAS)
		reader_problem(reader, node->mark,
		        "is a YAML alias; expected the value itself, aliases are not supported");
	if (node->anchor)
		reader_problem(reader, node->mark,
		        "carries a YAML anchor; expected the value alone, anchors are not "
		        "supported");
	if (node->tag)
		reader_problem(reader, node->mark,
		        "carries a YAML tag; expected the value alone, tags are not supported");
	return node->kind != TREE_ALIAS;
}

static const struct schema_key *find_key(const struct schema_object *object, struct str name)
{
	for (size_t i = 0; i < object->key_count; i++)
		if (str_eq(name, str_from(object->keys[i].name)))
			return &object->keys[i];
	return NULL;
}

// What stands there is read on as the key that was meant, where that one is absent: its own
// mistakes are told in the same run, and nobody calls it missing.
static void take_as_meant(const struct tree *map, struct tree *node, struct str meant)
{
	if (meant.at && !tree_get(map, meant.at))
		node->key = meant;
}

static void unknown_key(struct reader *reader, const struct schema_object *object,
        const struct tree *map, struct tree *node)
{
	struct nearest nearest = {.word = node->key};
	for (size_t i = 0; i < object->key_count; i++)
		(void)nearest_offer(&nearest, str_from(object->keys[i].name));
	struct value_quote name = value_quote(node->key);
	name.text[strlen(name.text) - 1] = '\0';  // a key path has no quotes
	reader_enter(reader, name.text + 1);
	if (nearest.best.at) {
		reader_problem(reader, node->key_mark, "is no key here; did you mean %.*s?",
		        STR_FMT(nearest.best));
	} else {
		struct buffer keys = {0};
		schema_write_keys(object, " or ", &keys);
		reader_problem(reader, node->key_mark, "is no key here; expected %.*s",
		        STR_FMT(buffer_str(&keys)));
		buffer_fini(&keys);
	}
	reader_leave(reader);
	take_as_meant(map, node, nearest.best);
}

static void check_keys(
        struct reader *reader, const struct schema_object *object, const struct tree *map)
{
	const struct tree *seen[SCHEMA_KEYS_MAX] = {NULL};
	CHECK(object->key_count <= SCHEMA_KEYS_MAX);
	for (struct tree *node = map->first; node; node = node->next) {
		if (!node->key.at) {
			reader_problem(reader, node->key_mark,
			        "has a key that is no plain text; expected a key alone, without "
			        "anchor, alias or tag");
			continue;
		}
		const struct schema_key *key = find_key(object, node->key);
		if (!key) {
			unknown_key(reader, object, map, node);
			continue;
		}
		const struct tree **first = &seen[key - object->keys];
		reader_enter(reader, key->name);
		if (*first)
			reader_problem(reader, node->key_mark,
			        "stands twice, first in line %d; expected it once",
			        (*first)->key_mark.line);
		else
			*first = node;
		reader_leave(reader);
	}
}

static bool check_list(struct reader *reader, const struct schema_key *key, const struct tree *node)
{
	if (node->kind != TREE_LIST)
		return reader_refuse(reader, key, node);
	if (node->count < key->min)
		reader_problem(reader, node->mark,
		        "is an empty list; expected at least one element%s",
		        key->presence == PRESENCE_REQUIRED ? "" : ", or the key left out");
	else if (node->count > key->max)
		reader_problem(reader, node->mark, "has %zu elements, expected at most %zu",
		        node->count, (size_t)key->max);
	else
		return true;
	return false;
}

static void check_unique(
        struct reader *reader, const struct config_texts *texts, struct config_text text)
{
	for (size_t i = 0; i < texts->count; i++)
		if (str_eq(texts->items[i].text, text.text)) {
			reader_problem(reader, text.mark,
			        "stands twice in the list, first in line %d; expected it once",
			        texts->items[i].mark.line);
			return;
		}
}

static void read_texts(struct reader *reader, const struct schema_key *key, const struct tree *node,
        struct config_texts *texts)
{
	texts->items = arena_zalloc(&reader->config->arena, node->count * sizeof(*texts->items));
	size_t index = 0;
	for (const struct tree *item = node->first; item; item = item->next, index++) {
		struct config_text text = {.mark = item->mark};
		reader_enter_item(reader, index);
		if (!check_node(reader, item))
			;
		else if (item->kind != TREE_TEXT || tree_absent(item))
			(void)reader_refuse(reader, key, item);
		else if (key->type->set(reader, key, item, &text)) {
			if (!key->repeats)
				check_unique(reader, texts, text);
			texts->items[texts->count++] = text;
		}
		reader_leave(reader);
	}
}

static void read_object(struct reader *reader, const struct schema_object *object,
        const struct tree *node, void *base);

static void read_objects(
        struct reader *reader, const struct schema_key *key, const struct tree *node, char *base)
{
	char *items = arena_zalloc(&reader->config->arena, node->count * key->object->size);
	*(void **)(base + key->at) = items;
	*(size_t *)(base + key->count_at) = node->count;
	size_t index = 0;
	for (const struct tree *item = node->first; item; item = item->next, index++) {
		reader_enter_item(reader, index);
		if (check_node(reader, item))
			read_object(reader, key->object, item, items + index * key->object->size);
		reader_leave(reader);
	}
}

static void read_fallback(struct reader *reader, const struct schema_key *key, char *base)
{
	if (!key->fallback)
		return;
	const struct tree node = {.kind = TREE_TEXT, .text = str_from(key->fallback)};
	CHECK(key->type->set(reader, key, &node, base + key->at));
}

static void read_scalar(
        struct reader *reader, const struct schema_key *key, const struct tree *node, char *base)
{
	if (node->kind != TREE_TEXT || tree_absent(node))
		(void)reader_refuse(reader, key, node);
	else if (key->type->set(reader, key, node, base + key->at))
		return;
	read_fallback(reader, key, base);
}

static void read_value(
        struct reader *reader, const struct schema_key *key, const struct tree *node, char *base)
{
	if (!check_node(reader, node))
		return;
	switch (key->shape) {
	case SHAPE_SCALAR:
		read_scalar(reader, key, node, base);
		return;
	case SHAPE_OBJECT:
		read_object(reader, key->object, node, base + key->at);
		return;
	case SHAPE_TEXTS:
		if (check_list(reader, key, node))
			read_texts(reader, key, node, (struct config_texts *)(base + key->at));
		return;
	case SHAPE_OBJECTS:
		if (check_list(reader, key, node))
			read_objects(reader, key, node, base);
		return;
	}
}

static void read_missing(
        struct reader *reader, const struct schema_key *key, const struct tree *map, char *base)
{
	switch (key->presence) {
	case PRESENCE_OPTIONAL:
		return;
	case PRESENCE_DEFAULT:
		if (key->shape == SHAPE_OBJECT) {
			const struct tree nothing = {.kind = TREE_MAP, .mark = map->mark};
			read_object(reader, key->object, &nothing, base + key->at);
		} else {
			read_fallback(reader, key, base);
		}
		return;
	case PRESENCE_REQUIRED:;
		struct buffer expected = {0};
		schema_write_expected(key, false, &expected);
		reader_problem(reader, map->mark, "is missing%s%s; expected %.*s",
		        key->missing ? ": " : "", key->missing ? key->missing : "",
		        STR_FMT(buffer_str(&expected)));
		buffer_fini(&expected);
	}
}

static void refuse_object(
        struct reader *reader, const struct schema_object *object, const struct tree *node)
{
	struct buffer expected = {0};
	schema_write_mapping(object, &expected);
	reader_problem(reader, node->mark, "found %s, expected %.*s", describe(node).text,
	        STR_FMT(buffer_str(&expected)));
	buffer_fini(&expected);
}

// All but the one that a scalar has said already.
static void read_keys(struct reader *reader, const struct schema_object *object,
        const struct tree *node, const struct schema_key *said, void *base)
{
	for (const struct schema_key *key = object->keys; key < object->keys + object->key_count;
	        key++) {
		const struct tree *value = tree_get(node, key->name);
		if (key == said)
			continue;
		reader_enter(reader, key->name);
		if (value)
			read_value(reader, key, value, base);
		else
			read_missing(reader, key, node, base);
		reader_leave(reader);
	}
}

static void read_object(struct reader *reader, const struct schema_object *object,
        const struct tree *node, void *base)
{
	const struct schema_key *said = node->kind == TREE_TEXT ? object->shorthand : NULL;
	if (node->kind != TREE_MAP && !said) {
		refuse_object(reader, object, node);
		return;
	}
	if (said)
		read_scalar(reader, said, node, base);
	else
		check_keys(reader, object, node);
	read_keys(reader, object, node, said, base);
	if (object->check)
		object->check(reader, node, base);
}

void reader_root(struct reader *reader, const struct tree *root)
{
	if (check_node(reader, root))
		read_object(reader, &schema_config, root, reader->config);
}
