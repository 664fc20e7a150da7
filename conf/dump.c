#include "conf/config.h"
#include "conf/schema.h"
#include "conf/value.h"

static void dump_object(const struct schema_object *object, const void *base, int depth,
        bool in_list, struct buffer *out);

static void indent(int depth, struct buffer *out)
{
	buffer_printf(out, "%*s", depth * 2, "");
}

static void dump_texts(
        const struct schema_key *key, const struct config_texts *texts, struct buffer *out)
{
	buffer_append_str(out, STR(" ["));
	for (size_t i = 0; i < texts->count; i++) {
		buffer_append_str(out, i ? STR(", ") : STR(""));
		key->type->write(key, &texts->items[i], out);
	}
	buffer_append_str(out, STR("]\n"));
}

static void dump_objects(const struct schema_key *key, const char *items, size_t count, int depth,
        struct buffer *out)
{
	buffer_append_str(out, STR("\n"));
	for (size_t i = 0; i < count; i++)
		dump_object(key->object, items + i * key->object->size, depth + 2, true, out);
}

static void dump_key(const struct schema_key *key, const char *base, int depth, struct buffer *out)
{
	const char *field = base + key->at;
	buffer_printf(out, "%s:", key->name);
	switch (key->shape) {
	case SHAPE_SCALAR:
		buffer_append_str(out, STR(" "));
		if (key->secret)
			value_write_text(STR("<redacted>"), out);
		else
			key->type->write(key, field, out);
		buffer_append_str(out, STR("\n"));
		return;
	case SHAPE_TEXTS:
		dump_texts(key, (const struct config_texts *)field, out);
		return;
	case SHAPE_OBJECT:
		buffer_append_str(out, STR("\n"));
		dump_object(key->object, field, depth + 1, false, out);
		return;
	case SHAPE_OBJECTS:
		dump_objects(key, *(const char *const *)field,
		        *(const size_t *)(base + key->count_at), depth, out);
		return;
	}
}

// In a list the first key stands behind the dash, the others below it.
static void dump_object(const struct schema_object *object, const void *base, int depth,
        bool in_list, struct buffer *out)
{
	for (size_t i = 0; i < object->key_count; i++) {
		if (!schema_key_shown(&object->keys[i], base))
			continue;
		indent(in_list ? depth - 1 : depth, out);
		buffer_append_str(out, in_list ? STR("- ") : STR(""));
		dump_key(&object->keys[i], base, depth, out);
		in_list = false;
	}
}

void config_dump(const struct config *config, struct buffer *out)
{
	dump_object(&schema_config, config, 0, false, out);
}
