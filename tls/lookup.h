// Two look-ups of OpenSSL 3.0, made once. A handshake asks two dozen times for its KDF by name, and
// for each key it makes the library walks over all of the names it knows, some four hundred, to
// find those of the key's kind: together a tenth of a resumed handshake. Neither has a hook, so
// lookup.c stands in front of the library's EVP_KDF_fetch and EVP_KEYMGMT_names_do_all, as a
// program's definition may, and answers with what the library said the first time. The KDF is
// key_schedule.h's for who asks with LOOKUP_QUERY; a library linked in, and who asks otherwise,
// gets the library's answer, and under FIPS everybody. Where nobody asks, nothing is spared and
// nothing else changes. Held until the process ends; any thread.
#ifndef TLS_LOOKUP_H
#define TLS_LOOKUP_H

#define LOOKUP_QUERY "?provider=tollgate"  // for SSL_CTX_new_ex; to the library it means nothing

// Kinds of keys, and names of one, that are kept; the library is asked for more each time.
enum { LOOKUP_KINDS = 16, LOOKUP_NAMES = 8 };

void lookup_begin(void);  // finds the library's own; before the first handshake, idempotent

#endif
