// The launcher's own process. Its channel is its standard input.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/log.h"
#include "gateway/launcher.h"
#include "gateway/launcher_channel.h"
#include "gateway/privilege.h"

enum { CHANNEL = STDIN_FILENO, FIRST = STDERR_FILENO + 1, STATUS_NOT_RUN = 127, LEAVE_S = 5 };

struct program {
	char text[CHANNEL_ARGUMENTS_MAX + 1];
	char *path, **arguments;
};

static bool read_program(struct program *program)
{
	ssize_t len = recv(CHANNEL, program->text, CHANNEL_ARGUMENTS_MAX, 0);
	size_t count = 0;
	if (len <= 0 || program->text[len - 1] != '\0')
		return false;
	program->arguments = must_alloc(((size_t)len + 1) * sizeof(*program->arguments));
	program->path = program->text;
	for (char *word = program->text; word < program->text + len; word += strlen(word) + 1)
		if (word != program->path)
			program->arguments[count++] = word;
	return count > 0;
}

// In the child.
static _Noreturn void give_up(const char *why)
{
	log_event(LOG_ERROR, "the new binary cannot be run", "error=\"%s\"", why);
	log_end();
	_exit(STATUS_NOT_RUN);
}

// One number behind the other, from the first on, and open for the program.
static void arrange(int descriptors[], size_t count)
{
	int beyond = FIRST + (int)count;
	for (size_t i = 0; i < count; i++) {
		int aside = fcntl(descriptors[i], F_DUPFD_CLOEXEC, beyond);
		if (aside < 0)
			give_up("there are not enough descriptors for it");
		close(descriptors[i]);
		descriptors[i] = aside;
	}
	for (size_t i = 0; i < count; i++)
		if (dup2(descriptors[i], FIRST + (int)i) < 0)
			give_up(strerror(errno));
}

static void set_number(const char *name, long number)
{
	char text[24];
	snprintf(text, sizeof(text), "%ld", number);
	CHECK(setenv(name, text, 1) == 0);
}

// As systemd says it: sd_listen_fds(3), sd_watchdog_enabled(3).
static void describe(size_t listening, size_t private_count)
{
	struct buffer text = {0};
	for (size_t i = 0; i < listening; i++)
		buffer_append_str(&text, i ? STR(":inherited") : STR("inherited"));
	buffer_append(&text, "", 1);
	CHECK(setenv("LISTEN_FDNAMES", buffer_data(&text), 1) == 0);
	set_number("LISTEN_FDS", (long)listening);
	set_number("LISTEN_PID", getpid());
	if (getenv("WATCHDOG_PID"))
		set_number("WATCHDOG_PID", getpid());
	buffer_clear(&text);
	for (size_t i = 0; i < private_count; i++)
		buffer_printf(&text, "%s%zu", i ? "," : "", FIRST + listening + i);
	buffer_append(&text, "", 1);
	CHECK(setenv(LAUNCHER_PRIVATE, buffer_data(&text), 1) == 0);
	buffer_fini(&text);
}

static void reset_signals(void)
{
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (int number = 1; number < NSIG; number++)
		signal(number, SIG_DFL);
}

// The private ones come first over the channel and last in the numbers, where systemd has none.
static void rotate(int descriptors[], size_t count, size_t by)
{
	int *first = must_alloc((by + 1) * sizeof(*first));
	memcpy(first, descriptors, by * sizeof(*first));
	memmove(descriptors, descriptors + by, (count - by) * sizeof(*descriptors));
	memcpy(descriptors + count - by, first, by * sizeof(*first));
	free(first);
}

static void become(
        const struct program *program, int descriptors[], size_t count, size_t private_count)
{
	rotate(descriptors, count, private_count);
	arrange(descriptors, count);
	describe(count - private_count, private_count);
	reset_signals();
	close(CHANNEL);
	CHECK(open("/dev/null", O_RDONLY) == STDIN_FILENO);
	execv(program->path, program->arguments);
	give_up(strerror(errno));
}

static void close_descriptors(const int descriptors[], size_t count)
{
	for (size_t i = 0; i < count; i++)
		close(descriptors[i]);
}

// One that the gateway no longer waits for hears so from its own end of their channel, and leaves.
static bool has_ended(pid_t successor)
{
	struct pollfd leaving = {.events = POLLIN};
	leaving.fd = (int)syscall(SYS_pidfd_open, successor, 0);
	if (leaving.fd >= 0) {
		(void)poll(&leaving, 1, LEAVE_S * MS_PER_S);
		close(leaving.fd);
	}
	return waitpid(successor, NULL, WNOHANG) != 0;
}

// One successor at a time: what somebody who took the gateway over could do with more is nobody's
// business.
static void launch(
        const struct program *program, int descriptors[], size_t count, size_t private_count)
{
	static pid_t successor;
	if (successor > 0 && !has_ended(successor)) {
		log_event(LOG_ERROR, "a successor was started already", "pid=%ld", (long)successor);
		return;
	}
	successor = fork();
	if (successor == 0)
		become(program, descriptors, count, private_count);
	if (successor < 0)
		log_event(LOG_ERROR, "the new binary cannot be started", "error=\"%s\"",
		        strerror(errno));
}

// One successor for each whole set of descriptors.
static void serve(const struct program *program)
{
	struct channel_packet packet;
	int *descriptors = must_alloc(
	        (LAUNCHER_DESCRIPTORS_MAX + CHANNEL_DESCRIPTORS_MAX) * sizeof(*descriptors));
	size_t have = 0, some;
	enum channel_news news;
	while ((news = channel_receive(CHANNEL, &packet, descriptors + have, &some)) !=
	        CHANNEL_ENDED) {
		if (news == CHANNEL_PACKET && packet.following == packet.total && have) {
			close_descriptors(descriptors, have);  // of a request that broke off
			memmove(descriptors, descriptors + have, some * sizeof(*descriptors));
			have = 0;
		}
		size_t before = have;
		have += some;
		bool fits = news == CHANNEL_PACKET && before + packet.following == packet.total &&
		            some <= packet.following && have <= LAUNCHER_DESCRIPTORS_MAX;
		if (fits && some < packet.following)
			continue;
		if (fits && packet.private_count <= have)
			launch(program, descriptors, have, packet.private_count);
		else
			log_event(LOG_ERROR, "a request for a successor cannot be taken",
			        "descriptors=%zu", have);
		close_descriptors(descriptors, have);
		have = 0;
	}
	free(descriptors);
}

// Whatever stops the gateway is the gateway's to hear; the end of the channel ends the launcher.
static void be_deaf(void)
{
	static const int deaf[] = {
	        SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE, SIGTSTP};
	for (size_t i = 0; i < ARRAY_LEN(deaf); i++)
		signal(deaf[i], SIG_IGN);
}

int launcher_main(void)
{
	static struct program program;
	be_deaf();
	privilege_raise_descriptor_limit();  // the gateway has as many
	(void)prctl(PR_SET_NAME, LAUNCHER_NAME);
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	(void)close_range(FIRST, ~0U, 0);
	if (!read_program(&program))
		return 1;
	serve(&program);
	free(program.arguments);
	return 0;
}
