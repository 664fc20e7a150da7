// The command line: one function a command, each returning the exit status that CONTRACT section 1
// gives it.
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "base/log.h"
#include "conf/lookup.h"
#include "gateway/audit.h"
#include "gateway/gateway.h"
#include "gateway/http/h1_head.h"
#include "gateway/http/h2.h"
#include "gateway/privilege.h"
#include "gateway/redis_reply.h"
#include "gateway/upgrade_config.h"
#include "gateway/version.h"
#include "tls/memory.h"
#include "tls/pki.h"

enum { EXIT_OK = 0, EXIT_USAGE = 2 };

struct command {
	const char *name, *arguments, *what;
	const char *more;  // --help's second paragraph
	int (*run)(const struct command *command, int argc, char **argv);
};

static int usage_error(const struct command *command, const char *what, const char *found)
{
	fprintf(stderr, "tollgate %s: %s%s%s\nusage: tollgate %s %s\n", command->name, what,
	        found ? ": " : "", found ? found : "", command->name, command->arguments);
	return EXIT_USAGE;
}

static int help(const struct command *command)
{
	printf("usage: tollgate %s %s\n\n%s\n%s", command->name, command->arguments, command->what,
	        command->more);
	return EXIT_OK;
}

static bool asks_help(int argc, char **argv)
{
	for (int i = 0; i < argc; i++)
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			return true;
	return false;
}

enum given { GIVEN_CONFIG, GIVEN_LOG_FORMAT, GIVEN_WRITE, GIVEN_OFFLINE, GIVEN_COUNT };

// What each option is called, and what to say when its value is wanting (NULL: it has none) or it
// is there once more.
static const struct {
	char letter;
	const char *name, *wanting, *twice;
} given_rows[GIVEN_COUNT] = {
        [GIVEN_CONFIG] = {'c', "config", "--config needs a file", "--config is given twice"},
        [GIVEN_LOG_FORMAT] = {'l', "log-format", "--log-format needs `logfmt` or `json`",
                "--log-format is given twice"},
        [GIVEN_WRITE] = {'w', "write", NULL, "--write is given twice"},
        [GIVEN_OFFLINE] = {'o', "offline", NULL, "--offline is given twice"},
};

static enum given given_of(int letter)
{
	enum given found = 0;
	while (given_rows[found].letter != letter)
		CHECK(++found < GIVEN_COUNT);
	return found;
}

// Reads --config (`--config FILE`, `--config=FILE`, `-c FILE`), the one that is `other`, and
// nothing else; a usage error is said here. What has no value is given as an empty one.
static int read_options(const struct command *command, int argc, char **argv, enum given other,
        const char *given[GIVEN_COUNT])
{
	const enum given taken[] = {GIVEN_CONFIG, other};
	struct option options[ARRAY_LEN(taken) + 1] = {0};
	for (size_t i = 0; i < ARRAY_LEN(taken); i++) {
		given[taken[i]] = NULL;
		options[i] = (struct option){given_rows[taken[i]].name,
		        given_rows[taken[i]].wanting ? required_argument : no_argument, NULL,
		        given_rows[taken[i]].letter};
	}
	opterr = 0;
	optind = 0;
	for (int letter; (letter = getopt_long(argc, argv, ":c:", options, NULL)) != -1;) {
		if (letter == ':')
			return usage_error(command, given_rows[given_of(optopt)].wanting, NULL);
		if (letter == '?')
			return usage_error(command, "unknown option", argv[optind - 1]);
		enum given which = given_of(letter);
		if (given[which])
			return usage_error(command, given_rows[which].twice, NULL);
		given[which] = optarg ? optarg : "";
	}
	if (optind < argc)
		return usage_error(command, "unexpected argument", argv[optind]);
	return EXIT_OK;
}

static int take_log_format(const struct command *command, const char *format)
{
	if (format && strcmp(format, "json") == 0)
		log_set_format(LOG_JSON);
	else if (format && strcmp(format, "logfmt") != 0)
		return usage_error(command, "--log-format is `logfmt` or `json`, not", format);
	return EXIT_OK;
}

static struct launcher launcher = {-1};  // of `run`

static int command_run(const struct command *command, int argc, char **argv)
{
	const char *given[GIVEN_COUNT];
	int bad = read_options(command, argc, argv, GIVEN_LOG_FORMAT, given);
	if (!bad)
		bad = take_log_format(command, given[GIVEN_LOG_FORMAT]);
	return bad ? bad : gateway_run(given[GIVEN_CONFIG], launcher);
}

static const char missing_config[] = "--config FILE is missing";

static int command_check(const struct command *command, int argc, char **argv)
{
	const char *given[GIVEN_COUNT];
	struct config_problems problems = {0};
	int bad = read_options(command, argc, argv, GIVEN_OFFLINE, given);
	if (bad)
		return bad;
	const char *path = given[GIVEN_CONFIG];
	if (!path)
		return usage_error(command, missing_config, NULL);
	bool offline = given[GIVEN_OFFLINE] != NULL;
	bool good = snapshot_review(path, offline, &problems, expiry_print, (void *)path);
	if (good)
		printf("%s: the configuration is good\n", path);
	else
		config_problems_print(&problems, STDERR_FILENO);
	config_problems_fini(&problems);
	return good ? EXIT_OK : EXIT_USAGE;
}

static int command_upgrade_config(const struct command *command, int argc, char **argv)
{
	const char *given[GIVEN_COUNT];
	int bad = read_options(command, argc, argv, GIVEN_WRITE, given);
	if (bad)
		return bad;
	if (!given[GIVEN_CONFIG])
		return usage_error(command, missing_config, NULL);
	return upgrade_config(given[GIVEN_CONFIG], given[GIVEN_WRITE]);
}

