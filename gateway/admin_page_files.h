// The files of gateway/page/ as they are, embedded when the program is built: the page with its
// marks, its style, and its script (all .js files as one). Constant data, terminated by NUL.
#ifndef GATEWAY_ADMIN_PAGE_FILES_H
#define GATEWAY_ADMIN_PAGE_FILES_H

extern const char admin_page_html[];
extern const char admin_page_style[];
extern const char admin_page_script[];

#endif
