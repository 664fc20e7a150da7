// Makes keys, certificates and revocation lists for `tollgate pki`: EC P-256, signed with SHA-256,
// everything an X509-SVID must have. Nothing here touches a file, and nothing serves with it. One
// thread, at the command line; what fails here is memory, which ends the process.
#ifndef TLS_MINT_H
#define TLS_MINT_H

#include <openssl/x509.h>

enum mint_role { MINT_AUTHORITY, MINT_GATEWAY, MINT_CLIENT };

struct mint_order {
	const char *common_name;
	const char *names;  // SANs in OpenSSL's notation, "URI:spiffe://..."
	enum mint_role role;
	int64_t from_s, to_s;
};

struct minted {
	X509 *certificate;
	EVP_PKEY *key;
};

// `issuer` NULL: self-signed. Free with mint_fini.
struct minted mint(const struct mint_order *order, const struct minted *issuer);
void mint_fini(struct minted *minted);

X509_CRL *mint_list(const struct minted *issuer, const X509 *revoked, int64_t from_s, int64_t to_s);

#endif
