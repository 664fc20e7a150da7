#include "gateway/endpoint.h"

#include <stdlib.h>

struct endpoint *endpoint_new(const struct config_address *address)
{
	struct endpoint *endpoint = must_alloc(sizeof(*endpoint));
	endpoint->holders = 1;
	endpoint->address = *address;
	endpoint->address.text = (struct str){0};
	return endpoint;
}

struct endpoint *endpoint_ref(struct endpoint *endpoint)
{
	endpoint->holders++;
	return endpoint;
}

void endpoint_unref(struct endpoint *endpoint)
{
	if (--endpoint->holders == 0)
		free(endpoint);
}
