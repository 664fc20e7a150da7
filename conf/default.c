#include "conf/config.h"

#include "base/embed.h"

// A test fails when an older copy was linked.
EMBED("config_default_text", EMBEDDED("conf/default.yaml"));
