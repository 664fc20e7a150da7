// Memory for tables that are made for the worst and stay nearly empty: zeroed, and none of its
// pages costs anything until it is touched. (What calloc(3) finds in the heap it wipes, and so
// touches.) The process ends where there is none, as in check.h. Whoever takes it knows its size
// until the end. Any thread.
#ifndef BASE_RESERVE_H
#define BASE_RESERVE_H

#include "base/check.h"

MUST_USE void *must_reserve(size_t size);
void reserve_free(void *block, size_t size);  // NULL is nothing

#endif
