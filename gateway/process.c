#include "gateway/process.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

// Of /proc/self/stat, counted from behind the name, which is the second and may hold anything
// (proc(5)).
enum { STAT_USER = 14, STAT_SYSTEM = 15, STAT_START = 22, STAT_VIRTUAL = 23, STAT_RESIDENT = 24 };

enum { STAT_SIZE = 1024 };

static bool read_stat(const struct process *process, char text[STAT_SIZE])
{
	ssize_t len = process->stat < 0 ? -1 : pread(process->stat, text, STAT_SIZE - 1, 0);
	text[len > 0 ? len : 0] = '\0';
	return len > 0;
}

static uint64_t field(const char *text, int number)
{
	const char *at = strrchr(text, ')');
	for (int i = 2; at && i < number; i++)
		at = strchr(at + 1, ' ');
	return at ? strtoull(at + 1, NULL, 10) : 0;
}

static double ticks_a_second(void)
{
	return (double)sysconf(_SC_CLK_TCK);
}

// The kernel counts from the boot, and the wall clock may be set later: asked once, it stands.
static double start_s(const struct process *process)
{
	char text[STAT_SIZE];
	struct timespec since_boot;
	if (!read_stat(process, text) || clock_gettime(CLOCK_BOOTTIME, &since_boot) < 0)
		return 0;
	double boot_s = (double)clock_wall_ns() / NS_PER_S - (double)since_boot.tv_sec -
	                (double)since_boot.tv_nsec / NS_PER_S;
	return boot_s + (double)field(text, STAT_START) / ticks_a_second();
}

void process_init(struct process *process)
{
	process->stat = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
	process->descriptors = opendir("/proc/self/fd");
	process->start_s = start_s(process);
}

static uint64_t count_open_fds(DIR *directory)
{
	uint64_t count = 0;
	if (!directory)
		return 0;
	rewinddir(directory);
	for (struct dirent *entry; (entry = readdir(directory));)
		count += entry->d_name[0] != '.';
	return count;
}

void process_read(const struct process *process, struct process_facts *facts)
{
	char text[STAT_SIZE];
	struct rlimit files = {0};
	*facts = (struct process_facts){.open_fds = count_open_fds(process->descriptors)};
	if (getrlimit(RLIMIT_NOFILE, &files) == 0)
		facts->max_fds = files.rlim_cur;
	if (!read_stat(process, text))
		return;
	facts->cpu_s = (double)(field(text, STAT_USER) + field(text, STAT_SYSTEM)) /
	               ticks_a_second();
	facts->virtual_bytes = field(text, STAT_VIRTUAL);
	facts->resident_bytes = field(text, STAT_RESIDENT) * (uint64_t)sysconf(_SC_PAGESIZE);
}

void process_fini(struct process *process)
{
	if (process->stat >= 0)
		close(process->stat);
	if (process->descriptors)
		closedir(process->descriptors);
}
