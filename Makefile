# tollgate: one binary, built into build/.
#
#   make demo        installs, builds, plays the story with real clients
#   make test        installs, builds, runs every test; ends with "N passed, N failed"
#     EFFORT=brief     the default: under half an hour on two cores
#     EFFORT=full      each fuzz target for a minute, more under valgrind and TSan
#   make             build/tollgate, stripped, and build/tollgate.debug, where gdb, valgrind and addr2line find the rest
#     VARIANT=asan     or tsan or debug: beside the release build, in build/VARIANT
#     CC=clang V=1     another compiler; every command shown
#   make run         a gateway with the embedded default configuration
#   make quick       the tests to run while working: units and end to end
#   make fuzz        SECONDS=60 for each target, FUZZ_TARGETS=h1_server for one (tests/fuzz/README.md)
#   make bench       tollgate beside others (bench/README.md); make target: something to aim a load at
#   make install     DESTDIR= and PREFIX=/usr/local; make uninstall; make deb: a Debian package (deploy/README.md)
#   make reference   writes conf/REFERENCE.md anew
#   make layers shape format clean

VARIANT ?= release
ifeq ($(origin CC),default)
CC := gcc
endif
Q := $(if $(V),,@)
OUT     := build$(if $(filter-out release,$(VARIANT)),/$(VARIANT))
SHELL   := /bin/bash
MACHINE := $(shell uname -m)

FOLDERS := base conf tls policy gateway/http gateway/net gateway
PACKAGES := build-essential pkg-config libuv1-dev libssl-dev node-llhttp libnghttp2-dev libyaml-dev libjansson-dev \
	libseccomp-dev libsystemd-dev libcurl4-openssl-dev libhiredis-dev libc-ares-dev curl openssl
DEMO_PACKAGES := redis-server
TEST_PACKAGES := $(DEMO_PACKAGES) libcmocka-dev chromium clang nghttp2-client python3-venv procps systemd prometheus valgrind strace
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unreleased)

WARNINGS := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wundef -Wvla -Wpointer-arith -Wformat=2 \
	-Wno-format-nonliteral -Wformat-security -Wno-missing-field-initializers
# tests/hardening sees each of these in the program; the compiler notes its flags in the debug file for it.
BRANCHES_x86_64  := -fcf-protection=full
BRANCHES_aarch64 := -mbranch-protection=standard
HARDENING := -fPIE -fstack-protector-strong -fstack-clash-protection -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 \
	$(BRANCHES_$(MACHINE)) -grecord-gcc-switches
# Without the prefix the same sources give the same program wherever they lie.
FLAGS_release := -O2 $(HARDENING) -ffile-prefix-map=$(CURDIR)=.
FLAGS_debug   := -O0
FLAGS_asan    := -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
FLAGS_tsan    := -O1 -fsanitize=thread -fno-omit-frame-pointer
# The linker notes what every object has; Debian 12's crt1.o and crti.o would hide what all others have.
NOTES_x86_64  := -Wl,-z,ibt,-z,shstk
LINK_release  := -pie -Wl,-z,relro,-z,now,-z,noexecstack,-z,text,-z,defs,--build-id=sha1 $(NOTES_$(MACHINE))

LLHTTP := $(shell pkg-config --exists libllhttp 2>/dev/null && echo packaged || echo sources)
LIBRARIES := libuv openssl libnghttp2 yaml-0.1 jansson libseccomp libsystemd hiredis libcares $(if $(filter packaged,$(LLHTTP)),libllhttp)
# Of these the headers are enough: loaded when they are wanted.
LOADED := libcurl
# What hiredis says of file offsets would only give open() another symbol, of which tests/inject knows nothing.
CPPFLAGS := -I. -D_GNU_SOURCE $(filter-out -D_FILE_OFFSET_BITS=64,$(shell pkg-config --cflags $(LIBRARIES) $(LOADED) 2>/dev/null)) \
	$(if $(filter sources,$(LLHTTP)),-isystem /usr/share/include/llhttp -DLLHTTP_STRICT_MODE=1)
