// For `check`: would `run`, as this user and here, get its logs? It looks and touches nothing: no
// file is made (by another user than the gateway's it would shut the gateway out), no FIFO opened
// (its reader would see an end), no lock tried (a gateway that is running has it, rightly).
#ifndef GATEWAY_AUDIT_REVIEW_H
#define GATEWAY_AUDIT_REVIEW_H

#include <stdbool.h>

#include "conf/config.h"

// Adds a problem for each log that could not be opened, or not be continued. `aloud`: warns on
// stdout of a directory that is not there.
void audit_review(const struct config *config, bool aloud, struct config_problems *problems);

// The problem with one log, at its `path`; `key` is that key.
void audit_problem_add(struct config_problems *problems, const char *key,
        const struct config_output *output, const char *why);

#endif
