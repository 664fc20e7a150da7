// What the parts of a file say about each other: names, addresses, who uses what. Called once the
// whole file is read; adds its problems and resolves each route's backends to their indices.
#ifndef CONF_CROSS_H
#define CONF_CROSS_H

#include "conf/reader.h"

void cross_check(struct reader *reader, const struct tree *root);

#endif