CFLAGS  = -std=c11 -g $(WARNINGS) $(FLAGS_$(VARIANT)) $(EXTRA_CFLAGS)
LDFLAGS = $(FLAGS_$(VARIANT)) $(LINK_$(VARIANT)) -pthread
LDLIBS  := $(shell pkg-config --libs $(LIBRARIES) 2>/dev/null) -lresolv

# How fast a test is matters less than how long it takes to compile: a sanitizer's checks of its many assertions cost the
# optimizer seven times what they cost without it. What is tested has the flags of its variant. (Unoptimized, the compiler
# warns of overlaps that cannot be; it looks for true ones in the release.)
TEST_FLAGS_release := -O1
TEST_FLAGS_asan    := -O0 -Wno-restrict
TEST_FLAGS_tsan    := $(TEST_FLAGS_asan)
$(OUT)/tests/%.o: CFLAGS += $(TEST_FLAGS_$(VARIANT))
# There are more than a hundred to link, and gold does it in a third of the time; it knows nothing of the release's notes.
TEST_LINK_asan := $(if $(shell command -v ld.gold),-fuse-ld=gold)
TEST_LINK_tsan := $(TEST_LINK_asan)

COMPILED_WITH := $(CC) $(CPPFLAGS) $(CFLAGS) $(TEST_FLAGS_$(VARIANT)) $(LDFLAGS) $(LDLIBS)

