#include "gateway/upgrade_config.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/older.h"
#include "gateway/replace.h"
#include "policy/policy.h"

enum { EXIT_GOOD = 0, EXIT_FAILED = 1, EXIT_BAD = 2, EXIT_OLDER = 3 };

// Of what is not there config_read tells.
static bool may_be_replaced(const char *path)
{
	struct stat status;
	if (stat(path, &status) < 0 || S_ISREG(status.st_mode))
		return true;
	fprintf(stderr, "tollgate: %s: is no regular file, and no other is replaced\n", path);
	return false;
}

static bool find_edits(const char *path, struct edits *edits, struct config_problems *problems)
{
	struct config *config = config_parse_offline(edits->text, path, problems);
	if (config)
		policy_free(policy_compile(config, NULL, problems));
	bool good = problems->count == 0 && older_rewrite(config, edits, problems);
	config_free(config);
	return good;
}

static bool show(const struct edits *edits, const char *path)
{
	struct buffer diff = {0};
	edits_diff(edits, path, &diff);
	bool shown = fwrite(buffer_data(&diff), 1, buffer_len(&diff), stdout) ==
	                     buffer_len(&diff) &&
	             fflush(stdout) == 0;
	config_forget(&diff);
	if (!shown)
		fprintf(stderr, "tollgate: %s: the difference cannot be shown: %m\n", path);
	return shown;
}

static bool replace(const struct edits *edits, const char *path)
{
	struct buffer text = {0};
	edits_apply(edits, edits->count, &text);
	bool replaced = replace_file(path, buffer_str(&text));
	config_forget(&text);
	return replaced;
}

static int finish(const struct edits *edits, const char *path, bool write)
{
	if (!edits->count) {
		fprintf(stderr, "%s: nothing to rewrite\n", path);
		return EXIT_GOOD;
	}
	if (write && !replace(edits, path))
		return EXIT_FAILED;
	if (!show(edits, path))
		return EXIT_FAILED;
	return write ? EXIT_GOOD : EXIT_OLDER;
}

int upgrade_config(const char *path, bool write)
{
	struct config_problems problems = {0};
	struct buffer text = {0};
	if (write && !may_be_replaced(path))
		return EXIT_FAILED;
	bool read = config_read(path, &text, &problems);
	struct edits edits = {.text = buffer_str(&text)};
	int status = EXIT_BAD;
	if (read && find_edits(path, &edits, &problems))
		status = finish(&edits, path, write);
	else
		config_problems_print(&problems, STDERR_FILENO);
	edits_fini(&edits);
	config_forget(&text);
	config_problems_fini(&problems);
	return status;
}
