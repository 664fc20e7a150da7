#include "tls/pem.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/denied.h"
#include "tls/secrecy.h"

enum {
	FILE_BYTES_MAX = 64 << 20,  // revocation lists grow; what is longer is some other file
	CHUNK = 65536,
	DER_SEQUENCE = 0x30,
};

void pem_complain(const struct pem_place *place, const char *format, ...)
{
	va_list arguments;
	char what[1024];
	va_start(arguments, format);
	vsnprintf(what, sizeof(what), format, arguments);
	va_end(arguments);
	config_problem_add(place->problems, place->file->mark, place->key, "%.*s: %s",
	        STR_FMT(place->file->text), what);
}

static const char *library_words(void)
{
	const char *words = ERR_reason_error_string(ERR_peek_last_error());
	return words ? words : "it does not parse";
}

// All of the block: bytes may stand before and behind what it holds.
static void wipe(struct buffer *text)
{
	OPENSSL_cleanse(text->block, text->capacity);
	buffer_fini(text);
}

// A buffer that grows by itself leaves what it held behind in freed memory.
static void widen(struct buffer *text, size_t size)
{
	struct buffer wider = {0};
	char *room = buffer_room(&wider, buffer_len(text) + size);
	memcpy(room, buffer_data(text), buffer_len(text));
	buffer_added(&wider, buffer_len(text));
	wipe(text);
	*text = wider;
}

static bool read_all(int file, struct buffer *text)
{
	ssize_t count;
	CHECK(buffer_room(text, CHUNK));
	do {
		if (text->capacity - text->end < CHUNK)
			widen(text, 2 * buffer_len(text) + CHUNK);
		count = read(file, buffer_room(text, CHUNK), CHUNK);
		buffer_added(text, count > 0 ? (size_t)count : 0);
	} while (
	        (count > 0 || (count < 0 && errno == EINTR)) && buffer_len(text) <= FILE_BYTES_MAX);
	return count >= 0;
}

static bool looks_like_pem(struct str text)
{
	return memmem(text.at, text.len, "-----BEGIN ", strlen("-----BEGIN "));
}

static bool judge_text(
        const struct pem_place *place, const char *expected, const struct buffer *text)
{
	if (buffer_len(text) > FILE_BYTES_MAX)
		pem_complain(place, "is larger than 64 MiB; expected a PEM file with %s", expected);
	else if (!buffer_len(text))
		pem_complain(place, "is empty; expected a PEM file with %s", expected);
	else if (looks_like_pem(buffer_str(text)))
		return true;
	else if ((unsigned char)*buffer_data(text) == DER_SEQUENCE)
		pem_complain(place,
		        "looks like DER, not PEM; expected a PEM file with %s "
		        "(openssl x509|crl|pkey -inform DER -in ... -out ...)",
		        expected);
	else
		pem_complain(
		        place, "has no -----BEGIN line; expected a PEM file with %s", expected);
	return false;
}

static bool is_fifo(int file)
{
	struct stat status;
	return fstat(file, &status) == 0 && S_ISFIFO(status.st_mode);
}

// What a file is read for.
struct purpose {
	const char *expected;
	bool secret;
	const struct config_run_as *reader;  // of a secret
};

// A silent false for an empty name: reading the config has complained of that.
static bool read_file(
        const struct pem_place *place, const struct purpose *purpose, struct buffer *text)
{
	if (!place->file->text.len)
		return false;
	char *name = must_copy(place->file->text.at, place->file->text.len);
	// Without blocking: a FIFO nobody writes to would stop the gateway at a rotation.
	int file = open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	bool once = file >= 0 && is_fifo(file);
	bool read = file >= 0 && !once && read_all(file, text);
	if (once)
		pem_complain(place,
		        "is a pipe, which is read only once; expected a PEM file with %s",
		        purpose->expected);
	else if (!read)
		pem_complain(place, "cannot be read: %s; expected a PEM file with %s",
		        denied_words(name, R_OK, errno), purpose->expected);
	bool good = read && judge_text(place, purpose->expected, text);
	if (read && purpose->secret)
		good &= secrecy_check(place, file, purpose->reader);
	if (file >= 0)
		close(file);
	free(name);
	return good;
}

// What a file is made of: parses one block, or says why it does not parse.
struct pem_kind {
	const char *names[3];  // of the blocks that count, NULL-ended
	struct purpose purpose;
	void *(*parse)(const unsigned char **der, long len);
	int (*keep)(void *stack, void *item);
};

static bool is_of_kind(const struct pem_kind *kind, const char *name)
{
	for (const char *const *known = kind->names; *known; known++)
		if (strcmp(name, *known) == 0)
			return true;
	return false;
}

// One block into the stack; false after a complaint.
static bool keep_block(const struct pem_place *place, const struct pem_kind *kind, void *stack,
        int number, const unsigned char *der, long len)
{
	const unsigned char *at = der;
	void *item = kind->parse(&at, len);
	if (!item) {
		pem_complain(place, "%s %d does not parse (%s); expected %s", kind->names[0],
		        number, library_words(), kind->purpose.expected);
		return false;
	}
	CHECK(kind->keep(stack, item) > 0);
	if (at == der + len)
		return true;
	pem_complain(place, "%s %d has %ld bytes behind its end", kind->names[0], number,
	        (long)(der + len - at));
	return false;
}

