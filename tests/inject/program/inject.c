// Faults on order, for the program built by tests/inject/inject.mk: calls of the gateway's own code
// to libuv, the kernel and the allocators pass through here (the linker's --wrap), and fail as
// TOLLGATE_INJECT says:
//     CALL:FAULT:EVERY[:MOST[:AFTER]],...      uv_try_write:EAGAIN:3,write:ENOSPC:2:5
// Behind the first AFTER calls every EVERYth fails, at most MOST times (0: always). FAULT is the
// name of an error, or `short`: one byte is taken. `openssl` and `nghttp2` are the allocations of
// these libraries. At exit stderr is told how often each fault struck. Any thread. Never part of
// the gateway.
#include <errno.h>
#include <fcntl.h>
#include <nghttp2/nghttp2.h>
#include <openssl/crypto.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "gateway/launcher.h"

enum { FAULTS_MAX = 8, SHORT = -1 };

struct fault {
	char call[32], kind[24];
	int error;
	unsigned every, most, after;
	atomic_uint calls, struck;
};

static struct fault faults[FAULTS_MAX];
static size_t fault_count;

// 0: nothing happens to this call; SHORT; or an errno.
static int strike(const char *call)
{
	for (size_t i = 0; i < fault_count; i++) {
		struct fault *fault = &faults[i];
		if (strcmp(fault->call, call) != 0)
			continue;
		unsigned number = ++fault->calls;
		if (number <= fault->after || (number - fault->after) % fault->every)
			continue;
		if (fault->most && fault->struck >= fault->most)
			continue;
		fault->struck++;
		return fault->error;
	}
	return 0;
}

static int error_named(const char *name)
{
	if (strcmp(name, "short") == 0)
		return SHORT;
	for (int error = 1; error < 134; error++) {
		const char *known = strerrorname_np(error);
		if (known && strcmp(known, name) == 0)
			return error;
	}
	fprintf(stderr, "inject: no fault is called %s\n", name);
	exit(2);
}

static void *library_malloc(const char *library, size_t size)
{
	return strike(library) ? NULL : malloc(size);
}

static void *openssl_malloc(size_t size, const char *file, int line)
{
	(void)file, (void)line;
	return library_malloc("openssl", size);
}

static void *openssl_realloc(void *old, size_t size, const char *file, int line)
{
	(void)file, (void)line;
	return strike("openssl") ? NULL : realloc(old, size);
}

static void openssl_free(void *memory, const char *file, int line)
{
	(void)file, (void)line;
	free(memory);
}

static void tell(void)
{
	for (size_t i = 0; i < fault_count; i++)
		fprintf(stderr, "inject: %s %s struck %u of %u calls\n", faults[i].call,
		        faults[i].kind, faults[i].struck, faults[i].calls);
}

// The faults are the gateway's, not its launcher's.
__attribute__((constructor)) static void read_orders(int count, char **words)
{
	const char *orders = getenv("TOLLGATE_INJECT");
	if (count == 1 && strcmp(words[0], LAUNCHER_NAME) == 0)
		return;
	for (; orders && *orders && fault_count < FAULTS_MAX; fault_count++) {
		struct fault *fault = &faults[fault_count];
		int read = sscanf(orders, "%31[^:]:%23[^:]:%u:%u:%u", fault->call, fault->kind,
		        &fault->every, &fault->most, &fault->after);
		if (read < 3 || fault->every == 0) {
			fprintf(stderr, "inject: what is %s?\n", orders);
			exit(2);
		}
		fault->error = error_named(fault->kind);
		const char *comma = strchr(orders, ',');
		orders = comma ? comma + 1 : "";
		if (strcmp(fault->call, "openssl") == 0)
			CRYPTO_set_mem_functions(openssl_malloc, openssl_realloc, openssl_free);
	}
	atexit(tell);
}

