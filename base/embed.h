// A file of the repository as text within the program, so that there is one copy of it. Assembled
// from the root of the repository, where every build runs; the Makefile knows which objects hold
// which files.
//
//   extern const char limit_script[];
//   EMBED("limit_script", EMBEDDED("gateway/limit_script.lua"));
#ifndef BASE_EMBED_H
#define BASE_EMBED_H

// Several files stand one after the other; a NUL follows the last.
#define EMBED(name, files)                                                                         \
	__asm__(".pushsection .rodata\n"                                                           \
	        ".global " name "\n"                                                               \
	        ".type " name ", %object\n" name ":\n" files ".byte 0\n"                           \
	        ".size " name ", . - " name "\n"                                                   \
	        ".popsection\n")
#define EMBEDDED(file) ".incbin \"" file "\"\n"

#endif
