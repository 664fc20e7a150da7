// One log's output: descriptor, bytes not yet written, and what to do when the disk refuses. Owned
// by the audit writer, whose thread does all of it; `failing`, `failures` and `writing_since_ns`
// may be read by any thread. Lines stay in `pending` until they are in the file as a whole: a line
// written in part is cut off again (regular files) or continued (pipes), so no reader finds a
// broken one. Lines are not synced one by one: what was handed to the kernel survives our death,
// not the machine's; close and rotation call fdatasync.
#ifndef GATEWAY_AUDIT_FILE_H
#define GATEWAY_AUDIT_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/check.h"
#include "conf/config.h"

#define AUDIT_SAME_FILE "is the audit log's file too; each log needs its own"

enum { AUDIT_WHY_SIZE = 1024, AUDIT_BATCH_BYTES = 1 << 18 };

struct audit_file {
	const char *name;  // for messages: the path, or "stdout"
	struct config_output output;
	int descriptor;         // -1: this log is off
	bool repairable;        // a regular file of ours, which may be cut
	bool shared;            // unless another process writes it too
	struct buffer pending;  // whole lines
	size_t begun;           // bytes of the first pending line that are in the file already
	int64_t retry_ns, shout_ns;
	bool shouted;      // and nobody was told yet that it is over
	int64_t moved_ns;  // when a pipe last took something; 0: nothing waits

	_Atomic bool failing;
	_Atomic uint64_t failures;
	_Atomic int64_t writing_since_ns;  // 0: not inside a write
};

const char *audit_output_name(const struct config_output *output);  // path, "stdout", ...

// Copies what it needs of `output`. False with the reason in `why`.
MUST_USE bool audit_file_open(
        struct audit_file *file, const struct config_output *output, char why[AUDIT_WHY_SIZE]);

// One process writes a chain: false when another has the file.
MUST_USE bool audit_descriptor_lock(int descriptor, char why[AUDIT_WHY_SIZE]);
void audit_descriptor_unlock(int descriptor);

// For logrotate: opens the path again. -1 with an empty `why` when it still is the same file, -1
// with the reason when it cannot be opened; else a descriptor for audit_file_replace.
MUST_USE int audit_file_open_again(const struct audit_file *file, char why[AUDIT_WHY_SIZE]);
void audit_file_replace(struct audit_file *file, int descriptor);

// Where the file does not end in a newline, the next line must not join what a crash left behind.
void audit_file_end_line(struct audit_file *file);

// Writes what is pending; true when nothing is left. While failing it tries once a second, and a
// pipe gets a tenth of a second.
bool audit_file_flush(struct audit_file *file);
void audit_file_retry_now(struct audit_file *file);

bool audit_file_same(const struct audit_file *a, const struct audit_file *b);
void audit_file_close(struct audit_file *file);

#endif
