// Finds the first byte of a text that may not stand in a YAML file, so that junk is named with its
// place before the YAML parser sees it (libyaml gives no line for such errors). Pure; any thread.
#ifndef CONF_UTF8_H
#define CONF_UTF8_H

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "base/str.h"
#include "conf/config.h"

// Takes one character off the front of *text: its code point, or -1 when the bytes are not UTF-8
// (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF). *text must not be empty.
MUST_USE int32_t utf8_take(struct str *text);

struct utf8_fault {
	struct config_mark mark;
	bool malformed;      // not UTF-8; else a character that must not stand in a config file
	uint32_t character;  // or the offending byte
};

// True when every character is a printable one, a tab or a line end.
MUST_USE bool utf8_printable(struct str text, struct utf8_fault *fault);

#endif
