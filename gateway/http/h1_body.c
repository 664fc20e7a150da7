#include "gateway/http/h1_body.h"

enum { SIZE_LINE_MAX = 256, SIZE_DIGITS_MAX = 15 };

void h1_body_init(struct h1_body *body, enum h1_framing framing, int64_t content_length)
{
	*body = (struct h1_body){.framing = framing};
	switch (framing) {
	case H1_NO_BODY:
		body->state = H1_BODY_WHOLE;
		break;
	case H1_LENGTH:
		body->state = H1_BODY_DATA;
		body->left = (uint64_t)content_length;
		break;
	case H1_CHUNKED:
		body->state = H1_BODY_SIZE;
		break;
	case H1_TO_END:
		body->state = H1_BODY_DATA;
		body->left = UINT64_MAX;
		break;
	}
}

static int hex_digit(char byte)
{
	if (byte >= '0' && byte <= '9')
		return byte - '0';
	if (byte >= 'a' && byte <= 'f')
		return byte - 'a' + 10;
	if (byte >= 'A' && byte <= 'F')
		return byte - 'A' + 10;
	return -1;
}

static void fail(struct h1_body *body, const char *fault)
{
	body->state = H1_BODY_FAULTY;
	body->fault = fault;
}

static void start_size_line(struct h1_body *body)
{
	body->state = H1_BODY_SIZE;
	body->left = 0;
	body->digits = body->line_len = 0;
}

static void size_byte(struct h1_body *body, char byte)
{
	int digit = hex_digit(byte);
	if (digit >= 0 && body->digits < SIZE_DIGITS_MAX) {
		body->digits++;
		body->left = body->left * 16 + (uint64_t)digit;
	} else if (digit >= 0) {
		fail(body, "a chunk size with too many digits");
	} else if (body->digits == 0) {
		fail(body, "a chunk size that is no hexadecimal number");
	} else if (byte == '\r') {
		body->state = H1_BODY_SIZE_LF;
	} else if (byte == ';') {
		body->state = H1_BODY_EXTENSION;
	} else {
		fail(body, "a chunk size that is no hexadecimal number");
	}
}

static void extension_byte(struct h1_body *body, char byte)
{
	if (++body->line_len > SIZE_LINE_MAX)
		fail(body, "a chunk extension without end");
	else if (byte == '\r')
		body->state = H1_BODY_SIZE_LF;
	else if (((unsigned char)byte < 0x20 && byte != '\t') || byte == 0x7f)
		fail(body, "a control byte in a chunk extension");
}

static void framing_byte(struct h1_body *body, char byte)
{
	switch (body->state) {
	case H1_BODY_SIZE:
		size_byte(body, byte);
		break;
	case H1_BODY_EXTENSION:
		extension_byte(body, byte);
		break;
	case H1_BODY_SIZE_LF:
		if (byte != '\n')
			fail(body, "a chunk size line that does not end in CRLF");
		else
			body->state = body->left ? H1_BODY_DATA : H1_BODY_TRAILERS;
		break;
	case H1_BODY_DATA_CR:
		if (byte != '\r')
			fail(body, "a chunk longer than its size");
		else
			body->state = H1_BODY_DATA_LF;
		break;
	case H1_BODY_DATA_LF:
		if (byte != '\n')
			fail(body, "a chunk that does not end in CRLF");
		else
			start_size_line(body);
		break;
	case H1_BODY_DATA:
	case H1_BODY_TRAILERS:
	case H1_BODY_WHOLE:
	case H1_BODY_FAULTY:
		CHECK(!"a framing byte in this state");
	}
}

void h1_body_next(struct h1_body *body, struct str *bytes, struct str *data)
{
	*data = str_of(bytes->at, 0);
	while (bytes->len) {
		if (body->state == H1_BODY_DATA) {
			size_t len = bytes->len < body->left ? bytes->len : (size_t)body->left;
			*data = str_of(bytes->at, len);
			*bytes = str_skip(*bytes, len);
			if (body->framing != H1_TO_END)
				body->left -= len;
			if (body->left == 0)
				body->state = body->framing == H1_CHUNKED ? H1_BODY_DATA_CR
				                                          : H1_BODY_WHOLE;
			return;
		}
		if (body->state == H1_BODY_TRAILERS || body->state == H1_BODY_WHOLE ||
		        body->state == H1_BODY_FAULTY)
			return;
		framing_byte(body, *bytes->at);
		*bytes = str_skip(*bytes, 1);
	}
}

void h1_body_trailers_end(struct h1_body *body)
{
	CHECK(body->state == H1_BODY_TRAILERS);
	body->state = H1_BODY_WHOLE;
}