static bool read_blocks(
        const struct pem_place *place, const struct pem_kind *kind, struct str text, void *stack)
{
	BIO *in = BIO_new_mem_buf(text.at, (int)text.len);
	CHECK(in);
	char *name = NULL, *header = NULL, other[64] = "";
	unsigned char *der = NULL;
	long len = 0;
	int number = 0;
	bool good = true;
	ERR_clear_error();
	while (good && PEM_read_bio_ex(in, &name, &header, &der, &len, PEM_FLAG_SECURE) == 1) {
		if (is_of_kind(kind, name))
			good = keep_block(place, kind, stack, ++number, der, len);
		else
			snprintf(other, sizeof(other), "%s", name);
		// A key may stand among them.
		OPENSSL_secure_free(name);
		OPENSSL_secure_free(header);
		OPENSSL_secure_clear_free(der, (size_t)len);
	}
	BIO_free(in);
	bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
	if (good && !at_end) {
		pem_complain(place, "is damaged after %d good block%s (%s); expected %s", number,
		        number == 1 ? "" : "s", library_words(), kind->purpose.expected);
		good = false;
	} else if (good && !number) {
		pem_complain(place, "holds %s, but no %s; expected %s",
		        *other ? other : "nothing readable", kind->names[0],
		        kind->purpose.expected);
		good = false;
	}
	ERR_clear_error();
	return good;
}

static bool load(const struct pem_place *place, const struct pem_kind *kind, void *stack)
{
	struct buffer text = {0};
	bool loaded = read_file(place, &kind->purpose, &text) &&
	              read_blocks(place, kind, buffer_str(&text), stack);
	wipe(&text);
	return loaded;
}

static void *parse_certificate(const unsigned char **der, long len)
{
	return d2i_X509(NULL, der, len);
}

static int keep_certificate(void *stack, void *item)
{
	return sk_X509_push(stack, item);
}

STACK_OF(X509) * pem_certificates(const struct pem_place *place, const char *expected)
{
	const struct pem_kind kind = {{"CERTIFICATE", "X509 CERTIFICATE"}, {.expected = expected},
	        parse_certificate, keep_certificate};
	STACK_OF(X509) *stack = sk_X509_new_null();
	CHECK(stack);
	if (load(place, &kind, stack))
		return stack;
	sk_X509_pop_free(stack, X509_free);
	return NULL;
}

static void *parse_list(const unsigned char **der, long len)
{
	return d2i_X509_CRL(NULL, der, len);
}

static int keep_list(void *stack, void *item)
{
	return sk_X509_CRL_push(stack, item);
}

STACK_OF(X509_CRL) * pem_lists(const struct pem_place *place)
{
	static const struct pem_kind kind = {{"X509 CRL"},
	        {.expected = "certificate revocation lists (X509 CRL)"}, parse_list, keep_list};
	STACK_OF(X509_CRL) *stack = sk_X509_CRL_new_null();
	CHECK(stack);
	if (load(place, &kind, stack))
		return stack;
	sk_X509_CRL_pop_free(stack, X509_CRL_free);
	return NULL;
}

// Nobody is there to type it: without this the library would ask the terminal.
static int no_password(char *bytes, int size, int writing, void *asked)
{
	(void)bytes, (void)size, (void)writing;
	*(bool *)asked = true;
	return -1;
}

// The block's bytes lie in memory of our own, so that they can be wiped: PEM_read_bio_PrivateKey
// leaves pieces of the text behind.
static EVP_PKEY *parse_key(struct str text, bool *encrypted)
{
	BIO *in = BIO_new_mem_buf(text.at, (int)text.len);
	unsigned char *der = NULL;
	char *name = NULL;
	long len = 0;
	EVP_PKEY *key = NULL;
	CHECK(in);
	ERR_clear_error();
	if (PEM_bytes_read_bio_secmem(
	            &der, &len, &name, PEM_STRING_EVP_PKEY, in, no_password, encrypted) == 1) {
		const unsigned char *at = der;
		*encrypted = strcmp(name, PEM_STRING_PKCS8) == 0;
		key = *encrypted ? NULL : d2i_AutoPrivateKey(NULL, &at, len);
	}
	OPENSSL_secure_free(name);
	OPENSSL_secure_clear_free(der, (size_t)len);
	BIO_free(in);
	return key;
}

EVP_PKEY *pem_private_key(const struct pem_place *place, const struct config_run_as *reader)
{
	const struct purpose purpose = {"an unencrypted PRIVATE KEY", true, reader};
	struct buffer text = {0};
	EVP_PKEY *key = NULL;
	bool encrypted = false;
	if (read_file(place, &purpose, &text)) {
		key = parse_key(buffer_str(&text), &encrypted);
		if (!key && encrypted)
			pem_complain(place,
			        "is encrypted; expected %s "
			        "(openssl pkey -in ... -out ...)",
			        purpose.expected);
		else if (!key)
			pem_complain(place,
			        "holds no private key that can be read (%s); expected %s",
			        library_words(), purpose.expected);
	}
	ERR_clear_error();
	wipe(&text);
	return key;
}
