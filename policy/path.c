#include "policy/path.h"

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static bool is_unreserved(int byte)  // RFC 3986, 2.3
{
	return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
	       (byte >= '0' && byte <= '9') || byte == '-' || byte == '.' || byte == '_' ||
	       byte == '~';
}

static const char *check_raw(char c)
{
	unsigned char byte = (unsigned char)c;
	if (byte <= ' ' || byte == 0x7f)
		return "the target holds a space or control byte";
	if (byte >= 0x80)
		return "the target holds a byte that is not ASCII";
	if (byte == '#')
		return "the target holds a fragment";
	return NULL;
}

// The byte that an escape at the beginning of `s` stands for; -1 when there is none.
static int escaped_byte(struct str s)
{
	if (s.len < 3 || *s.at != '%')
		return -1;
	int high = hex_value(s.at[1]), low = hex_value(s.at[2]);
	return high < 0 || low < 0 ? -1 : high * 16 + low;
}

// UTF-8 longer than it need be (RFC 3629, 3): a lenient decoder makes a slash of %C0%AF.
static bool is_overlong(int byte, int next)
{
	int most = byte == 0xC0 || byte == 0xC1 ? 0xBF
	           : byte == 0xE0               ? 0x9F
	           : byte == 0xF0               ? 0x8F
	                                        : 0;
	return next >= 0x80 && next <= most;
}

static const char *check_escaped(int byte, struct str rest)
{
	if (is_overlong(byte, escaped_byte(rest)))
		return "the path holds an overlong escape";
	switch (byte) {
	case '/':
		return "the path holds an escaped slash";
	case '\\':
		return "the path holds an escaped backslash";
	default:
		return byte < ' ' || byte == 0x7f ? "the path holds an escaped control byte" : NULL;
	}
}

// RFC 3986, 6.2.2: unreserved escapes decoded, the others in upper case. `out` grows by at most
// raw.len.
static const char *append_segment(struct str raw, struct str *segment, char *out)
{
	static const char digits[] = "0123456789ABCDEF";
	size_t len = 0;
	for (size_t i = 0; i < raw.len; i++) {
		const char *fault = raw.at[i] == '\\' ? "the path holds a backslash"
		                                      : check_raw(raw.at[i]);
		if (fault)
			return fault;
		if (raw.at[i] != '%') {
			out[len++] = raw.at[i];
			continue;
		}
		int byte = escaped_byte(str_skip(raw, i));
		if (byte < 0)
			return "the path holds a '%' without two hexadecimal digits";
		i += 2;
		fault = check_escaped(byte, str_skip(raw, i + 1));
		if (fault)
			return fault;
		if (is_unreserved(byte)) {
			out[len++] = (char)byte;
		} else {
			out[len++] = '%';
			out[len++] = digits[byte / 16];
			out[len++] = digits[byte % 16];
		}
	}
	*segment = str_of(out, len);
	return NULL;
}

static bool is_dots(struct str s)
{
	return str_eq(s, STR(".")) || str_eq(s, STR(".."));
}

// Servers differ on whether `..;x` and `%2e%2e` climb. Nobody honest sends them.
static const char *check_dots(struct str raw, struct str segment)
{
	if (is_dots(segment) && !is_dots(raw))
		return "the path holds an escaped dot segment";
	size_t dots = 0;
	while (dots < segment.len && segment.at[dots] == '.')
		dots++;
	struct str rest = str_skip(segment, dots);
	if ((dots == 1 || dots == 2) &&
	        (str_starts(rest, STR(";")) || str_starts(rest, STR("%3B"))))
		return "the path holds a dot segment with parameters";
	return NULL;
}

struct output {
	char *at;
	size_t len;
	bool open;  // the last segment was empty or a dot segment: the path ends with a slash
};

// RFC 3986, 5.2.4, with repeated slashes merged; but climbing above the root is refused.
static const char *add_segment(struct str raw, struct output *output)
{
	struct str segment;
	const char *fault = append_segment(raw, &segment, output->at + output->len + 1);
	if (!fault)
		fault = check_dots(raw, segment);
	if (fault)
		return fault;
	output->open = segment.len == 0 || is_dots(segment);
	if (!output->open) {
		output->at[output->len] = '/';
		output->len += 1 + segment.len;
	} else if (segment.len == 2) {
		if (output->len == 0)
			return "the path climbs above the root";
		while (output->at[--output->len] != '/')
			;
	}
	return NULL;
}

