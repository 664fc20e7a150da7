#include "gateway/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "gateway/audit_chain.h"

enum { INTACT = 0, BROKEN = 3 };

// One line and where it stands. Two of them are held: the one judged, and the one behind it, which
// tells whether a broken link was broken here or in the line before.
struct place {
	struct str text;
	const char *file;
	uint64_t number;
	bool ended;  // by a newline
	char *block;
};

struct reader {
	int file_count;
	char *const *files;
	int next_file;
	FILE *stream;
	const char *file;
	uint64_t number;
};

static int broken(const struct place *place, const char *format, ...) PRINTF(2, 3);

static int broken(const struct place *place, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	printf("%s:%" PRIu64 ": ", place->file, place->number);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
	return BROKEN;
}

enum read { READ_LINE, READ_END, READ_FAILED };

static enum read cannot_read(const struct reader *reader)
{
	printf("%s: cannot be read: %s\n", reader->file, strerror(errno));
	return READ_FAILED;
}

// A descriptor of its own, which may be closed like any file's.
static FILE *standard_input(void)
{
	int descriptor = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	return descriptor < 0 ? NULL : fdopen(descriptor, "r");
}

static enum read next_stream(struct reader *reader)
{
	if (reader->stream)
		fclose(reader->stream);
	reader->stream = NULL;
	if (reader->next_file == reader->file_count)
		return READ_END;
	reader->file = reader->files[reader->next_file++];
	reader->number = 0;
	reader->stream = strcmp(reader->file, "-") == 0 ? standard_input()
	                                                : fopen(reader->file, "re");
	return reader->stream ? READ_LINE : cannot_read(reader);
}

// The next line of the next file that has one. One byte more than a line may have is kept, so that
// a longer one is seen to be.
static enum read read_line(struct reader *reader, struct place *place)
{
	size_t len = 0;
	int byte = EOF;
	while (len == 0 && byte == EOF) {
		while (reader->stream && len <= AUDIT_LINE_BYTES) {
			byte = getc_unlocked(reader->stream);
			if (byte == EOF || byte == '\n')
				break;
			place->block[len++] = (char)byte;
		}
		if (reader->stream && ferror(reader->stream))
			return cannot_read(reader);
		if (len || byte == '\n')
			break;
		enum read result = next_stream(reader);
		if (result != READ_LINE)
			return result;
	}
	place->text = str_of(place->block, len);
	place->file = reader->file;
	place->number = ++reader->number;
	place->ended = byte == '\n';
	return READ_LINE;
}

// What is wrong with the line itself, before any link is looked at.
static int judge_line(const struct place *place, struct audit_link *link)
{
	if (place->text.len > AUDIT_LINE_BYTES)
		return broken(place, "longer than any audit record can be");
	if (!place->ended)
		return broken(place,
		        "torn: the last line has no newline (%zu bytes); the writer was stopped in "
		        "the middle of it",
		        place->text.len);
	switch (audit_link_read(place->text, link)) {
	case AUDIT_LINK_OURS:
		return INTACT;
	case AUDIT_LINK_FOREIGN:
		return broken(place, "no audit record: seq or previous is missing or malformed");
	case AUDIT_LINK_NOT_JSON:
		return broken(place, "no JSON object");
	}
	return BROKEN;
}

static int judge_seq(
        const struct place *place, const struct audit_chain *chain, const struct audit_link *link)
{
	if (link->seq == chain->seq + 1)
		return INTACT;
	if (link->seq > chain->seq)
		return broken(place,
		        "seq %" PRIu64 " follows %" PRIu64 ": %" PRIu64 " missing before this line",
		        link->seq, chain->seq, link->seq - chain->seq - 1);
	return broken(place,
	        "seq %" PRIu64 " follows %" PRIu64 ": repeated, inserted or out of order",
	        link->seq, chain->seq);
}

// The link between two neighbours does not hold. The line behind knows this one's hash: if that is
// right, this line is as it was written, and the one before it was changed.
static int judge_break(const struct place *before, const struct place *place,
        const struct place *behind, const struct audit_link *link)
{
	struct audit_chain chain;
	struct audit_link next;
	bool vouched = behind && audit_link_read(behind->text, &next) == AUDIT_LINK_OURS;
	audit_chain_step(&chain, link->seq, place->text);
	if (vouched && strcmp(next.previous, chain.hash) != 0)
		return broken(place, "changed: its hash is not what the next line says, and its "
		                     "previous is not the hash of the line before");
	return broken(before, "changed: its hash is not what the next line says");
}

struct verification {
	struct reader reader;
	struct place places[3];  // before, this, behind; they take turns
	struct audit_chain chain;
	uint64_t records, first_seq;
};

static int judge_first(
        struct verification *work, const struct place *place, const struct audit_link *link)
{
	audit_chain_init(&work->chain);
	work->first_seq = link->seq;
	if (link->seq == 1 && strcmp(link->previous, work->chain.hash) != 0)
		return broken(place, "the first record of a chain must have 64 zeros as previous");
	return INTACT;
}

static int judge(struct verification *work, const struct place *before, const struct place *place,
        const struct place *behind)
{
	struct audit_link link;
	int result = judge_line(place, &link);
	if (result == INTACT && work->records == 0)
		result = judge_first(work, place, &link);
	else if (result == INTACT)
		result = judge_seq(place, &work->chain, &link);
	if (result != INTACT)
		return result;
	if (work->records && strcmp(link.previous, work->chain.hash) != 0)
		return judge_break(before, place, behind, &link);
	audit_chain_step(&work->chain, link.seq, place->text);
	work->records++;
	return INTACT;
}

static int verify_all(struct verification *work)
{
	struct place *before = &work->places[0], *place = &work->places[1],
	             *behind = &work->places[2];
	enum read ahead = read_line(&work->reader, place);
	while (ahead == READ_LINE) {
		ahead = read_line(&work->reader, behind);
		int result = judge(work, before, place, ahead == READ_LINE ? behind : NULL);
		if (result != INTACT)
			return result;
		struct place *used = before;
		before = place;
		place = behind;
		behind = used;
	}
	return ahead == READ_END ? INTACT : BROKEN;
}

static void summarise(const struct verification *work)
{
	if (work->records == 0) {
		printf("0 records, chain intact\n");
		return;
	}
	printf("%" PRIu64 " records, seq %" PRIu64 "..%" PRIu64 ", chain intact%s\n", work->records,
	        work->first_seq, work->chain.seq,
	        work->first_seq == 1 ? ""
	                             : " (starts inside a chain: what came before cannot be "
	                               "checked)");
}

int audit_verify(int file_count, char *const files[])
{
	struct verification work = {.reader = {.file_count = file_count, .files = files}};
	for (size_t i = 0; i < ARRAY_LEN(work.places); i++)
		work.places[i].block = must_realloc(NULL, AUDIT_LINE_BYTES + 1);
	int result = verify_all(&work);
	if (result == INTACT)
		summarise(&work);
	if (work.reader.stream)
		fclose(work.reader.stream);
	for (size_t i = 0; i < ARRAY_LEN(work.places); i++)
		free(work.places[i].block);
	return result;
}
