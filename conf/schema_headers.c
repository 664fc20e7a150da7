#include "conf/schema_row.h"

enum { FIELDS_MAX = 64 };

#define NAME_KEY                                                                                   \
	{                                                                                          \
		"name", .presence = PRESENCE_REQUIRED, TYPE(type_field_name),                      \
		        AT(config_field, name), DOC("The field's name.")                           \
	}
#define VALUE_DOC                                                                                  \
	"Its value: text, in which `%{identity}`, `%{route}` (the pattern of `match`) and "        \
	"`%{request_id}` stand for those of the request; `%%{` is the text `%{`."

static const struct schema_key request_field_keys[] = {
        NAME_KEY,
        {"value", .presence = PRESENCE_REQUIRED, .secret = true, TYPE(type_field_value),
                AT(config_field, value), DOC(VALUE_DOC)},
};

static const struct schema_object schema_request_field = {DOC("A header field for the backend."),
        .size = sizeof(struct config_field), KEYS(request_field_keys)};

static const struct schema_key response_field_keys[] = {
        NAME_KEY,
        {"value", .presence = PRESENCE_REQUIRED, TYPE(type_field_value), AT(config_field, value),
                DOC(VALUE_DOC)},
};

static const struct schema_object schema_response_field = {DOC("A header field for the client."),
        .size = sizeof(struct config_field), KEYS(response_field_keys)};

#define RULES(field_)                                                                              \
	{"set", .shape = SHAPE_OBJECTS, .presence = PRESENCE_OPTIONAL, OBJECT(field_),             \
	        AT(config_field_rules, set), COUNT_AT(config_field_rules, set_count),              \
	        RANGE(1, FIELDS_MAX),                                                              \
	        DOC("Fields that take the place of all that are there by that name.")},            \
	        {"add", .shape = SHAPE_OBJECTS, .presence = PRESENCE_OPTIONAL, OBJECT(field_),     \
	                AT(config_field_rules, add), COUNT_AT(config_field_rules, add_count),      \
	                RANGE(1, FIELDS_MAX),                                                      \
	                DOC("Fields put beside those that are there, as `set-cookie` wants "       \
	                    "it.")},                                                               \
	{                                                                                          \
		"remove", .shape = SHAPE_TEXTS, .presence = PRESENCE_OPTIONAL,                     \
		          TYPE(type_field_name), AT(config_field_rules, remove),                   \
		          RANGE(1, FIELDS_MAX), DOC("Names of fields that are taken away.")        \
	}

#define RULES_DOC                                                                                  \
	" A name means every spelling of it, `_` for `-` too, and trailers as well. What the "     \
	"gateway itself vouches for, and what frames a message, cannot be named."

static const struct schema_key request_headers_keys[] = {RULES(schema_request_field)};

const struct schema_object schema_request_headers = {
        DOC("Changes to the head that the backend gets." RULES_DOC),
        .size = sizeof(struct config_field_rules), KEYS(request_headers_keys),
        .check = check_request_headers};

static const struct schema_key response_headers_keys[] = {RULES(schema_response_field)};

const struct schema_object schema_response_headers = {
        DOC("Changes to the head of an answer of the backend or of `respond`, never of a refusal "
            "or of an answer for a backend that failed." RULES_DOC),
        .size = sizeof(struct config_field_rules), KEYS(response_headers_keys),
        .check = check_response_headers};