static int command_audit(const struct command *command, int argc, char **argv)
{
	if (argc < 2 || strcmp(argv[1], "verify") != 0)
		return usage_error(command, argc < 2 ? "`verify` is missing" : "unknown word",
		        argc < 2 ? NULL : argv[1]);
	bool ended = argc > 2 && strcmp(argv[2], "--") == 0;  // of the options
	int first = ended ? 3 : 2;
	if (argc <= first)
		return usage_error(command, "no file is named", NULL);
	for (int i = first; i < argc && !ended; i++)
		if (argv[i][0] == '-' && argv[i][1])
			return usage_error(command, "unknown option", argv[i]);
	return audit_verify(argc - first, argv + first);
}

static int command_pki(const struct command *command, int argc, char **argv)
{
	if (argc != 2 || argv[1][0] == '-')
		return usage_error(command,
		        argc < 2 ? "DIR is missing" : "one directory is expected",
		        argc < 2 ? NULL : argv[1]);
	return pki_write(argv[1]);
}

static int command_version(const struct command *command, int argc, char **argv)
{
	if (argc > 1)
		return usage_error(command, "unexpected argument", argv[1]);
	printf("tollgate %s\n%s\nlibuv %s\nllhttp %s\nnghttp2 %s\nhiredis %s\nc-ares %s\n",
	        version_text(), tls_library_version(), uv_version_string(), h1_library_version(),
	        h2_library_version(), redis_library_version(), lookup_library_version());
	return EXIT_OK;
}

static const struct command commands[] = {
        {"run", "[--config FILE] [--log-format FORMAT]",
                "Serves in the foreground; logs to stderr.",
                "Without --config the embedded default configuration serves, with certificates "
                "from ./pki\n"
                "(made by `tollgate pki pki`). SIGTERM drains and exits 0, a second one exits at "
                "once;\n"
                "SIGHUP reloads, SIGUSR2 has the binary that now stands at the path take over.\n"
                "FORMAT is `logfmt` (the default) or `json`, one object a line.\n"
                "Exit status: 0 after a clean drain, 1 could not start, 2 bad usage or "
                "configuration.\n",
                command_run},
        {"check", "--config FILE [--offline]", "Loads everything `run` would and serves nothing.",
                "Every problem is listed as FILE:LINE:COLUMN: KEY.PATH: what is wrong, what was "
                "expected.\n"
                "It speaks for the user who runs it: keys and logs that this user may not have "
                "are problems.\n"
                "A log's directory that is not there yet is a warning. No log is made or "
                "touched.\n"
                "With --offline no name of a server is looked up: for where they are not known, "
                "or DNS is away.\n"
                "Exit status: 0 good, 2 not.\n",
                command_check},
        {"upgrade-config", "--config FILE [--write]",
                "Shows a configuration in its present spelling as a diff.",
                "Older spellings stay good; whatever else the file holds stays as it is, comments "
                "too. With\n"
                "--write the file is replaced, whole or not at all. Neither certificates nor names "
                "are looked for.\n"
                "The diff, which patch takes, has lines of the file as they are, with any "
                "password in them.\n"
                "Exit status: 0 nothing to rewrite, or written; 3 something to rewrite; 1 it could "
                "not be written;\n"
                "2 bad usage or configuration, or what cannot be rewritten, listed as `check` "
                "does.\n",
                command_upgrade_config},
        {"audit", "verify FILE...", "Checks the hash chain of audit files, in the order given.",
                "FILE `-` is standard input. Names the first broken line.\n"
                "Exit status: 0 intact, 3 broken.\n",
                command_audit},
        {"pki", "DIR",
                "Writes a throwaway CA, a gateway certificate and client certificates with SPIFFE "
                "IDs.",
                "For trials and tests; never for service. Exit status: 0 or 1.\n", command_pki},
        {"version", "", "Prints the version, and those of the libraries in use.", "",
                command_version},
};

static int main_help(FILE *out, int status)
{
	fputs("tollgate: an mTLS and rate-limiting gateway for gRPC and HTTP\n\nusage: tollgate "
	      "COMMAND ...\n\n",
	        out);
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		fprintf(out, "  %-14s %-37s %s\n", commands[i].name, commands[i].arguments,
		        commands[i].what);
	fputs("\n`tollgate COMMAND --help` says more.\n", out);
	return status;
}

int main(int argc, char **argv)
{
	if (argc == 1 && strcmp(argv[0], LAUNCHER_NAME) == 0)
		return launcher_main();
	if (argc > 1 && strcmp(argv[1], "run") == 0 && !asks_help(argc - 1, argv + 1))
		launcher_begin(&launcher, argv);
	privilege_harden();
	tls_memory_use_spares();
	if (argc < 2)
		return main_help(stderr, EXIT_USAGE);
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
	        strcmp(argv[1], "help") == 0)
		return main_help(stdout, EXIT_OK);
	const char *name = strcmp(argv[1], "--version") == 0 ? "version" : argv[1];
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		if (strcmp(commands[i].name, name) != 0)
			continue;
		return asks_help(argc - 1, argv + 1)
		               ? help(&commands[i])
		               : commands[i].run(&commands[i], argc - 1, argv + 1);
	}
	fprintf(stderr, "tollgate: unknown command: %s\n", argv[1]);
	return main_help(stderr, EXIT_USAGE);
}