// Everything but the slash before it; false at the end. `rest` begins with '/'.
static bool next_segment(struct str *rest, struct str *segment)
{
	if (rest->len == 0)
		return false;
	*rest = str_skip(*rest, 1);
	const char *slash = str_find_byte(*rest, '/');
	*segment = str_of(rest->at, slash ? (size_t)(slash - rest->at) : rest->len);
	*rest = str_skip(*rest, segment->len);
	return true;
}

static struct str finish(struct output *output)
{
	if (output->open || output->len == 0)
		output->at[output->len++] = '/';
	return str_of(output->at, output->len);
}

bool path_normalise(struct str target, struct arena *arena, struct path *path, const char **why)
{
	*why = str_starts(target, STR("/")) ? NULL : "the target does not begin with '/'";
	if (*why)
		return false;
	const char *mark = str_find_byte(target, '?');
	struct str rest = str_of(target.at, mark ? (size_t)(mark - target.at) : target.len);
	path->query = str_skip(target, rest.len);
	for (size_t i = 0; !*why && i < path->query.len; i++)
		*why = check_raw(path->query.at[i]);
	if (*why)
		return false;
	// A segment is first written behind its slash and may then be dropped: hence the spare
	// bytes.
	struct output output = {.at = arena_alloc(arena, rest.len + 2)};
	struct str segment;
	while (!*why && next_segment(&rest, &segment))
		*why = add_segment(segment, &output);
	if (*why)
		return false;
	path->path = finish(&output);
	return true;
}

// Only escapes that path_normalise let pass: printable or beyond ASCII, two digits each.
static size_t decode(struct str segment, char *out)
{
	size_t len = 0;
	for (size_t i = 0; i < segment.len; i++) {
		char c = segment.at[i];
		if (c == '%') {
			c = (char)(hex_value(segment.at[i + 1]) * 16 +
			           hex_value(segment.at[i + 2]));
			i += 2;
		}
		out[len++] = c;
	}
	return len;
}

struct str path_as_matched(struct str path, struct arena *arena)
{
	if (!str_find_byte(path, ';') && !str_find_byte(path, '%'))
		return path;
	struct output output = {.at = arena_alloc(arena, path.len + 1)};
	struct str segment;
	while (next_segment(&path, &segment)) {
		const char *semicolon = str_find_byte(segment, ';');
		if (semicolon)
			segment.len = (size_t)(semicolon - segment.at);
		output.open = segment.len == 0;
		if (output.open)
			continue;
		output.at[output.len++] = '/';
		output.len += decode(segment, output.at + output.len);
	}
	return finish(&output);
}

struct str path_pattern_prefix(struct str pattern)
{
	return str_ends(pattern, STR("/*")) ? str_of(pattern.at, pattern.len - 1) : (struct str){0};
}

bool path_pattern_valid(struct str pattern, const char **why)
{
	struct str prefix = path_pattern_prefix(pattern), path = prefix.len ? prefix : pattern;
	struct arena arena = {0};
	struct path normal;
	*why = NULL;
	if (!str_starts(pattern, STR("/")))
		*why = "a path pattern begins with '/'";
	else if (str_find_byte(path, '*'))
		*why = "'*' stands only at the end, as /*; elsewhere write %2A";
	else if (str_find_byte(path, '?'))
		*why = "a path pattern has no query";
	else if (str_find_byte(path, ';'))
		*why = "paths are matched without their parameters; leave out ';' and what follows";
	else if (path_normalise(path, &arena, &normal, why) && !str_eq(normal.path, path))
		*why = "it is never matched as written: leave out dot segments, double slashes and "
		       "needless escapes, and write the others in upper case";
	arena_fini(&arena);
	return *why == NULL;
}

bool path_literal_valid(struct str path, const char **why)
{
	struct arena arena = {0};
	struct path normal;
	*why = NULL;
	if (str_find_byte(path, '*'))
		*why = "'*' stands for nothing here; for the character write %2A";
	else if (str_find_byte(path, '?'))
		*why = "the query is the one of the request";
	else if (path_normalise(path, &arena, &normal, why) && !str_eq(normal.path, path))
		*why = "no request is ever passed on like that: leave out dot segments, double "
		       "slashes and needless escapes, and write the others in upper case";
	arena_fini(&arena);
	return *why == NULL;
}

struct str path_below(struct str path, struct str prefix)
{
	size_t segments = 0;
	struct str segment;
	for (size_t i = 1; i < prefix.len; i++)
		segments += prefix.at[i] == '/';
	// Those that path_as_matched left out were no part of the prefix.
	while (segments && next_segment(&path, &segment))
		segments -= segment.len > 0 && segment.at[0] != ';';
	return path;
}
