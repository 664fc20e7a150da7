// Whether the file of a private key is secret: nobody but root and the process itself may read it,
// and nobody else may write it. What counts is the file's mode, or, for reading alone, a directory
// above it that is closed to everybody else. Looks at files and changes none; the config's thread.
#ifndef TLS_SECRECY_H
#define TLS_SECRECY_H

#include "tls/pem.h"

// `descriptor` is the open file. False after a complaint; a warning in the log where the file lies
// open and only its directory keeps it. `reader` is who the process will be, NULL: who it is.
MUST_USE bool secrecy_check(
        const struct pem_place *place, int descriptor, const struct config_run_as *reader);

#endif
