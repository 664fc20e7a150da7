// Which build this is: the tag or commit it was made from. Constant; any thread.
#ifndef GATEWAY_VERSION_H
#define GATEWAY_VERSION_H

const char *version_text(void);

#endif
