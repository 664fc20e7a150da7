#include "gateway/admin_page_files.h"

// Assembled from the root of the repository, where every build runs; a test fails when an older
// copy was linked.
#define EMBED(name, files)                                                                         \
	__asm__(".pushsection .rodata\n"                                                           \
	        ".global " name "\n"                                                               \
	        ".type " name ", %object\n" name ":\n" files ".byte 0\n"                           \
	        ".size " name ", . - " name "\n"                                                   \
	        ".popsection\n")
#define FILE_OF_PAGE(file) ".incbin \"gateway/page/" file "\"\n"

EMBED("admin_page_html", FILE_OF_PAGE("page.html"));
EMBED("admin_page_style", FILE_OF_PAGE("page.css"));
EMBED("admin_page_script", FILE_OF_PAGE("model.js") FILE_OF_PAGE("chart.js") FILE_OF_PAGE("view.js")
                                   FILE_OF_PAGE("page.js"));
