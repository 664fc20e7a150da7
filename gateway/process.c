#include "gateway/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"

// Of /proc/self/stat, counted from behind the name, which is the second and may hold anything
// (proc(5)).
enum { STAT_USER = 14, STAT_SYSTEM = 15, STAT_START = 22, STAT_VIRTUAL = 23, STAT_RESIDENT = 24 };

static size_t read_file(const char *path, char *text, size_t size)
{
	int file = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len = file < 0 ? -1 : read(file, text, size - 1);
	if (file >= 0)
		close(file);
	text[len > 0 ? len : 0] = '\0';
	return len > 0 ? (size_t)len : 0;
}

static uint64_t field(const char *text, int number)
{
	const char *at = strrchr(text, ')');
	for (int i = 2; at && i < number; i++)
		at = strchr(at + 1, ' ');
	return at ? strtoull(at + 1, NULL, 10) : 0;
}

// The kernel counts from the boot, and the wall clock may be set: asked once, it stands.
static double start_s(uint64_t start_ticks, double ticks_a_second)
{
	static double known_s;
	struct timespec since_boot;
	if (known_s == 0 && start_ticks && clock_gettime(CLOCK_BOOTTIME, &since_boot) == 0)
		known_s = (double)clock_wall_ns() / NS_PER_S -
		          ((double)since_boot.tv_sec + (double)since_boot.tv_nsec / NS_PER_S) +
		          (double)start_ticks / ticks_a_second;
	return known_s;
}

static uint64_t count_open_fds(void)
{
	DIR *directory = opendir("/proc/self/fd");
	uint64_t count = 0;
	if (!directory)
		return 0;
	for (struct dirent *entry; (entry = readdir(directory));)
		count += entry->d_name[0] != '.';
	closedir(directory);
	return count - 1;  // the directory's own
}

void process_read(struct process *process)
{
	char text[1024];
	struct rlimit files = {0};
	double ticks_a_second = (double)sysconf(_SC_CLK_TCK);
	*process = (struct process){.open_fds = count_open_fds()};
	if (getrlimit(RLIMIT_NOFILE, &files) == 0)
		process->max_fds = files.rlim_cur;
	if (!read_file("/proc/self/stat", text, sizeof(text)))
		return;
	process->cpu_s = (double)(field(text, STAT_USER) + field(text, STAT_SYSTEM)) /
	                 ticks_a_second;
	process->start_s = start_s(field(text, STAT_START), ticks_a_second);
	process->virtual_bytes = field(text, STAT_VIRTUAL);
	process->resident_bytes = field(text, STAT_RESIDENT) * (uint64_t)sysconf(_SC_PAGESIZE);
}
