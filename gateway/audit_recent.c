#include "gateway/audit_recent.h"

void audit_recent_init(struct audit_recent *recent, bool on)
{
	CHECK(pthread_mutex_init(&recent->lock, NULL) == 0);
	recent->on = on;
}

void audit_recent_fini(struct audit_recent *recent)
{
	pthread_mutex_destroy(&recent->lock);
	buffer_fini(&recent->lines);
}

static void drop_oldest(struct buffer *lines)
{
	struct str kept = buffer_str(lines);
	const char *end = str_find_byte(kept, '\n');
	buffer_take(lines, end ? (size_t)(end - kept.at) + 1 : kept.len);
}

void audit_recent_add(struct audit_recent *recent, struct str line)
{
	if (!recent->on || line.len > AUDIT_RECENT_BYTES)
		return;
	pthread_mutex_lock(&recent->lock);
	while (buffer_len(&recent->lines) + line.len > AUDIT_RECENT_BYTES)
		drop_oldest(&recent->lines);
	buffer_append_str(&recent->lines, line);
	pthread_mutex_unlock(&recent->lock);
}

// Takes the last line off `lines`, without its newline.
static struct str take_last(struct str *lines)
{
	size_t end = lines->len - 1;
	const char *before = end ? memrchr(lines->at, '\n', end) : NULL;
	size_t begin = before ? (size_t)(before - lines->at) + 1 : 0;
	lines->len = begin;
	return str_of(lines->at + begin, end - begin);
}

static struct buffer copy(struct audit_recent *recent)
{
	struct buffer lines = {0};
	pthread_mutex_lock(&recent->lock);
	buffer_append_str(&lines, buffer_str(&recent->lines));
	pthread_mutex_unlock(&recent->lock);
	return lines;
}

void audit_recent_write(struct audit_recent *recent, size_t most, struct buffer *out)
{
	struct buffer lines = copy(recent);
	struct str left = buffer_str(&lines);
	buffer_append_str(out, STR("["));
	for (size_t i = 0; i < most && left.len; i++) {
		buffer_append_str(out, i ? STR(",\n") : STR(""));
		buffer_append_str(out, take_last(&left));
	}
	buffer_append_str(out, STR("]\n"));
	buffer_fini(&lines);
}
