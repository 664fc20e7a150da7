// What the process may still do once it serves, should somebody take it over: reach the
// directories of its files and no others (Landlock), and make the system calls it needs and no
// others (seccomp). Each is closed by the main thread, for good and for every thread; `sandbox:
// off` leaves both open, and so does a build with sanitizers, whose run-time needs more.
// A kernel without them is no reason not to serve: the log says what is in force.
// Running another binary (SIGUSR2) is the launcher's, which was begun before and is not closed in.
#ifndef GATEWAY_SANDBOX_H
#define GATEWAY_SANDBOX_H

#include "conf/config.h"

// Before the first thread, which inherits it, and before any log is opened: logs and unix sockets
// may be made in the directories named for them. Reading is open for the directories of the config
// file, of certificates, keys, CAs and lists, and for /etc and the libraries (names are resolved at
// every reload). `config_path` NULL: the embedded default.
void sandbox_close_files(const struct config *config, const char *config_path);

// Once every thread is there: none can be added afterwards. What is not on the list fails with
// EPERM and is told to the kernel's log; what only an intruder asks for kills the process.
void sandbox_close_calls(const struct config *config);

// What is closed by now, in words for the log.
const char *sandbox_words(void);
// Between the two files of it.
extern bool sandbox_files_closed;

// NULL, or why this build never closes anything.
const char *sandbox_unfit(void);

#endif
