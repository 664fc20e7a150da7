#include "gateway/date_field.h"

void date_field_add(
        struct date_field *date, int64_t now_ns, struct fields *fields, struct arena *arena)
{
	if (fields_find(fields, STR("date")))
		return;
	if (now_ns >= date->until_ns) {
		int64_t wall_ns = clock_wall_ns();
		clock_http(wall_ns, date->text);
		date->until_ns = now_ns + NS_PER_S - wall_ns % NS_PER_S;
	}
	fields_add(fields, arena, STR("date"), str_of(date->text, CLOCK_HTTP_SIZE - 1));
}
