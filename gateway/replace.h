// A file gets other contents, all or nothing: whoever opens it sees the old ones or the new ones,
// and the old ones go once the new ones are on the disk. Of a symbolic link what it leads to is
// replaced. Mode and owner stay.
#ifndef GATEWAY_REPLACE_H
#define GATEWAY_REPLACE_H

#include <stdbool.h>

#include "base/check.h"
#include "base/str.h"

// False after saying why on stderr; then nothing has changed.
MUST_USE bool replace_file(const char *path, struct str contents);

#endif
