#include "gateway/admin_page_files.h"

#include "base/embed.h"

// A test fails when an older copy was linked.
#define FILE_OF_PAGE(file) EMBEDDED("gateway/page/" file)

EMBED("admin_page_html", FILE_OF_PAGE("page.html"));
EMBED("admin_page_style", FILE_OF_PAGE("page.css"));
EMBED("admin_page_script", FILE_OF_PAGE("model.js") FILE_OF_PAGE("chart.js") FILE_OF_PAGE("view.js")
                                   FILE_OF_PAGE("page.js"));
