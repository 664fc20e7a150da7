#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "conf/reader.h"
#include "conf/type.h"
#include "conf/value.h"

// What the control group allows this process; UINT64_MAX where none is set.
static uint64_t group_limit(void)
{
	static const char *const files[] = {
	        "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"};
	uint64_t least = UINT64_MAX;
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		FILE *file = fopen(files[i], "re");
		uint64_t limit;
		if (!file)
			continue;
		if (fscanf(file, "%" SCNu64, &limit) == 1 && limit < least)  // or `max`
			least = limit;
		fclose(file);
	}
	return least;
}

// Four fifths: the rest is the kernel's, for the sockets' own buffers, and everybody else's.
static uint64_t fair_share(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
	uint64_t machine = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : UINT64_MAX;
	uint64_t group = group_limit();
	return (group < machine ? group : machine) / 5 * 4;
}

static bool set_memory(
        struct reader *reader, const struct schema_key *key, const struct tree *node, void *field)
{
	uint64_t bytes = fair_share();
	if (!str_eq(node->text, STR("auto")) &&
	        (!value_size(node->text, &bytes) || bytes > key->max ||
	                (bytes && bytes < key->min)))
		return reader_refuse(reader, key, node);
	*(uint64_t *)field = bytes;
	return true;
}

static void write_memory(const struct schema_key *key, const void *field, struct buffer *out)
{
	(void)key;
	value_write_size(*(const uint64_t *)field, out);
}

const struct schema_type type_memory = {.name = "size or `auto`",
        .expected = "auto, 0 for none, or a size such as 512MiB or 2GiB",
        .set = set_memory,
        .write = write_memory,
        .write_bound = value_write_size};
