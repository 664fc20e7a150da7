#include "gateway/http/h1_scan.h"

#include <string.h>

// Bare CR, bare LF, NUL, a folded line: each is read differently by somebody (RFC 9112, 2.2
// and 5.2).
static const char *line_fault(struct str line)
{
	if (line.len < 2 || line.at[line.len - 2] != '\r')
		return "a line ends in a bare LF";
	size_t control = str_find_control(line);
	if (control == line.len - 2)
		return NULL;
	return line.at[control] == '\r' ? "a bare CR in the head" : "a control byte in the head";
}

enum h1_scan h1_scan(
        struct h1_scanner *scanner, struct str bytes, size_t *block_len, const char **fault)
{
	while (scanner->scanned < bytes.len) {
		const char *lf = memchr(
		        bytes.at + scanner->scanned, '\n', bytes.len - scanner->scanned);
		if (!lf) {
			scanner->scanned = bytes.len;
			break;
		}
		size_t end = (size_t)(lf - bytes.at) + 1;
		struct str line = str_of(bytes.at + scanner->line_start, end - scanner->line_start);
		*fault = line_fault(line);
		if (*fault)
			return H1_SCAN_FAULTY;
		if (*line.at == ' ' || *line.at == '\t') {
			*fault = scanner->line_start ? "a folded line"
			                             : "white space before the first line";
			return H1_SCAN_FAULTY;
		}
		if (*line.at == ':') {
			*fault = "a field without a name";
			return H1_SCAN_FAULTY;
		}
		scanner->scanned = scanner->line_start = end;
		if (line.len == 2) {
			*block_len = end;
			return H1_SCAN_WHOLE;
		}
	}
	return H1_SCAN_MORE;
}
