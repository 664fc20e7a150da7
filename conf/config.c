#include "conf/config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/denied.h"
#include "conf/cross.h"
#include "conf/reader.h"
#include "conf/tree.h"

static void file_problem(struct config_problems *problems, const char *what, const char *why)
{
	config_problem_add(problems, (struct config_mark){0, 0}, STR(""),
	        "%s%s; expected a readable config file", what, why);
}

void config_forget(struct buffer *text)
{
	if (text->block)
		explicit_bzero(text->block, text->end);
	buffer_fini(text);
}

static bool read_all(int descriptor, struct buffer *text, struct config_problems *problems)
{
	enum { CHUNK = 64 << 10 };
	// Room for all at once: growing would leave what was read in freed memory.
	CHECK(buffer_room(text, TREE_BYTES_MAX + 2 * CHUNK));
	// One byte over the limit is enough for the tree to refuse it.
	while (buffer_len(text) <= TREE_BYTES_MAX) {
		ssize_t got = read(descriptor, buffer_room(text, CHUNK), CHUNK);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			file_problem(problems, "cannot be read: ", strerror(errno));
		if (got <= 0)
			return got == 0;
		buffer_added(text, (size_t)got);
	}
	return true;
}

bool config_read(const char *path, struct buffer *text, struct config_problems *problems)
{
	struct stat status;
	problems->file = arena_str(&problems->arena, str_from(path));
	int descriptor = open(path, O_RDONLY | O_CLOEXEC);
	if (descriptor < 0) {
		file_problem(problems, "cannot be opened: ", denied_words(path, R_OK, errno));
		return false;
	}
	bool read = false;
	if (fstat(descriptor, &status) == 0 && S_ISDIR(status.st_mode))
		file_problem(problems, "is a directory", "");
	else
		read = read_all(descriptor, text, problems);
	close(descriptor);
	return read;
}

static struct str absolute_directory(struct arena *arena, const char *directory)
{
	char *resolved = realpath(directory, NULL);
	struct str absolute = arena_str(arena, str_from(resolved ? resolved : directory));
	free(resolved);
	return str_eq(absolute, STR("/")) ? STR("") : absolute;  // what `/name` is joined to
}

// Who is asked for names.
struct asked {
	bool nobody, forgiving, no_dns;
	const struct config *present;  // NULL, or what is known already
};

static struct config *read_tree(const struct tree *root, const char *name, const char *directory,
        struct asked asked, struct config_problems *problems)
{
	struct config *config = must_alloc(sizeof(*config));
	struct reader reader = {.config = config,
	        .problems = problems,
	        .offline = asked.nobody,
	        .forgiving = asked.forgiving,
	        .silence = asked.no_dns,
	        .no_dns = asked.no_dns,
	        .present = asked.present};
	config->file = arena_str(&config->arena, str_from(name));
	reader.directory = absolute_directory(&config->arena, directory);
	reader_root(&reader, root);
	if (root->kind == TREE_MAP)
		cross_check(&reader, root);
	return config;
}

// NULL only where there is no tree; the caller looks at the problems.
static struct config *parse(struct str text, const char *name, const char *directory,
        struct asked asked, struct config_problems *problems)
{
	struct arena arena = {0};
	struct config *config = NULL;
	problems->file = arena_str(&problems->arena, str_from(name));
	const struct tree *root = tree_parse(text, &arena, problems);
	if (root)
		config = read_tree(root, name, directory, asked, problems);
	arena_wipe(&arena);
	problems->read = true;
	return config;
}

static struct config *parse_at(
        struct str text, const char *path, struct asked asked, struct config_problems *problems)
{
	const char *slash = strrchr(path, '/');
	size_t len = slash ? (size_t)(slash - path) : 1;
	char *directory = must_copy(slash ? path : ".", len ? len : 1);
	struct config *config = parse(text, path, directory, asked, problems);
	free(directory);
	return config;
}

static struct config *if_faultless(struct config *config, const struct config_problems *problems)
{
	if (problems->count == 0)
		return config;
	config_free(config);
	return NULL;
}

struct config *config_parse(
        struct str text, const char *name, const char *directory, struct config_problems *problems)
{
	return if_faultless(parse(text, name, directory, (struct asked){0}, problems), problems);
}

struct config *config_parse_offline(
        struct str text, const char *path, struct config_problems *problems)
{
	return parse_at(text, path, (struct asked){.nobody = true}, problems);
}

static struct config *load(const char *path, struct asked asked, struct config_problems *problems)
{
	struct buffer text = {0};
	struct config *config = NULL;
	if (config_read(path, &text, problems))
		config = parse_at(buffer_str(&text), path, asked, problems);
	config_forget(&text);
	return config;
}

struct config *config_load_faulty(
        const char *path, enum config_lookups lookups, struct config_problems *problems)
{
	struct asked asked = {.forgiving = lookups != CONFIG_LOOKUPS_NEEDED,
	        .no_dns = lookups == CONFIG_LOOKUPS_NONE};
	return load(path, asked, problems);
}

struct config *config_load(const char *path, struct config_problems *problems)
{
	return config_reload(path, NULL, problems);
}

struct config *config_start(const char *path, struct config_problems *problems)
{
	struct asked asked = {.forgiving = true};
	return if_faultless(load(path, asked, problems), problems);
}

struct config *config_reload(
        const char *path, const struct config *present, struct config_problems *problems)
{
	struct asked asked = {.present = present};
	return if_faultless(load(path, asked, problems), problems);
}

void config_each_tls(const struct config *config, config_tls_visit visit, void *argument)
{
	char key[sizeof("listeners[].tls") + 20];
	for (size_t i = 0; i < config->listener_count; i++) {
		snprintf(key, sizeof(key), "listeners[%zu].tls", i);
		visit(&config->listeners[i].tls, str_from(key), argument);
	}
	if (config->admin_tls.tls.mark.line)
		visit(&config->admin_tls.tls, STR("admin.tls"), argument);
	for (size_t i = 0; i < config->backend_count; i++) {
		snprintf(key, sizeof(key), "backends[%zu].tls", i);
		if (config->backends[i].tls.tls.mark.line)
			visit(&config->backends[i].tls.tls, str_from(key), argument);
	}
}

struct config *config_ref(struct config *config)
{
	atomic_fetch_add(&config->further, 1);
	return config;
}

void config_free(struct config *config)
{
	if (!config || atomic_fetch_sub(&config->further, 1) > 0)
		return;
	config_free(config->origin);
	arena_wipe(&config->arena);
	free(config);
}
