// How a row of the schema table is written; for the schema*.c alone, which hold the rows. Constant
// data; any thread.
#ifndef CONF_SCHEMA_ROW_H
#define CONF_SCHEMA_ROW_H

#include "conf/check.h"
#include "conf/config.h"
#include "conf/schema.h"
#include "conf/type.h"

#define AT(type, member) .at = offsetof(struct type, member)
#define COUNT_AT(type, member) .count_at = offsetof(struct type, member)
#define KEYS(table) .keys = (table), .key_count = ARRAY_LEN(table)
#define TYPE(type_) .type = &type_
#define OBJECT(object_) .object = &object_
#define RANGE(least, most) .min = (least), .max = (most)
#define DOC(text) .doc = text
#define MS_NS UINT64_C(1000000)
#define MINUTE_NS (60 * 1000 * MS_NS)
#define HOUR_NS (60 * MINUTE_NS)
#define DAY_NS (24 * HOUR_NS)

#endif
