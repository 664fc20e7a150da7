// What OpenSSL allocates through: the thread's spare blocks (base/spare.h). A handshake takes and
// returns more than a thousand small blocks, each record two large ones.
#ifndef TLS_MEMORY_H
#define TLS_MEMORY_H

// Before anything else of OpenSSL is used, in the first thread. Whoever came before (a test that
// makes memory run out) stays.
void tls_memory_use_spares(void);

#endif
