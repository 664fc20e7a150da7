#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/tls/desk.h"
#include "tls/secrecy.h"

// Whose group the file (and its directory) belongs to, seen from the process.
enum whose { OWN, FOREIGN };

static const struct row {
	const char *name;
	mode_t file, directory;
	enum whose group;
	bool secret;
	const char *what;  // of the complaint
} rows[] = {
        {"its owner's alone", 0600, 0755, OWN, true, ""},
        {"its owner's, to read alone", 0400, 0755, OWN, true, ""},
        {"its owner's, with every bit", 0700, 0755, OWN, true, ""},
        {"its owner's, of a foreign group", 0600, 0755, FOREIGN, true, ""},
        {"its own group's to read", 0640, 0755, OWN, true, ""},
        {"its own group's alone to read", 0440, 0755, OWN, true, ""},
        {"a foreign group's to read", 0640, 0755, FOREIGN, false,
                "mode 0640: other users may read"},
        {"everybody's to read", 0644, 0755, OWN, false, "mode 0644: other users may read"},
        {"the rest's to read, and not the group's", 0604, 0755, OWN, false, "other users may read"},
        {"everybody's to run", 0711, 0755, OWN, false, "mode 0711: other users may read"},
        {"everybody's in an owner's directory", 0644, 0700, OWN, true, ""},
        {"everybody's in its own group's directory", 0644, 0750, OWN, true, ""},
        {"everybody's in a foreign group's directory", 0644, 0750, FOREIGN, false, "0644"},
        {"a foreign group's in an owner's directory", 0640, 0700, FOREIGN, true, ""},
        {"everybody's in a directory to list, not to enter", 0644, 0744, OWN, true, ""},
        {"everybody's in a directory to enter, not to list", 0644, 0711, OWN, false, "0644"},
        {"everybody's in a sticky directory", 0644, 01777, OWN, false, "0644"},
        {"its group's to write", 0620, 0755, OWN, false, "mode 0620: other users may write"},
        {"its group's to write, in an owner's directory", 0660, 0700, OWN, false, "may write"},
        {"everybody's to write, in an owner's directory", 0602, 0700, OWN, false, "may write"},
        {"everybody's, whatever that is", 0666, 0755, OWN, false,
                "mode 0666: other users may write"},
        {"sticky and set-user-ID, its owner's", 04600, 0755, OWN, true, ""},
};

struct place {
	char top[64], directory[96], file[128];
	struct config_run_as reader;
	struct config_problems problems;
};

// The top directory is open: what closes the way is the one below.
static void lay_out(struct place *place, const struct row *row)
{
	enum { OTHER_GROUP = 54321 };
	*place = (struct place){.top = "/tmp/tollgate-secrecy-XXXXXX"};
	assert_non_null(mkdtemp(place->top));
	assert_int_equal(chmod(place->top, 0755), 0);
	snprintf(place->directory, sizeof(place->directory), "%s/keys", place->top);
	snprintf(place->file, sizeof(place->file), "%s/x.key", place->directory);
	assert_int_equal(mkdir(place->directory, 0700), 0);
	int file = open(place->file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(file >= 0);
	gid_t gid = getegid() ? getegid() : OTHER_GROUP;  // root's own is everybody's friend
	assert_int_equal(fchown(file, (uid_t)-1, gid), 0);
	assert_int_equal(chown(place->directory, (uid_t)-1, gid), 0);
	assert_int_equal(fchmod(file, row->file), 0);
	assert_int_equal(chmod(place->directory, row->directory), 0);
	close(file);
	place->reader = (struct config_run_as){
	        .uid = geteuid(), .gid = row->group == OWN ? gid : gid + 1};
}

static void clear_away(struct place *place)
{
	assert_int_equal(chmod(place->directory, 0700), 0);
	assert_int_equal(unlink(place->file), 0);
	assert_int_equal(rmdir(place->directory), 0);
	assert_int_equal(rmdir(place->top), 0);
	config_problems_fini(&place->problems);
}

static bool judge(struct place *place, const char *path)
{
	const struct config_text name = {str_from(path), {7, 3}};
	const struct pem_place pem = {&name, STR("private_key"), &place->problems};
	int file = open(path, O_RDONLY | O_CLOEXEC);
	bool secret = secrecy_check(&pem, file, &place->reader);
	close(file);
	return secret;
}

static void judge_row(const struct row *row)
{
	struct place place;
	lay_out(&place, row);
	bool secret = judge(&place, place.file);
	struct str what = place.problems.count ? place.problems.items[0].what : STR("");
	if (secret != row->secret || (place.problems.count == 0) != row->secret ||
	        !memmem(what.at, what.len, row->what, strlen(row->what)) ||
	        (!secret && !memmem(what.at, what.len, "chmod 600", strlen("chmod 600"))))
		fail_msg("%s (%04o in %04o): secret=%d, said '%.*s'", row->name,
		        (unsigned)row->file, (unsigned)row->directory, secret, STR_FMT(what));
	clear_away(&place);
}

static void the_mode_and_the_directories_decide(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		judge_row(&rows[i]);
}

static const struct row open_in_a_closed_directory = {"", 0644, 0700, OWN, true, ""};
static const struct row open_in_an_open_directory = {"", 0644, 0755, OWN, false, ""};

// A link into a closed directory leads there; a closed directory that only holds the link is none.
static void what_counts_is_where_a_link_leads(void **state)
{
	(void)state;
	for (int closed = 0; closed < 2; closed++) {
		struct place place;
		char link_directory[96], link[128];
		lay_out(&place, closed ? &open_in_a_closed_directory : &open_in_an_open_directory);
		snprintf(link_directory, sizeof(link_directory), "%s/links", place.top);
		snprintf(link, sizeof(link), "%s/x.key", link_directory);
		assert_int_equal(mkdir(link_directory, closed ? 0755 : 0700), 0);
		assert_int_equal(symlink(place.file, link), 0);
		assert_int_equal(judge(&place, link), closed);
		assert_int_equal(unlink(link), 0);
		assert_int_equal(rmdir(link_directory), 0);
		clear_away(&place);
	}
}

// A directory that belongs to somebody else is closed to everybody but him.
static void another_owner_of_the_directory_is_another_reader(void **state)
{
	(void)state;
	enum { SOMEBODY = 54321 };
	struct place place;
	lay_out(&place, &open_in_a_closed_directory);
	assert_true(judge(&place, place.file));
	if (geteuid() == 0) {  // only root can give a directory away
		assert_int_equal(chown(place.directory, SOMEBODY, (gid_t)-1), 0);
		assert_false(judge(&place, place.file));
		place.reader.uid = SOMEBODY;  // unless he is who will serve
		assert_true(judge(&place, place.file));
	}
	clear_away(&place);
}

static void without_a_user_to_become_it_is_the_process_that_reads(void **state)
{
	(void)state;
	struct place place;
	lay_out(&place, &(struct row){"", 0640, 0755, OWN, true, ""});
	const struct config_text name = {str_from(place.file), {7, 3}};
	const struct pem_place pem = {&name, STR("private_key"), &place.problems};
	int file = open(place.file, O_RDONLY | O_CLOEXEC);
	assert_int_equal(fchown(file, (uid_t)-1, getegid()), 0);
	assert_true(secrecy_check(&pem, file, NULL));
	close(file);
	clear_away(&place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(the_mode_and_the_directories_decide),
	        cmocka_unit_test(what_counts_is_where_a_link_leads),
	        cmocka_unit_test(another_owner_of_the_directory_is_another_reader),
	        cmocka_unit_test(without_a_user_to_become_it_is_the_process_that_reads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
