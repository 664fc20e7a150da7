// For the tests of this folder: a directory of its own, papers and lists written into it, and the
// config of a listener, or of a backend, that names them.
#ifndef TESTS_TLS_DESK_H
#define TESTS_TLS_DESK_H

#include <dirent.h>
#include <fcntl.h>

#include "base/arena.h"
#include "conf/config.h"
#include "tests/tls/forge.h"
#include "tls/tls.h"

struct desk {
	struct arena arena;
	char directory[64];
	struct config_certificate certificates[8];
	struct config_text pattern;
	struct config_tls tls;
	struct config_problems problems;
	int line;  // of the next mark
};

static inline void desk_init(struct desk *desk)
{
	*desk = (struct desk){.directory = "/tmp/tollgate-tls-XXXXXX", .line = 10};
	CHECK(mkdtemp(desk->directory));
	desk->tls.certificates = desk->certificates;
	desk->tls.require_client_certificate = true;
}

static inline void desk_fini(struct desk *desk)
{
	DIR *directory = opendir(desk->directory);
	CHECK(directory);
	for (struct dirent *entry; (entry = readdir(directory));)
		if (entry->d_name[0] != '.')
			CHECK(unlinkat(dirfd(directory), entry->d_name, 0) == 0);
	closedir(directory);
	CHECK(rmdir(desk->directory) == 0);
	config_problems_fini(&desk->problems);
	arena_fini(&desk->arena);
}

// A file of this name as the config would name it, each at a line of its own.
static inline struct config_text desk_text(struct desk *desk, const char *name)
{
	return (struct config_text){
	        arena_printf(&desk->arena, "%s/%s", desk->directory, name), {desk->line++, 7}};
}

static inline struct config_text desk_write(struct desk *desk, const char *name, struct str content)
{
	struct config_text text = desk_text(desk, name);
	FILE *file = fopen(text.text.at, "we");
	CHECK(file && fwrite(content.at, 1, content.len, file) == content.len);
	CHECK(fclose(file) == 0);
	return text;
}

static inline struct config_text desk_write_bio(struct desk *desk, const char *name, BIO *bio)
{
	char *content;
	long len = BIO_get_mem_data(bio, &content);
	struct config_text text = desk_write(desk, name, str_of(content, (size_t)len));
	BIO_free(bio);
	return text;
}

static inline struct config_text desk_certificates(
        struct desk *desk, const char *name, const struct paper *const *papers, size_t count)
{
	BIO *bio = BIO_new(BIO_s_mem());
	for (size_t i = 0; i < count; i++)
		CHECK(PEM_write_bio_X509(bio, papers[i]->x509) == 1);
	return desk_write_bio(desk, name, bio);
}

static inline struct config_text desk_key(
        struct desk *desk, const char *name, const struct paper *paper)
{
	BIO *bio = BIO_new(BIO_s_mem());
	CHECK(PEM_write_bio_PKCS8PrivateKey(bio, paper->key, NULL, NULL, 0, NULL, NULL) == 1);
	return desk_write_bio(desk, name, bio);
}

static inline struct config_text desk_lists(
        struct desk *desk, const char *name, X509_CRL *const *lists, size_t count)
{
	BIO *bio = BIO_new(BIO_s_mem());
	for (size_t i = 0; i < count; i++)
		CHECK(PEM_write_bio_X509_CRL(bio, lists[i]) == 1);
	return desk_write_bio(desk, name, bio);
}

// Serves this paper too; the first is the default.
static inline void desk_serve(struct desk *desk, const struct paper *paper)
{
	char name[32];
	size_t at = desk->tls.certificate_count++;
	snprintf(name, sizeof(name), "gateway%zu.pem", at);
	desk->certificates[at].certificate_chain = desk_certificates(desk, name, &paper, 1);
	snprintf(name, sizeof(name), "gateway%zu.key", at);
	desk->certificates[at].private_key = desk_key(desk, name, paper);
}

static inline void desk_trust(struct desk *desk, const struct paper *const *papers, size_t count)
{
	desk->tls.trusted_ca = desk_certificates(desk, "ca.pem", papers, count);
}

static inline void desk_revoke(struct desk *desk, X509_CRL *const *lists, size_t count)
{
	desk->tls.crl = desk_lists(desk, "ca.crl", lists, count);
}

// From here on it is a backend's; its servers are known by name. What it serves it shows to them.
static inline void desk_dial(struct desk *desk)
{
	desk->tls.side = TLS_OF_BACKEND;
	desk->tls.require_client_certificate = false;
}

// By their SPIFFE IDs; which of them may is the judge's to say.
static inline void desk_know_by_id(struct desk *desk)
{
	desk->pattern = (struct config_text){STR("spiffe://cluster.local/*"), {desk->line++, 7}};
	desk->tls.match_subject_alt_names = (struct config_texts){&desk->pattern, 1};
}

static inline struct tls_context *desk_context(struct desk *desk)
{
	bool dials = desk->tls.side == TLS_OF_BACKEND;
	struct tls_context *context = tls_context_new(&desk->tls,
	        dials ? STR("backends[0].tls") : STR("listeners[0].tls"), &desk->problems);
	if (!context)
		config_problems_print(&desk->problems, STDERR_FILENO);
	return context;
}

#endif
