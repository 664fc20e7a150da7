#include "conf/config.h"
#include "conf/schema.h"
#include "conf/value.h"

struct dump {
	struct buffer text;
	bool secrets;  // written as they are
};

static void dump_object(const struct schema_object *object, const void *base, int depth,
        bool in_list, struct dump *dump);

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

static void dump_objects(
        const struct schema_key *key, const char *items, size_t count, int depth, struct dump *dump)
{
	buffer_append_str(&dump->text, STR("\n"));
	for (size_t i = 0; i < count; i++)
		dump_object(key->object, items + i * key->object->size, depth + 2, true, dump);
}

static void dump_scalar(const struct schema_key *key, const void *field, struct dump *dump)
{
	buffer_append_str(&dump->text, STR(" "));
	if (key->secret && !dump->secrets)
		value_write_text(STR("<redacted>"), &dump->text);
	else
		key->type->write(key, field, &dump->text);
	buffer_append_str(&dump->text, STR("\n"));
}

static void dump_key(const struct schema_key *key, const char *base, int depth, struct dump *dump)
{
	const char *field = base + key->at;
	buffer_printf(&dump->text, "%s:", key->name);
	switch (key->shape) {
	case SHAPE_SCALAR:
		dump_scalar(key, field, dump);
		return;
	case SHAPE_TEXTS:
		dump_texts(key, (const struct config_texts *)field, &dump->text);
		return;
	case SHAPE_OBJECT:
		buffer_append_str(&dump->text, STR("\n"));
		dump_object(key->object, field, depth + 1, false, dump);
		return;
	case SHAPE_OBJECTS:
		dump_objects(key, *(const char *const *)field,
		        *(const size_t *)(base + key->count_at), depth, dump);
		return;
	}
}

// In a list the first key stands behind the dash, the others below it.
static void dump_object(const struct schema_object *object, const void *base, int depth,
        bool in_list, struct dump *dump)
{
	for (size_t i = 0; i < object->key_count; i++) {
		if (!schema_key_shown(&object->keys[i], base))
			continue;
		buffer_printf(&dump->text, "%*s%s", (in_list ? depth - 1 : depth) * 2, "",
		        in_list ? "- " : "");
		dump_key(&object->keys[i], base, depth, dump);
		in_list = false;
	}
}

void config_dump(const struct config *config, struct buffer *out)
{
	struct dump dump = {.text = *out};
	dump_object(&schema_config, config, 0, false, &dump);
	*out = dump.text;
}

bool config_same(const struct config *a, const struct config *b)
{
	struct dump dumps[2] = {{.secrets = true}, {.secrets = true}};
	dump_object(&schema_config, a, 0, false, &dumps[0]);
	dump_object(&schema_config, b, 0, false, &dumps[1]);
	bool same = str_eq(buffer_str(&dumps[0].text), buffer_str(&dumps[1].text));
	config_forget(&dumps[0].text);
	config_forget(&dumps[1].text);
	return same;
}
