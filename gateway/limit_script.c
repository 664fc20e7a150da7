#include "gateway/limit_script.h"

#include "base/embed.h"

EMBED("limit_script", EMBEDDED("gateway/limit_script.lua"));
