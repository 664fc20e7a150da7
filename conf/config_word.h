// The words a configuration is made of, with where each stands in its file. Part of config.h;
// memory is the configuration's. Any thread.
#ifndef CONF_CONFIG_WORD_H
#define CONF_CONFIG_WORD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/str.h"

// Where in the file a value stands, for messages that come later than parsing. Line and column from
// 1; 0 = not in the file.
struct config_mark {
	int line, column;
};

struct config_text {
	struct str text;
	struct config_mark mark;
};

struct config_texts {
	struct config_text *items;
	size_t count;
};

enum config_address_kind { ADDRESS_NONE, ADDRESS_INET, ADDRESS_UNIX };

// `127.0.0.1:8443`, `[::]:8443`, `unix:/path`; for backends also `name:port`, of which DNS says the
// rest.
struct config_address {
	enum config_address_kind kind;
	struct sockaddr_storage socket;
	socklen_t socket_len;
	struct str text;  // as written; a unix path made absolute
	uint32_t weight;  // of a service's server; 0: of no service
	bool unknown;     // a name, of which no address is known: this one leads nowhere
	struct config_mark mark;
};

// What `path:` of a log says: a file (made absolute), or the process's own stdout or stderr, or
// nothing.
enum config_output_kind { OUTPUT_OFF, OUTPUT_FILE, OUTPUT_STDOUT, OUTPUT_STDERR };

struct config_output {
	enum config_output_kind kind;
	struct str path;
	struct config_mark mark;
};

#endif
