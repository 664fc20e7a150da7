// Why a file could not be opened or made, in words for whoever reads of it: the sandbox says
// "Permission denied" for what its mode allows, and `chmod` is no help there. Any thread.
#ifndef BASE_DENIED_H
#define BASE_DENIED_H

// `access`: as for access(2), what was wanted of the file at `path`, or of its directory where the
// file was to be made; `error`: what the system said. The system's words, or better ones.
const char *denied_words(const char *path, int access, int error);
// 0, or why this user may make no file in the directory of `path`, as far as its mode says.
int denied_making(const char *path);

#endif