// A call that returns 0 or a negative errno, as libuv's do.
#define WRAP_UV(name, parameters, arguments)                                                       \
	int __real_##name parameters;                                                              \
	int __wrap_##name parameters;                                                              \
	int __wrap_##name parameters                                                               \
	{                                                                                          \
		int error = strike(#name);                                                         \
		return error ? -error : __real_##name arguments;                                   \
	}

WRAP_UV(uv_read_start, (uv_stream_t * stream, uv_alloc_cb alloc, uv_read_cb read),
        (stream, alloc, read))
WRAP_UV(uv_tcp_init, (uv_loop_t * loop, uv_tcp_t *tcp), (loop, tcp))
WRAP_UV(uv_tcp_open, (uv_tcp_t * tcp, uv_os_sock_t descriptor), (tcp, descriptor))
WRAP_UV(uv_tcp_connect,
        (uv_connect_t * request, uv_tcp_t *tcp, const struct sockaddr *address,
                uv_connect_cb connected),
        (request, tcp, address, connected))
WRAP_UV(uv_shutdown, (uv_shutdown_t * request, uv_stream_t *stream, uv_shutdown_cb shut),
        (request, stream, shut))
WRAP_UV(uv_poll_init_socket, (uv_loop_t * loop, uv_poll_t *poll, uv_os_sock_t descriptor),
        (loop, poll, descriptor))

// A write fails because the connection is gone: then nothing more comes over it either.
static int write_fault(const char *call, uv_stream_t *stream)
{
	uv_os_fd_t descriptor;
	int error = strike(call);
	if (error > 0 && error != EAGAIN && uv_fileno((uv_handle_t *)stream, &descriptor) == 0)
		shutdown(descriptor, SHUT_RDWR);
	return error;
}

int __real_uv_write(uv_write_t *request, uv_stream_t *stream, const uv_buf_t bufs[], unsigned count,
        uv_write_cb written);
int __wrap_uv_write(uv_write_t *request, uv_stream_t *stream, const uv_buf_t bufs[], unsigned count,
        uv_write_cb written);
int __wrap_uv_write(uv_write_t *request, uv_stream_t *stream, const uv_buf_t bufs[], unsigned count,
        uv_write_cb written)
{
	int error = write_fault("uv_write", stream);
	return error ? -error : __real_uv_write(request, stream, bufs, count, written);
}

int __real_uv_try_write(uv_stream_t *stream, const uv_buf_t bufs[], unsigned count);
int __wrap_uv_try_write(uv_stream_t *stream, const uv_buf_t bufs[], unsigned count);
int __wrap_uv_try_write(uv_stream_t *stream, const uv_buf_t bufs[], unsigned count)
{
	int error = write_fault("uv_try_write", stream);
	uv_buf_t one = uv_buf_init(bufs[0].base, 1);
	if (error == SHORT)
		return __real_uv_try_write(stream, &one, 1);
	return error ? -error : __real_uv_try_write(stream, bufs, count);
}

static bool refused(const char *call)
{
	int error = strike(call);
	if (error)
		errno = error;
	return error;
}

int __real_accept4(int door, struct sockaddr *address, socklen_t *len, int flags);
int __wrap_accept4(int door, struct sockaddr *address, socklen_t *len, int flags);
int __wrap_accept4(int door, struct sockaddr *address, socklen_t *len, int flags)
{
	return refused("accept4") ? -1 : __real_accept4(door, address, len, flags);
}

// Of logs, which are opened to be appended to.
int __real_open(const char *path, int flags, mode_t mode);
int __wrap_open(const char *path, int flags, mode_t mode);
int __wrap_open(const char *path, int flags, mode_t mode)
{
	return flags & O_APPEND && refused("open") ? -1 : __real_open(path, flags, mode);
}

int __real_fdatasync(int descriptor);
int __wrap_fdatasync(int descriptor);
int __wrap_fdatasync(int descriptor)
{
	return refused("fdatasync") ? -1 : __real_fdatasync(descriptor);
}

// Of files: what is said on stdout and stderr is how a test hears of it.
ssize_t __real_write(int descriptor, const void *bytes, size_t count);
ssize_t __wrap_write(int descriptor, const void *bytes, size_t count);
ssize_t __wrap_write(int descriptor, const void *bytes, size_t count)
{
	int error = descriptor > STDERR_FILENO ? strike("write") : 0;
	if (error == SHORT)
		return __real_write(descriptor, bytes, 1);
	if (error)
		errno = error;
	return error ? -1 : __real_write(descriptor, bytes, count);
}

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size)
{
	return refused("calloc") ? NULL : __real_calloc(count, size);
}

static void *nghttp2_malloc_wrapped(size_t size, void *user)
{
	(void)user;
	return library_malloc("nghttp2", size);
}

static void nghttp2_free_wrapped(void *memory, void *user)
{
	(void)user;
	free(memory);
}

static void *nghttp2_calloc_wrapped(size_t count, size_t size, void *user)
{
	(void)user;
	return strike("nghttp2") ? NULL : __real_calloc(count, size);
}

static void *nghttp2_realloc_wrapped(void *old, size_t size, void *user)
{
	(void)user;
	return strike("nghttp2") ? NULL : realloc(old, size);
}

static nghttp2_mem nghttp2_memory = {NULL, nghttp2_malloc_wrapped, nghttp2_free_wrapped,
        nghttp2_calloc_wrapped, nghttp2_realloc_wrapped};

int __real_nghttp2_session_server_new3(nghttp2_session **session,
        const nghttp2_session_callbacks *callbacks, void *user, const nghttp2_option *option,
        nghttp2_mem *memory);
int __wrap_nghttp2_session_server_new3(nghttp2_session **session,
        const nghttp2_session_callbacks *callbacks, void *user, const nghttp2_option *option,
        nghttp2_mem *memory);
int __wrap_nghttp2_session_server_new3(nghttp2_session **session,
        const nghttp2_session_callbacks *callbacks, void *user, const nghttp2_option *option,
        nghttp2_mem *memory)
{
	(void)memory;
	return __real_nghttp2_session_server_new3(
	        session, callbacks, user, option, &nghttp2_memory);
}
