// What the kernel says of this process, for the metrics that every process has: read at a scrape.
// Owned by the gateway; the main thread. Its two files of /proc/self are opened before anything
// else runs and kept: no door to /proc is needed later, neither past a sandbox nor as another user.
#ifndef GATEWAY_PROCESS_H
#define GATEWAY_PROCESS_H

#include <dirent.h>
#include <stdint.h>

struct process {
	int stat;
	DIR *descriptors;
	double start_s;  // since 1970
};

struct process_facts {
	double cpu_s;  // user and system, of all threads
	uint64_t resident_bytes, virtual_bytes;
	uint64_t open_fds, max_fds;
};

void process_init(struct process *process);
// What the kernel does not tell is 0.
void process_read(const struct process *process, struct process_facts *facts);
void process_fini(struct process *process);

#endif
