// The text of limit_script.lua, for limit_store.c to have Redis run. Constant; any thread.
#ifndef GATEWAY_LIMIT_SCRIPT_H
#define GATEWAY_LIMIT_SCRIPT_H

extern const char limit_script[];

#endif
