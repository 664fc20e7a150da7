// json_str: whatever the bytes, one JSON string on one line; valid text comes back as it was.
//   BYTES
#include <jansson.h>

#include "base/json.h"
#include "conf/utf8.h"
#include "tests/fuzz/fuzz.h"

static bool is_utf8(struct str text)
{
	while (text.len)
		if (utf8_take(&text) < 0)
			return false;
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = own_copy(str_of((const char *)data, size));
	struct buffer out = {0};
	struct json json;
	json_init(&json, &out);
	json_open(&json, '{');
	json_member_str(&json, "before", text);
	json_member_str_if(&json, "text", text);
	json_member_int(&json, "size", (int64_t)size);
	json_close(&json, '}');
	CHECK(!has_control_bytes(buffer_str(&out)));
	json_error_t error;
	json_t *read = json_loadb(buffer_data(&out), buffer_len(&out),
	        JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
	CHECK(read && json_object_size(read) == (size ? 3 : 2));
	CHECK(json_integer_value(json_object_get(read, "size")) == (json_int_t)size);
	const json_t *value = json_object_get(read, "before");
	struct str back = str_of(json_string_value(value), json_string_length(value));
	CHECK(is_utf8(back) && (!is_utf8(text) || str_eq(back, text)));
	json_decref(read);
	buffer_fini(&out);
	own_free(text);
	return 0;
}
