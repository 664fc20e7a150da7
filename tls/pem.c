#include "tls/pem.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buffer.h"

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

static bool read_all(FILE *file, struct buffer *text)
{
	size_t count;
	do {
		count = fread(buffer_room(text, CHUNK), 1, CHUNK, file);
		buffer_added(text, count);
	} while (count && buffer_len(text) <= FILE_BYTES_MAX);
	return !ferror(file);
}

static bool looks_like_pem(struct str text)
{
	return memmem(text.at, text.len, "-----BEGIN ", strlen("-----BEGIN "));
}

// A silent false for an empty name: reading the config has complained of that.
static bool read_file(const struct pem_place *place, const char *expected, struct buffer *text)
{
	if (!place->file->text.len)
		return false;
	char *name = must_copy(place->file->text.at, place->file->text.len);
	FILE *file = fopen(name, "re");
	free(name);
	bool read = file && read_all(file, text);
	int error = errno;
	if (file)
		fclose(file);
	if (!read)
		pem_complain(place, "cannot be read: %s; expected a PEM file with %s",
		        strerror(error), expected);
	else if (buffer_len(text) > FILE_BYTES_MAX)
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

// What a file is made of: parses one block, or says why it does not parse.
struct pem_kind {
	const char *names[3];  // of the blocks that count, NULL-ended
	const char *expected;
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
		        number, library_words(), kind->expected);
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
	while (good && PEM_read_bio(in, &name, &header, &der, &len) == 1) {
		if (is_of_kind(kind, name))
			good = keep_block(place, kind, stack, ++number, der, len);
		else
			snprintf(other, sizeof(other), "%s", name);
		OPENSSL_free(name);
		OPENSSL_free(header);
		OPENSSL_free(der);
	}
	BIO_free(in);
	bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
	if (good && !at_end) {
		pem_complain(place, "is damaged after %d good block%s (%s); expected %s", number,
		        number == 1 ? "" : "s", library_words(), kind->expected);
		good = false;
	} else if (good && !number) {
		pem_complain(place, "holds %s, but no %s; expected %s",
		        *other ? other : "nothing readable", kind->names[0], kind->expected);
		good = false;
	}
	ERR_clear_error();
	return good;
}

static bool load(const struct pem_place *place, const struct pem_kind *kind, void *stack)
{
	struct buffer text = {0};
	bool loaded = read_file(place, kind->expected, &text) &&
	              read_blocks(place, kind, buffer_str(&text), stack);
	buffer_fini(&text);
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
	const struct pem_kind kind = {
	        {"CERTIFICATE", "X509 CERTIFICATE"}, expected, parse_certificate, keep_certificate};
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
	static const struct pem_kind kind = {
	        {"X509 CRL"}, "certificate revocation lists (X509 CRL)", parse_list, keep_list};
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

EVP_PKEY *pem_private_key(const struct pem_place *place)
{
	static const char expected[] = "an unencrypted PRIVATE KEY";
	struct buffer text = {0};
	EVP_PKEY *key = NULL;
	bool asked = false;
	if (read_file(place, expected, &text)) {
		BIO *in = BIO_new_mem_buf(buffer_data(&text), (int)buffer_len(&text));
		CHECK(in);
		ERR_clear_error();
		key = PEM_read_bio_PrivateKey(in, NULL, no_password, &asked);
		BIO_free(in);
		if (!key && asked)
			pem_complain(place,
			        "is encrypted; expected %s "
			        "(openssl pkey -in ... -out ...)",
			        expected);
		else if (!key)
			pem_complain(place,
			        "holds no private key that can be read (%s); expected %s",
			        library_words(), expected);
		OPENSSL_cleanse(buffer_data(&text), buffer_len(&text));
	}
	ERR_clear_error();
	buffer_fini(&text);
	return key;
}
