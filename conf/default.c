#include "conf/config.h"

// The file itself, so that there is one copy of it. Assembled from the root of the repository,
// where every build runs; a test fails when an older copy was linked.
__asm__(".pushsection .rodata\n"
        ".global config_default_text\n"
        ".type config_default_text, %object\n"
        "config_default_text:\n"
        ".incbin \"conf/default.yaml\"\n"
        ".byte 0\n"
        ".size config_default_text, . - config_default_text\n"
        ".popsection\n");
