#include "tls/pki.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "tls/mint.h"

// The first line of every file, by which a later run knows its own. PEM readers skip it.
static const char marker[] = "# made by `tollgate pki`: throwaway, never for service\n";

enum { DAY_S = 86400, LIFE_S = 30 * DAY_S, SKEW_S = 300 };

enum span { SPAN_NOW, SPAN_PAST };

static const struct recipe {
	const char *name, *common_name, *names, *what;
	enum mint_role role;
	enum span span;
	bool foreign;  // issued by the untrusted root
} recipes[] = {
        {"gateway", "tollgate",
                "DNS:localhost,IP:127.0.0.1,IP:::1,URI:spiffe://cluster.local/ns/edge/sa/tollgate",
                "the gateway's own, for localhost", MINT_GATEWAY, SPAN_NOW, false},
        {"web", "web", "URI:spiffe://cluster.local/ns/web/sa/web", "a client", MINT_CLIENT,
                SPAN_NOW, false},
        {"cart", "cart", "URI:spiffe://cluster.local/ns/shop/sa/cart", "a client", MINT_CLIENT,
                SPAN_NOW, false},
        {"other", "other", "URI:spiffe://other.example/ns/x/sa/y",
                "a client of another trust domain", MINT_CLIENT, SPAN_NOW, false},
        {"expired", "expired", "URI:spiffe://cluster.local/ns/web/sa/web",
                "a client whose certificate ended yesterday", MINT_CLIENT, SPAN_PAST, false},
        {"revoked", "revoked", "URI:spiffe://cluster.local/ns/web/sa/web",
                "a client that ca.crl revokes", MINT_CLIENT, SPAN_NOW, false},
        {"untrusted", "untrusted", "URI:spiffe://cluster.local/ns/web/sa/web",
                "a client of untrusted-ca.pem, which nobody trusts", MINT_CLIENT, SPAN_NOW, true},
};

static const char *const authority_files[] = {"ca.pem", "ca.key", "ca.crl", "untrusted-ca.pem"};

struct pki {
	const char *directory;
	int directory_fd;
	int64_t now_s;
	struct minted authority, foreign;
	X509_CRL *list;
};

static bool complain(const struct pki *pki, const char *name, const char *what)
{
	fprintf(stderr, "tollgate: %s/%s: %s\n", pki->directory, name, what);
	return false;
}

// An empty file is what an interrupted run leaves behind.
static bool is_ours(int file)
{
	char start[sizeof(marker) - 1];
	ssize_t count = read(file, start, sizeof(start));
	return count == 0 ||
	       (count == (ssize_t)sizeof(start) && memcmp(start, marker, sizeof(start)) == 0);
}

