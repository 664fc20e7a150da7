// The addresses of a backend: what its names stand for, at load and whenever DNS says otherwise.
// The configuration that changes is another one, which shares all else with the one before and
// holds it: no thread sees one change.
#ifndef CONF_ENDPOINTS_H
#define CONF_ENDPOINTS_H

#include "base/arena.h"
#include "base/check.h"
#include "conf/config.h"

enum { ENDPOINT_ADDRESSES_MAX = 4096 };  // of a backend

struct endpoints_of_name {
	struct config_address *addresses;
	size_t count;
	bool *refused;  // NULL, or set where there was no place for them
};

// One element for each of the backend's names. Each address of a name has the name's weight, times
// that of its SRV record where the name is a service.
void endpoints_set(
        struct config_backend *backend, const struct endpoints_of_name *found, struct arena *arena);
// The addresses that `config` has of a name, or service, that is written so; none: count 0. They
// are copied into `arena`, without their places. *from is the backend to begin with and becomes
// the one where it was found: names mostly stand in the same order as before.
struct endpoints_of_name endpoints_known(
        const struct config *config, struct str name, size_t *from, struct arena *arena);
// How many places of names have no address.
size_t endpoints_unknown(const struct config *config);
// The same addresses with the same weights, in the same order.
bool endpoints_alike(const struct config_address a[], size_t a_count,
        const struct config_address b[], size_t b_count);

// The addresses, as lookup.h gives them, of the name that `present` is one of; false: those there
// are stay.
typedef bool (*endpoints_find)(
        const struct config_address *present, struct endpoints_of_name *found, void *argument);
// The configuration with the addresses that `find` tells. A name for which there would be no place
// keeps what it has; a backend that keeps all of its addresses keeps its edition. To be freed as
// any other.
MUST_USE struct config *endpoints_readdress(
        struct config *config, endpoints_find find, void *argument);

#endif
