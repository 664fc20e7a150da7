#include "gateway/libcurl.h"

#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define SONAME "libcurl.so.4"
#define VERSION_MIN 0x075700  // has every option that we set
#define VERSION_MIN_TEXT "7.87.0"

// Packagers' tools read here what they cannot see among the libraries that are linked
// (systemd.io/ELF_DLOPEN_METADATA), and deploy/sbom does: a note, as ELF has them.
#define NOTE                                                                                       \
	"[{\"feature\":\"tracing\",\"description\":\"Export of spans\","                           \
	"\"priority\":\"recommended\",\"soname\":[\"" SONAME "\"]}]"
static const struct {
	uint32_t name_size, text_size, type;
	char name[4];
	_Alignas(uint32_t) char text[sizeof(NOTE)];
} note __attribute__((used, section(".note.dlopen"), aligned(4))) = {
        sizeof("FDO"), sizeof(NOTE), 0x407c0c0a, "FDO", NOTE};

struct libcurl libcurl;

static const struct {
	const char *name;
	size_t at;
} functions[] = {
#define FUNCTION(name) {"curl_" #name, offsetof(struct libcurl, name)},
        LIBCURL_FUNCTIONS(FUNCTION)
#undef FUNCTION
};

static const char *find_functions(void *library)
{
	for (size_t i = 0; i < ARRAY_LEN(functions); i++) {
		void *found = dlsym(library, functions[i].name);
		if (!found)
			return dlerror();
		memcpy((char *)&libcurl + functions[i].at, &found, sizeof(found));
	}
	return NULL;
}

static const char *judge_version(void)
{
	static char why[128];
	const curl_version_info_data *found = libcurl.version_info(CURLVERSION_NOW);
	if (found->version_num >= VERSION_MIN)
		return NULL;
	snprintf(why, sizeof(why), SONAME ": its version is %s, " VERSION_MIN_TEXT " is needed",
	        found->version);
	return why;
}

const char *libcurl_load(void)
{
	static bool loaded;
	if (loaded)
		return NULL;
	void *library = dlopen(SONAME, RTLD_NOW | RTLD_LOCAL);
	const char *why = library ? find_functions(library) : dlerror();
	if (!why)
		why = judge_version();
	loaded = !why;
	return why;
}