static bool may_write(const struct pki *pki, const char *name)
{
	int file = openat(pki->directory_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (file < 0)
		return errno == ENOENT || complain(pki, name, strerror(errno));
	bool ours = is_ours(file);
	close(file);
	return ours || complain(pki, name,
	                       "is there already and not made by `tollgate pki`; "
	                       "expected a directory of its own");
}

// All or nothing: no file is touched where one of them is somebody's own.
static bool may_write_all(const struct pki *pki)
{
	bool may = true;
	char name[64];
	for (size_t i = 0; i < ARRAY_LEN(authority_files); i++)
		may &= may_write(pki, authority_files[i]);
	for (size_t i = 0; i < ARRAY_LEN(recipes); i++) {
		snprintf(name, sizeof(name), "%s.pem", recipes[i].name);
		may &= may_write(pki, name);
		snprintf(name, sizeof(name), "%s.key", recipes[i].name);
		may &= may_write(pki, name);
	}
	return may;
}

static bool write_whole(int file, struct str text)
{
	while (text.len) {
		ssize_t written = write(file, text.at, text.len);
		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return false;
		text = str_skip(text, (size_t)written);
	}
	return true;
}

// Takes `content` over. The mode is set before the first byte, whatever an older file had.
static bool write_file(
        const struct pki *pki, const char *name, mode_t mode, BIO *content, const char *what)
{
	char *text;
	long len = BIO_get_mem_data(content, &text);
	int flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW;
	int file = openat(pki->directory_fd, name, flags, mode);
	bool good = file >= 0 && fchmod(file, mode) == 0 &&
	            write_whole(file, str_of(text, (size_t)len));
	if (file >= 0)
		good = close(file) == 0 && good;
	if (!good)
		complain(pki, name, strerror(errno));
	else
		printf("%s/%-16s  %s\n", pki->directory, name, what);
	BIO_free(content);
	return good;
}

static BIO *content_new(void)
{
	BIO *content = BIO_new(BIO_s_mem());
	CHECK(content && BIO_puts(content, marker) > 0);
	return content;
}

static bool write_certificate(
        const struct pki *pki, const char *name, X509 *certificate, const char *what)
{
	BIO *content = content_new();
	CHECK(PEM_write_bio_X509(content, certificate) == 1);
	return write_file(pki, name, 0644, content, what);
}

static bool write_key(const struct pki *pki, const char *name, EVP_PKEY *key, const char *what)
{
	BIO *content = content_new();
	CHECK(PEM_write_bio_PKCS8PrivateKey(content, key, NULL, NULL, 0, NULL, NULL) == 1);
	return write_file(pki, name, 0600, content, what);
}

static bool write_list(const struct pki *pki)
{
	BIO *content = content_new();
	CHECK(PEM_write_bio_X509_CRL(content, pki->list) == 1);
	return write_file(pki, "ca.crl", 0644, content, "revokes `revoked`");
}

static bool write_authorities(const struct pki *pki)
{
	return write_certificate(pki, "ca.pem", pki->authority.certificate, "the root to trust") &&
	       write_key(pki, "ca.key", pki->authority.key, "its key") && write_list(pki) &&
	       write_certificate(pki, "untrusted-ca.pem", pki->foreign.certificate,
	               "another root, to be trusted by nobody");
}

static struct minted mint_recipe(const struct pki *pki, const struct recipe *recipe)
{
	bool past = recipe->span == SPAN_PAST;
	struct mint_order order = {
	        .common_name = recipe->common_name,
	        .names = recipe->names,
	        .role = recipe->role,
	        .from_s = past ? pki->now_s - LIFE_S : pki->now_s - SKEW_S,
	        .to_s = past ? pki->now_s - DAY_S : pki->now_s + LIFE_S,
	};
	return mint(&order, recipe->foreign ? &pki->foreign : &pki->authority);
}

static bool write_recipe(struct pki *pki, const struct recipe *recipe)
{
	char certificate_name[64], key_name[64];
	struct minted made = mint_recipe(pki, recipe);
	snprintf(certificate_name, sizeof(certificate_name), "%s.pem", recipe->name);
	snprintf(key_name, sizeof(key_name), "%s.key", recipe->name);
	if (strcmp(recipe->name, "revoked") == 0)
		pki->list = mint_list(&pki->authority, made.certificate, pki->now_s - SKEW_S,
		        pki->now_s + LIFE_S);
	bool good = write_certificate(pki, certificate_name, made.certificate, recipe->what) &&
	            write_key(pki, key_name, made.key, "its key");
	mint_fini(&made);
	return good;
}

static struct minted mint_authority(const struct pki *pki, const char *common_name)
{
	struct mint_order order = {
	        .common_name = common_name,
	        .names = "URI:spiffe://cluster.local",
	        .role = MINT_AUTHORITY,
	        .from_s = pki->now_s - SKEW_S,
	        .to_s = pki->now_s + LIFE_S,
	};
	return mint(&order, NULL);
}

static bool write_all(struct pki *pki)
{
	pki->authority = mint_authority(pki, "tollgate throwaway CA");
	pki->foreign = mint_authority(pki, "tollgate untrusted CA");
	bool good = true;
	for (size_t i = 0; i < ARRAY_LEN(recipes) && good; i++)
		good = write_recipe(pki, &recipes[i]);
	good = good && write_authorities(pki);
	X509_CRL_free(pki->list);
	mint_fini(&pki->foreign);
	mint_fini(&pki->authority);
	return good;
}

int pki_write(const char *directory)
{
	struct pki pki = {.directory = directory, .now_s = clock_wall_ns() / NS_PER_S};
	if (mkdir(directory, 0755) != 0 && errno != EEXIST) {
		fprintf(stderr, "tollgate: %s: cannot be made: %s\n", directory, strerror(errno));
		return 1;
	}
	pki.directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (pki.directory_fd < 0) {
		fprintf(stderr, "tollgate: %s: %s; expected a directory\n", directory,
		        strerror(errno));
		return 1;
	}
	bool good = may_write_all(&pki) && write_all(&pki);
	close(pki.directory_fd);
	return good ? 0 : 1;
}
