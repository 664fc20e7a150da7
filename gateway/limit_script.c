#include "gateway/limit_script.h"

// Assembled from the root of the repository, where every build runs.
__asm__(".pushsection .rodata\n"
        ".global limit_script\n"
        ".type limit_script, %object\n"
        "limit_script:\n"
        ".incbin \"gateway/limit_script.lua\"\n"
        ".byte 0\n"
        ".size limit_script, . - limit_script\n"
        ".popsection\n");
