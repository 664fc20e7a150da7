#include "conf/schema.h"

static const char *joint(size_t index, bool last, const char *word)
{
	return index == 0 ? "" : last ? word : ", ";
}

static void write_choices(const char *const *choices, struct buffer *out)
{
	for (size_t i = 0; choices[i]; i++)
		buffer_printf(out, "%s%s", joint(i, !choices[i + 1], " or "), choices[i]);
}

void schema_write_keys(const struct schema_object *object, const char *word, struct buffer *out)
{
	for (size_t i = 0; i < object->key_count; i++)
		buffer_printf(out, "%s%s", joint(i, i + 1 == object->key_count, word),
		        object->keys[i].name);
}

void schema_write_type(const struct schema_key *key, struct buffer *out)
{
	switch (key->shape) {
	case SHAPE_SCALAR:
		buffer_append_str(out, str_from(key->type->name));
		return;
	case SHAPE_TEXTS:
		buffer_printf(out, "list: %s", key->type->name);
		return;
	case SHAPE_OBJECT:
		buffer_append_str(out, STR("mapping"));
		return;
	case SHAPE_OBJECTS:
		if (key->object->shorthand)
			buffer_printf(
			        out, "list: %s or mapping", key->object->shorthand->type->name);
		else
			buffer_append_str(out, STR("list of mappings"));
		return;
	}
}

void schema_write_range(const struct schema_key *key, struct buffer *out)
{
	switch (key->shape) {
	case SHAPE_OBJECT:
		return;
	case SHAPE_TEXTS:
	case SHAPE_OBJECTS:
		if (key->max == 1)
			buffer_append_str(out, STR("1 element"));
		else
			buffer_printf(
			        out, "%zu to %zu elements", (size_t)key->min, (size_t)key->max);
		return;
	case SHAPE_SCALAR:
		break;
	}
	if (key->choices)
		write_choices(key->choices, out);
	if (!key->type->write_bound)
		return;
	buffer_append_str(out, STR("from "));
	key->type->write_bound(key->min, out);
	buffer_append_str(out, STR(" to "));
	key->type->write_bound(key->max, out);
}

static void write_scalar(const struct schema_key *key, struct buffer *out)
{
	buffer_append_str(out, str_from(key->type->expected));
	if (key->choices)
		write_choices(key->choices, out);
	if (!key->type->write_bound)
		return;
	buffer_append_str(out, STR(" "));
	schema_write_range(key, out);
}

void schema_write_mapping(const struct schema_object *object, struct buffer *out)
{
	if (object->shorthand) {
		write_scalar(object->shorthand, out);
		buffer_append_str(out, STR(", or "));
	}
	buffer_append_str(out, STR("a mapping with the keys "));
	schema_write_keys(object, " and ", out);
}

void schema_write_expected(const struct schema_key *key, bool element, struct buffer *out)
{
	switch (key->shape) {
	case SHAPE_SCALAR:
		write_scalar(key, out);
		return;
	case SHAPE_TEXTS:
		buffer_printf(
		        out, "%s%s", element ? "" : "a list, each element ", key->type->expected);
		return;
	case SHAPE_OBJECTS:
		if (key->object->shorthand) {
			buffer_append_str(out, STR("a list, each element "));
			schema_write_mapping(key->object, out);
			return;
		}
		buffer_append_str(out, STR("a list of mappings with the keys "));
		schema_write_keys(key->object, " and ", out);
		return;
	case SHAPE_OBJECT:
		schema_write_mapping(key->object, out);
		return;
	}
}

bool schema_key_shown(const struct schema_key *key, const void *base)
{
	const char *field = (const char *)base + key->at;
	if (key->shown && !key->shown(base))
		return false;
	switch (key->shape) {
	case SHAPE_SCALAR:
		return !key->type->given || key->type->given(field);
	case SHAPE_TEXTS:
		return ((const struct config_texts *)field)->count > 0;
	case SHAPE_OBJECTS:
		return *(const size_t *)((const char *)base + key->count_at) > 0;
	case SHAPE_OBJECT:
		break;
	}
	for (size_t i = 0; i < key->object->key_count; i++)
		if (schema_key_shown(&key->object->keys[i], field))
			return true;
	return false;
}
