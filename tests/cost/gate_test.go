package cost

import (
	"maps"
	"strings"
	"testing"
)

// A program with CET asks twice through its linkage table, once through h2_memory.c; a library asks directly.
const sample = `
ob=(1) /opt/tollgate
fl=(1) /src/base/check.c
fn=(1) must_alloc
20 5
cob=(2) ???
cfi=(2) ???
cfn=(2) 0x4010
calls=2 0
20 90
+3 7

fl=(3) /src/gateway/http/h2_memory.c
fn=(3) allocate
7 1
cob=(2)
cfi=(2)
cfn=(2)
calls=1 0
7 40

ob=(2)
fl=(2)
fn=(2)
0 3
cob=(3) /lib/libc.so.6
cfi=(4) malloc.c
cfn=(4) malloc
calls=3 3281
0 120

ob=(4) /lib/libcrypto.so.3
fl=(2)
fn=(5) CRYPTO_realloc
0 1
cob=(3)
cfi=(4)
cfn=(6) realloc
calls=4 3400
0 130

ob=(3)
fl=(4)
fn=(6)
3400 9
cfn=(4)
calls=1 3281
+1 30
`

func TestAllocationsAreOfWhoAskedForThem(t *testing.T) {
	found := read(strings.NewReader(sample), "/opt/tollgate")
	if want := map[string]int{"tollgate": 2, "libnghttp2": 1, "libcrypto": 4}; !maps.Equal(found.allocations, want) {
		t.Errorf("got %v, want %v", found.allocations, want)
	}
}

func TestInstructionsAreWithoutThoseOfTheCalled(t *testing.T) {
	if found := read(strings.NewReader(sample), "/opt/tollgate"); found.instructions != 5+7+1 {
		t.Errorf("got %d", found.instructions)
	}
}

func TestOneMoreARequestIsToldAndOneInTenIsNot(t *testing.T) {
	was := split{"tollgate": 12, "libcrypto": 6}
	for name, one := range map[string]struct {
		is    split
		worse bool
	}{
		"the same":        {was, false},
		"one in ten":      {split{"tollgate": 12.1, "libcrypto": 6}, false},
		"one more":        {split{"tollgate": 13, "libcrypto": 6}, true},
		"of another kind": {split{"tollgate": 12, "libcrypto": 6, "libc": 1}, true},
		"moved elsewhere": {split{"tollgate": 11, "libcrypto": 7}, false},
	} {
		if got := grew(one.is, was); got != one.worse {
			t.Errorf("%s: told %v", name, got)
		}
	}
}
