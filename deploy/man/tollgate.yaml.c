// Writes tollgate.yaml(5) to stdout; a program of the build, never installed.
#include <stdio.h>

#include "conf/config.h"

int main(void)
{
	config_manual(stdout);
	return fflush(stdout) == 0 ? 0 : 1;
}
