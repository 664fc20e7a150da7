// What the kernel says of this process, for the metrics that every process has: read at a scrape
// from /proc/self, which the sandbox leaves open. The main thread; keeps nothing open.
#ifndef GATEWAY_PROCESS_H
#define GATEWAY_PROCESS_H

#include <stdint.h>

struct process {
	double cpu_s;    // user and system, of all threads
	double start_s;  // since 1970
	uint64_t resident_bytes, virtual_bytes;
	uint64_t open_fds, max_fds;
};

// What the kernel does not tell is 0.
void process_read(struct process *process);

#endif
