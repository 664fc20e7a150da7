#include "policy/spiffe.h"

enum { TRUST_DOMAIN_MAX = 255 };

static bool is_lower_or_digit(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_segment_byte(char c)
{
	return is_lower_or_digit(c) || (c >= 'A' && c <= 'Z') || c == '.' || c == '_' || c == '-';
}

// What stands in for a refused byte: the sentence that helps most.
static const char *trust_domain_fault(char c)
{
	if (c >= 'A' && c <= 'Z')
		return "the trust domain must be in lower case";
	switch (c) {
	case ':':
		return "the trust domain must not have a port";
	case '@':
		return "the trust domain must not have user information";
	case '%':
		return "percent-encoding is not allowed";
	case '?':
		return "a query is not allowed";
	case '#':
		return "a fragment is not allowed";
	case '*':
		return "the trust domain is always literal, never a wildcard";
	default:
		return "the trust domain may hold only a-z, 0-9, '.', '_' and '-'";
	}
}

static const char *path_fault(char c)
{
	switch (c) {
	case '%':
		return "percent-encoding is not allowed";
	case '?':
		return "a query is not allowed";
	case '#':
		return "a fragment is not allowed";
	case '*':
		return "'*' must be a whole path segment of a pattern";
	default:
		return "a path segment may hold only a-z, A-Z, 0-9, '.', '_' and '-'";
	}
}

// Takes the first segment off a path that begins with '/'; false when the path is used up.
static bool next_segment(struct str *path, struct str *segment)
{
	if (path->len == 0)
		return false;
	struct str rest = str_skip(*path, 1);
	const char *slash = str_find_byte(rest, '/');
	*segment = str_of(rest.at, slash ? (size_t)(slash - rest.at) : rest.len);
	*path = str_skip(rest, segment->len);
	return true;
}

static bool is_star(struct str segment)
{
	return str_eq(segment, STR("*"));
}

static const char *check_trust_domain(struct str trust_domain)
{
	if (trust_domain.len == 0)
		return "the trust domain is empty";
	if (trust_domain.len > TRUST_DOMAIN_MAX)
		return "the trust domain is longer than 255 bytes";
	for (size_t i = 0; i < trust_domain.len; i++) {
		char c = trust_domain.at[i];
		if (!is_lower_or_digit(c) && c != '.' && c != '_' && c != '-')
			return trust_domain_fault(c);
	}
	return NULL;
}

static const char *check_segment(struct str segment, bool stars)
{
	if (segment.len == 0)
		return "the path has an empty segment or a trailing slash";
	if (str_eq(segment, STR(".")) || str_eq(segment, STR("..")))
		return "the path has a dot segment";
	if (stars && is_star(segment))
		return NULL;
	for (size_t i = 0; i < segment.len; i++)
		if (!is_segment_byte(segment.at[i]))
			return path_fault(segment.at[i]);
	return NULL;
}

static const char *check_path(struct str path, bool stars)
{
	struct str segment;
	while (next_segment(&path, &segment)) {
		const char *fault = check_segment(segment, stars);
		if (fault)
			return fault;
	}
	return NULL;
}

// SPIFFE-ID, section 2: the one grammar of IDs and patterns; `stars` makes it a pattern.
static const char *split(struct str text, bool stars, struct spiffe_id *id)
{
	static const struct str scheme = {"spiffe://", 9};
	if (text.len > SPIFFE_ID_MAX)
		return "it is longer than 2048 bytes";
	if (!str_starts(text, scheme))
		return "it must begin with spiffe://";
	struct str rest = str_skip(text, scheme.len);
	const char *slash = str_find_byte(rest, '/');
	size_t domain_len = slash ? (size_t)(slash - rest.at) : rest.len;
	*id = (struct spiffe_id){text, str_of(rest.at, domain_len), str_skip(rest, domain_len)};
	const char *fault = check_trust_domain(id->trust_domain);
	if (fault)
		return fault;
	// Section 2.1 allows an ID of the trust domain alone, but it names the domain's authority
	// and no workload.
	if (id->path.len == 0)
		return stars ? "it has no path; end it with /* for every workload of the trust "
		               "domain"
		             : "it has no path, so it names a trust domain and no workload";
	return check_path(id->path, stars);
}

bool spiffe_id_parse(struct str text, struct spiffe_id *id, const char **why)
{
	*why = split(text, false, id);
	return *why == NULL;
}

bool spiffe_pattern_parse(struct str text, struct spiffe_pattern *pattern, const char **why)
{
	struct spiffe_id parts = {0};
	*why = split(text, true, &parts);
	*pattern = (struct spiffe_pattern){parts.text, parts.trust_domain, parts.path};
	return *why == NULL;
}

// Takes a final `/*` off: what is left must match segment for segment, then one or more follow.
static bool cut_final_star(struct str *path)
{
	if (!str_ends(*path, STR("/*")))
		return false;
	path->len -= 2;
	return true;
}

// Both walks take the segments two paths have in common; false at the first that cannot agree.
static bool wide_takes_common(struct str *wide, struct str *narrow)
{
	struct str a, b;
	while (wide->len && narrow->len && next_segment(wide, &a) && next_segment(narrow, &b))
		if (!is_star(a) && !str_eq(a, b))
			return false;
	return true;
}

static bool common_can_agree(struct str *one, struct str *other)
{
	struct str a, b;
	while (one->len && other->len && next_segment(one, &a) && next_segment(other, &b))
		if (!is_star(a) && !is_star(b) && !str_eq(a, b))
			return false;
	return true;
}

bool spiffe_pattern_match(const struct spiffe_pattern *pattern, const struct spiffe_id *id)
{
	if (!str_eq(pattern->trust_domain, id->trust_domain))
		return false;
	struct str want = pattern->path, have = id->path;
	bool open = cut_final_star(&want);
	return wide_takes_common(&want, &have) && want.len == 0 && open == (have.len > 0);
}

bool spiffe_pattern_covers(const struct spiffe_pattern *wide, const struct spiffe_pattern *narrow)
{
	if (!str_eq(wide->trust_domain, narrow->trust_domain))
		return false;
	struct str outer = wide->path, inner = narrow->path;
	bool outer_open = cut_final_star(&outer), inner_open = cut_final_star(&inner);
	if (!wide_takes_common(&outer, &inner) || outer.len)
		return false;
	return outer_open ? inner_open || inner.len > 0 : !inner_open && inner.len == 0;
}

bool spiffe_pattern_overlaps(const struct spiffe_pattern *a, const struct spiffe_pattern *b)
{
	if (!str_eq(a->trust_domain, b->trust_domain))
		return false;
	struct str one = a->path, other = b->path;
	bool one_open = cut_final_star(&one), other_open = cut_final_star(&other);
	if (!common_can_agree(&one, &other))
		return false;
	if (one_open && other_open)
		return true;
	// The open one needs at least one more segment; two closed ones need equally many.
	return one_open == (other.len > 0) && other_open == (one.len > 0);
}

const struct spiffe_pattern *spiffe_pattern_nearest(
        const struct spiffe_pattern *patterns, size_t count, struct str id)
{
	const struct spiffe_pattern *nearest = NULL;
	size_t longest = 0;
	for (size_t i = 0; i < count; i++) {
		struct str text = patterns[i].text;
		size_t common = 0;
		while (common < text.len && common < id.len && text.at[common] == id.at[common])
			common++;
		if (!nearest || common > longest) {
			nearest = &patterns[i];
			longest = common;
		}
	}
	return nearest;
}
