// Writes the seeds of the target `certificate` into a directory: made at every run, since no
// certificate lies in the repository.
//   certificate_seeds DIRECTORY
#include "tests/tls/forge.h"

#define TEXT "c\u00e9\"\\,=+"

static const struct seed {
	const char *name;
	char choice;      // whether our CA signs it anew
	uint8_t version;  // of X.509, less one, whatever else it says
	struct draft draft;
} seeds[] = {
        {"good", '1', 2, {.cn = "client"}},
        {"foreign", '0', 2, {.cn = "client"}},
        {"version_10", '1', 10, {.cn = "client"}},
        {"ca", '1', 2, {.cn = "ca", .ca = true, .names = "URI:spiffe://a/b"}},
        {"constraints", '1', 2,
                {.cn = "n",
                        .usage = "critical,digitalSignature,keyAgreement",
                        .extended = "serverAuth",
                        .name_constraints = "permitted;DNS:x",
                        .unknown_critical = true}},
        {"control_bytes", '1', 2, {.cn = TEXT, .raw_uri = {"spiffe://a/b\0\r\n", 15}}},
        {"two_sans", '1', 2, {.cn = "sans", .second_names = "URI:spiffe://a/c"}},
        {"two_uris", '1', 2, {.cn = "two", .names = "URI:spiffe://a/b,URI:spiffe://a/c,DNS:x"}},
};

static void write_seed(const char *directory, const struct seed *seed, const struct paper *root)
{
	static const uint8_t version_3[] = {0xa0, 0x03, 0x02, 0x01, 0x02};
	char path[4096];
	unsigned char *der = NULL;
	struct paper paper = forge(&seed->draft, root);
	int len = i2d_X509(paper.x509, &der);
	CHECK(len > 0);
	unsigned char *version = memmem(der, (size_t)len, version_3, sizeof(version_3));
	CHECK(version);
	version[sizeof(version_3) - 1] = seed->version;
	snprintf(path, sizeof(path), "%s/%s", directory, seed->name);
	FILE *file = fopen(path, "w");
	CHECK(file && fprintf(file, "%c\n", seed->choice) == 2);
	CHECK(fwrite(der, (size_t)len, 1, file) == 1 && fclose(file) == 0);
	OPENSSL_free(der);
	paper_fini(&paper);
}

int main(int argc, char **argv)
{
	CHECK(argc == 2);
	struct paper root = forge(&(struct draft){.cn = "root", .ca = true}, NULL);
	for (size_t i = 0; i < ARRAY_LEN(seeds); i++)
		write_seed(argv[1], &seeds[i], &root);
	paper_fini(&root);
	return 0;
}
