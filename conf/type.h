// The scalar types that the schema table names: for each how a text becomes a value and a value a
// text. Constant data; any thread. Numbers stand in type_number.c, words in type_text.c.
#ifndef CONF_TYPE_H
#define CONF_TYPE_H

#include "conf/schema.h"

extern const struct schema_type type_flag;       // bool
extern const struct schema_type type_choice;     // an enum
extern const struct schema_type type_workers;    // size_t
extern const struct schema_type type_status;     // int
extern const struct schema_type type_count;      // uint64_t
extern const struct schema_type type_size;       // uint64_t
extern const struct schema_type type_memory;     // uint64_t
extern const struct schema_type type_duration;   // int64_t, nanoseconds
extern const struct schema_type type_rate;       // struct config_rate
extern const struct schema_type type_byte_rate;  // struct config_rate

extern const struct schema_type type_body;      // struct str
extern const struct schema_type type_password;  // struct str
extern const struct schema_type type_output;    // struct config_output
extern const struct schema_type type_address;   // struct config_address
extern const struct schema_type type_server;    // struct config_address; names are resolved
extern const struct schema_type type_grpc;      // struct config_route
extern const struct schema_type type_path;      // struct config_route

extern const struct schema_type type_ratio;        // double: schema_tracing.c
extern const struct schema_type type_field_value;  // struct config_value

// The rest are struct config_text.
extern const struct schema_type type_field_name;
extern const struct schema_type type_name;
extern const struct schema_type type_file;
extern const struct schema_type type_pattern;
extern const struct schema_type type_method;
extern const struct schema_type type_host;
extern const struct schema_type type_per;
extern const struct schema_type type_upgrade;
extern const struct schema_type type_target_path;
extern const struct schema_type type_authority;
extern const struct schema_type type_endpoint;
extern const struct schema_type type_weight;
extern const struct schema_type type_hash_by;

// What the types of text share.
bool type_fits(const struct schema_key *key, struct str text);  // not empty, not too long, clean
bool type_set_text(
        struct reader *reader, const struct schema_key *key, const struct tree *node, void *field);
void type_write_text(const struct schema_key *key, const void *field, struct buffer *out);
bool type_text_given(const void *field);

#endif