MAIN    := gateway/main.c
SOURCES := $(filter-out $(MAIN),$(foreach folder,$(FOLDERS),$(wildcard $(folder)/*.c)))
LLHTTP_SOURCES := $(if $(filter sources,$(LLHTTP)),$(wildcard /usr/share/llhttp/*.c))
LLHTTP_OBJECTS := $(patsubst /usr/share/llhttp/%.c,$(OUT)/llhttp/%.o,$(LLHTTP_SOURCES))
TESTS   := $(patsubst %.c,$(OUT)/%,$(wildcard $(patsubst %,tests/%/*_test.c,$(FOLDERS))))
archive  = $(OUT)/lib$(subst /,-,$(1)).a
# Right to left: each folder needs only what stands left of it.
ARCHIVES := $(foreach folder,gateway gateway/net gateway/http policy tls conf base,$(call archive,$(folder)))

.PHONY: all help deps test-deps test quick units demo run layers shape reference format clean
.DEFAULT_GOAL := all
help:
	@sed -n '3,/^$$/s/^# \{0,1\}//p' Makefile
all: $(OUT)/tollgate

# Installs what is missing of $(1), and says so; quiet when all is there.
define install
	@missing=$$(dpkg-query -W -f '$${Package} $${db:Status-Status}\n' $(1) 2>/dev/null | \
	  awk '$$2 == "installed" { print $$1 }' | sort -u | comm -13 - <(printf '%s\n' $(1) | sort -u)); \
	if [ -n "$$missing" ]; then \
	  as_root=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	  echo "installing:" $$missing; \
	  { $$as_root apt-get update -qq && \
	    DEBIAN_FRONTEND=noninteractive $$as_root apt-get install -y -qq $$missing; } >/dev/null; \
	fi
endef

deps:
	$(call install,$(PACKAGES))

test-deps:
	$(call install,$(PACKAGES) $(TEST_PACKAGES))

# The release program is stripped, and names its debug file for gdb, valgrind and addr2line.
$(OUT)/tollgate: $(OUT)/$(MAIN:.c=.o) $(ARCHIVES)
	@echo "  link  $@"
	$(Q)$(CC) $(LDFLAGS) -o $@.whole $^ $(LDLIBS)
ifeq ($(VARIANT),release)
	$(Q)objcopy --only-keep-debug $@.whole $@.debug
	$(Q)objcopy --strip-all --add-gnu-debuglink=$@.debug $@.whole
endif
	@mv $@.whole $@

# What is embedded is read by the assembler, where -MMD cannot see it.
$(OUT)/conf/default.o: conf/default.yaml
$(OUT)/gateway/admin_page_files.o: $(wildcard gateway/page/*)
$(OUT)/gateway/limit_script.o: gateway/limit_script.lua

# What is compiled with other flags is compiled anew.
$(OUT)/flags: always
	@mkdir -p $(@D)
	@[ "$$(cat $@ 2>/dev/null)" = '$(COMPILED_WITH)' ] || echo '$(COMPILED_WITH)' >$@

# The version stands in one object, made anew when it changes and only then.
$(OUT)/gateway/version.o: CPPFLAGS += -DTOLLGATE_VERSION='"$(VERSION)"'
$(OUT)/gateway/version.o: $(OUT)/version
$(OUT)/version: always
	@mkdir -p $(@D)
	@[ "$$(cat $@ 2>/dev/null)" = "$(VERSION)" ] || echo "$(VERSION)" >$@
.PHONY: always

define folder_rules
$(call archive,$(1)): $(patsubst %.c,$(OUT)/%.o,$(filter-out $(MAIN),$(wildcard $(1)/*.c))) $(if $(filter gateway/http,$(1)),$(LLHTTP_OBJECTS))
	@rm -f $$@
	@ar rcs $$@ $$^
endef
$(foreach folder,$(FOLDERS),$(eval $(call folder_rules,$(folder))))

$(OUT)/%.o: %.c $(OUT)/flags
	@mkdir -p $(@D)
	@echo "  cc    $<"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(OUT)/llhttp/%.o: /usr/share/llhttp/%.c $(OUT)/flags
	@mkdir -p $(@D)
	@echo "  cc    $<"
	$(Q)$(CC) -I/usr/share/include/llhttp -DLLHTTP_STRICT_MODE=1 -g $(FLAGS_$(VARIANT)) -w -c -o $@ $<

# A test of tests/FOLDER links FOLDER and what stands left of it.
needs_base := base
needs_conf := conf base
needs_tls := tls conf base
needs_policy := policy conf base
needs_gateway-http := gateway/http policy tls conf base
needs_gateway-net := gateway/net gateway/http policy tls conf base
needs_gateway := gateway gateway/net gateway/http policy tls conf base
define test_rules
$(patsubst %.c,$(OUT)/%,$(wildcard tests/$(1)/*_test.c)): $(OUT)/tests/$(1)/%_test: $(OUT)/tests/$(1)/%_test.o $(foreach f,$(needs_$(subst /,-,$(1))),$(call archive,$(f)))
	@echo "  link  $$@"
	$$(Q)$$(CC) $$(LDFLAGS) $$(TEST_LINK_$$(VARIANT)) -o $$@ $$^ $$(LDLIBS) -lcmocka -lm
endef
$(foreach folder,$(FOLDERS),$(if $(wildcard tests/$(folder)/*_test.c),$(eval $(call test_rules,$(folder)))))

units: $(TESTS)

# Installing may change what pkg-config says, so what builds runs in a make of its own, after deps.
AGAIN = $(MAKE) --no-print-directory -s
JOBS := -j$(shell nproc)

# Their output is of a line each, whoever ends first.
UNITS_SIDE_BY_SIDE := xargs -n 4 -P $(shell nproc) tests/run units

# Fast to slow; a stage that fails does not stop the next, and the last line counts every case of every kind.
test: test-deps
	@tests/run begin
	@tests/run stage 'the build'
	@tests/run command build $(AGAIN) -k $(JOBS) all units inject build/demo-backend
	@tests/run command layers tests/layers
	@tests/run command shape tests/shape
	@tests/run tap hardening tests/hardening build/tollgate
	@tests/run tap hardening-proof $(AGAIN) hardening-proof
	@tests/run stage 'units, and the story'
	@$(AGAIN) list-units | $(UNITS_SIDE_BY_SIDE)
	@tests/run command demo env PATH="$$(tests/toolchain):$$PATH" $(AGAIN) demo
	@tests/run stage 'the whole'
	$(call go_tests,,$(CURDIR)/build/tollgate,$${TOLLGATE_SLOW:-1},$(GO_WHOLE))
	$(call go_tests,,$(CURDIR)/build/tollgate,$${TOLLGATE_SLOW:-1},./page)
	$(call go_tests,,$(CURDIR)/build/tollgate,$${TOLLGATE_SLOW:-1},-C tracing ./...)
	@tests/run command bench/target env PATH="$$(tests/toolchain):$$PATH" $(AGAIN) target-test
	@tests/run stage 'the package'
	$(call go_tests,packaging/,$(CURDIR)/build/tollgate,1,-C packaging)
	@tests/run stage 'clang'
	@tests/run command clang/build $(AGAIN) $(JOBS) CC=clang OUT=build/clang build/clang/tollgate
	@tests/run tap clang/hardening tests/hardening build/clang/tollgate
	@tests/run tap clang/hardening-proof $(AGAIN) CC=clang hardening-proof
	@tests/run stage 'threads, under TSan'
	@tests/run command tsan/build $(AGAIN) -k $(JOBS) VARIANT=tsan all tsan-units
	@$(AGAIN) VARIANT=tsan list-tsan-units | $(UNITS_SIDE_BY_SIDE)
	$(call go_tests,tsan/,$(CURDIR)/build/tsan/tollgate,3,$(SANITIZED) ./e2e $(TSAN_E2E_$(EFFORT)))
	@tests/run stage 'fuzzing'
	@$(AGAIN) fuzz-counted FUZZ_BRIEF_SECONDS=$(FUZZ_SECONDS_$(EFFORT))
	@tests/run stage 'valgrind'
	@printf '%s\n' $$($(AGAIN) list-valgrind-units) | \
	  xargs -P $(shell nproc) -n 1 tests/run under valgrind tests/valgrind/memcheck
	$(call go_tests,valgrind/,$(CURDIR)/tests/valgrind/tollgate,10,./e2e -parallel 3 -run '$(call tests_of,$(VALGRIND_E2E_$(EFFORT)))')
	@tests/run stage 'the whole, under ASan and UBSan'
	@tests/run command asan/build $(AGAIN) -k $(JOBS) VARIANT=asan all units inject
	@$(AGAIN) VARIANT=asan list-units | $(UNITS_SIDE_BY_SIDE)
	$(call go_tests,asan/,$(CURDIR)/build/asan/tollgate,3,$(SANITIZED) ./e2e ./hostile ./inject ./faults)
	$(call go_tests,asan/,$(CURDIR)/build/asan/tollgate,3,-C tracing ./...)
	@tests/run stage 'the end'
	@tests/run end

# The part to run while working: units and end to end, release build only.
quick: test-deps
	@tests/run begin
	@$(AGAIN) $(JOBS) all units inject
	@tests/run command layers tests/layers
	@$(AGAIN) list-units | $(UNITS_SIDE_BY_SIDE)
	$(call go_tests,,$(CURDIR)/build/tollgate,$${TOLLGATE_SLOW:-1},$(GO_WHOLE))
	$(call go_tests,,$(CURDIR)/build/tollgate,$${TOLLGATE_SLOW:-1},./page)
	$(call go_tests,,$(CURDIR)/build/tollgate,$${TOLLGATE_SLOW:-1},-C tracing ./...)
	@tests/run end

# Bounds the slow parts of `make test`: seconds for each fuzz target, and what runs under the slow tools.
EFFORT ?= brief
ifeq ($(filter brief full,$(EFFORT)),)
$(error EFFORT is brief or full, not '$(EFFORT)')
endif
FUZZ_SECONDS_brief := 3
FUZZ_SECONDS_full  := 60

# What looks at memory that a sanitizer keeps for itself says nothing there.
SANITIZED := -skip '^(TestNoTextOfAKeyStaysInMemory|TestNewcomersAreRefusedBeforeMemoryIsGone)$$'

# Of tests/e2e, by file: what is worth a slow look.
# Modules of their own aside, and the browser, which takes both cores while others measure how long clients wait.
GO_WHOLE := ./backend ./cost ./e2e ./faults ./harness ./hostile ./inject ./script ./tally
# What threads share, and what changes under them.
TSAN_E2E_brief = -run '$(call tests_of,threads reload reload_order reload_live reload_backends backend_trouble rotation \
	upgrade upgrade_hostile drain dns_calls dns_reload dns_start audit audit_log admin admin_status admin_tls metrics log \
	limits limits_kinds limits_places limits_redis limits_redis_waiting limits_redis_change grpc grpc_flow access resumption whole)'
TSAN_E2E_full  :=
VALGRIND_E2E_brief := whole reload drain
VALGRIND_E2E_full  := $(VALGRIND_E2E_brief) admin audit refused routes threads
# All names of tests in these files, as a pattern for `go test -run`.
tests_of = ^($(shell grep -ho '^func Test[A-Za-z0-9_]*' $(1:%=tests/e2e/%_test.go) | cut -c 6- | paste -s -d '|'))$$

# Go tests, reported under a prefix, of a program, with patience, and these arguments of `go test`. That of the release looks
# through the audit logs which the program leaves at the end of tests about other things.
define go_tests
	@export AS=$(1) TOLLGATE=$(2) TOLLGATE_SLOW=$(3) TOLLGATE_VERIFIER=$(CURDIR)/build/tollgate; if go=$$(tests/toolchain); then PATH="$$go:$$PATH" tests/run go $(4); \
	  else tests/run command '$(1)go-toolchain' false; fi
endef

.PHONY: list-units list-tsan-units tsan-units list-valgrind-units
list-units:
	@echo $(TESTS)
# What runs on several threads: buckets, audit lanes, metrics, admin.
TSAN_UNITS := $(filter %/tally_test %/bucket_keys_test %/bucket_reload_test %/bucket_threads_test %/bucket_loans_test %/limits_test %/audit_test %/audit_log_test \
	%/audit_fold_test %/audit_recent_test %/audit_disk_test %/audit_rotation_test %/metrics_threads_test %/admin_test %/admin_connection_test \
	%/admin_deadline_test %/threads_test %/log_test,$(TESTS))
tsan-units: $(TSAN_UNITS)
list-tsan-units:
	@echo $(TSAN_UNITS)
# Some make so many keys, count so far or wait so long that every time is too often; ASan has them all.
VALGRIND_SLOW := %/verify_test %/session_test %/select_test %/ticket_test %/admin_connection_test %/admin_deadline_test \
	%/audit_disk_test %/audit_log_test %/audit_test %/log_test %/hostile_test %/dial_verify_test %/dial_protocol_test \
	%/tls/memory_test %/trust_test %/dial_test %/dial_trust_test %/material_test %/names_test %/route_test \
	%/bucket_threads_test %/bucket_loans_test %/decode_test %/tls/threads_test %/resume_test %/concurrency_test %/tally_test %/shard_test
# valgrind 3.19 does not know seccomp(2).
VALGRIND_UNFIT := %/sandbox_calls_test
VALGRIND_UNITS_brief := $(filter-out $(VALGRIND_UNFIT) $(VALGRIND_SLOW),$(TESTS))
VALGRIND_UNITS_full  := $(filter-out $(VALGRIND_UNFIT),$(TESTS))
list-valgrind-units:
	@echo $(VALGRIND_UNITS_$(EFFORT))

# Does tests/hardening see what it should? With the flags of this compiler, and without one of them at a time.
.PHONY: hardening-proof
hardening-proof:
	@CFLAGS='$(CFLAGS)' LDFLAGS='$(LDFLAGS)' tests/hardening_proof $(CC)

build/demo-backend: tests/demo/backend.c | build/tollgate
	@echo "  link  $@"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $< -lnghttp2

demo:
	$(call install,$(PACKAGES) $(DEMO_PACKAGES))
	@$(AGAIN) $(JOBS) all build/demo-backend
	@tests/demo/demo.sh

# The embedded default configuration, in the foreground; it needs no backend and no files but its throwaway PKI.
run: deps
	@$(AGAIN) $(JOBS) all
	@[ -f pki/gateway.pem ] || build/tollgate pki pki
	build/tollgate run

layers:
	@tests/layers
shape:
	@tests/shape

reference: $(OUT)/tests/conf/reference_test
	REGENERATE=1 $<

format:
	clang-format -i $$(git ls-files '*.c' '*.h')

clean:
	rm -rf build

-include $(shell find $(OUT) -name '*.d' -type f 2>/dev/null)

-include bench/bench.mk tests/fuzz/fuzz.mk tests/inject/inject.mk deploy/deploy.mk
