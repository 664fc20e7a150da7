#include "tls/pipe.h"

#include "base/buffer.h"
#include "base/check.h"
#include "tls/session.h"

static int pipe_read(BIO *pipe, char *bytes, int size)
{
	struct tls_session *session = BIO_get_data(pipe);
	BIO_clear_retry_flags(pipe);
	size_t count = session->input.len;
	if (size <= 0)
		return 0;
	if (!count) {
		BIO_set_retry_read(pipe);
		return -1;
	}
	if (count > (size_t)size)
		count = (size_t)size;
	memcpy(bytes, session->input.at, count);
	session->input = str_skip(session->input, count);
	return (int)count;
}

static int pipe_write(BIO *pipe, const char *bytes, int size)
{
	struct tls_session *session = BIO_get_data(pipe);
	BIO_clear_retry_flags(pipe);
	if (size <= 0)
		return 0;
	buffer_append(session->out, bytes, (size_t)size);
	return size;
}

static long pipe_ctrl(BIO *pipe, int command, long number, void *pointer)
{
	(void)pipe, (void)number, (void)pointer;
	return command == BIO_CTRL_FLUSH;  // a 0 here would stall the handshake
}

BIO_METHOD *pipe_method_new(void)
{
	// The plain type: numbers from BIO_get_new_index run out after a hundred reloads.
	BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "tollgate pipe");
	CHECK(method);
	CHECK(BIO_meth_set_read(method, pipe_read) == 1);
	CHECK(BIO_meth_set_write(method, pipe_write) == 1);
	CHECK(BIO_meth_set_ctrl(method, pipe_ctrl) == 1);
	return method;
}

BIO *pipe_new(const BIO_METHOD *method, struct tls_session *session)
{
	BIO *pipe = BIO_new(method);
	CHECK(pipe);
	BIO_set_data(pipe, session);
	BIO_set_init(pipe, 1);
	return pipe;
}
