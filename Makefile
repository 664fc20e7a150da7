# tollgate: one binary, built into build/. `make demo` plays the story, `make test` proves it; both install what they need.
# VARIANT=asan|tsan|debug builds beside the release build, in build/VARIANT.

VARIANT ?= release
ifeq ($(origin CC),default)
CC := gcc
endif
Q := $(if $(V),,@)
OUT     := build$(if $(filter-out release,$(VARIANT)),/$(VARIANT))
SHELL   := /bin/bash

FOLDERS := base conf tls policy gateway/http gateway/net gateway
PACKAGES := build-essential pkg-config libuv1-dev libssl-dev node-llhttp libnghttp2-dev libyaml-dev libjansson-dev \
	curl openssl
TEST_PACKAGES := libcmocka-dev clang nghttp2-client python3-venv procps valgrind
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unreleased)

WARNINGS := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wundef -Wvla -Wpointer-arith -Wformat=2 \
	-Wno-format-nonliteral -Wno-missing-field-initializers
HARDENING := -fPIE -fstack-protector-strong -fcf-protection=full -D_FORTIFY_SOURCE=2
FLAGS_release := -O2 $(HARDENING)
FLAGS_debug   := -O0
FLAGS_asan    := -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
FLAGS_tsan    := -O1 -fsanitize=thread -fno-omit-frame-pointer
LINK_release  := -pie -Wl,-z,relro,-z,now,-z,noexecstack

LLHTTP := $(shell pkg-config --exists libllhttp 2>/dev/null && echo packaged || echo sources)
LIBRARIES := libuv openssl libnghttp2 yaml-0.1 jansson $(if $(filter packaged,$(LLHTTP)),libllhttp)
CPPFLAGS = -I. -D_GNU_SOURCE $(shell pkg-config --cflags $(LIBRARIES) 2>/dev/null) \
	$(if $(filter sources,$(LLHTTP)),-isystem /usr/share/include/llhttp -DLLHTTP_STRICT_MODE=1)
CFLAGS  = -std=c11 -g $(WARNINGS) $(FLAGS_$(VARIANT)) $(EXTRA_CFLAGS)
LDFLAGS = $(FLAGS_$(VARIANT)) $(LINK_$(VARIANT)) -pthread
LDLIBS  = $(shell pkg-config --libs $(LIBRARIES))

MAIN    := gateway/main.c
SOURCES := $(filter-out $(MAIN),$(foreach folder,$(FOLDERS),$(wildcard $(folder)/*.c)))
LLHTTP_SOURCES := $(if $(filter sources,$(LLHTTP)),$(wildcard /usr/share/llhttp/*.c))
LLHTTP_OBJECTS := $(patsubst /usr/share/llhttp/%.c,$(OUT)/llhttp/%.o,$(LLHTTP_SOURCES))
TESTS   := $(patsubst %.c,$(OUT)/%,$(wildcard $(patsubst %,tests/%/*_test.c,$(FOLDERS))))
archive  = $(OUT)/lib$(subst /,-,$(1)).a
# Right to left: each folder needs only what stands left of it.
ARCHIVES := $(foreach folder,gateway gateway/net gateway/http policy tls conf base,$(call archive,$(folder)))

.PHONY: all deps test-deps test quick units demo run layers shape reference format clean
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

$(OUT)/tollgate: $(OUT)/$(MAIN:.c=.o) $(ARCHIVES)
	@echo "  link  $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# The embedded default is read by the assembler, where -MMD cannot see it.
$(OUT)/conf/default.o: conf/default.yaml

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

$(OUT)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  cc    $<"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(OUT)/llhttp/%.o: /usr/share/llhttp/%.c
	@mkdir -p $(@D)
	@echo "  cc    $<"
	$(Q)$(CC) -I/usr/share/include/llhttp -DLLHTTP_STRICT_MODE=1 -O2 -g -fPIE -w -c -o $@ $<

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
	$$(Q)$$(CC) $$(LDFLAGS) -o $$@ $$^ $$(LDLIBS) -lcmocka -lm
endef
$(foreach folder,$(FOLDERS),$(if $(wildcard tests/$(folder)/*_test.c),$(eval $(call test_rules,$(folder)))))

units: $(TESTS)

# Installing may change what pkg-config says, so what builds runs in a make of its own, after deps.
AGAIN = $(MAKE) --no-print-directory -s
JOBS := -j$(shell nproc)

# Fast to slow; a stage that fails does not stop the next, and the last line counts every case of every kind.
test: test-deps
	@tests/run begin
	@$(AGAIN) $(JOBS) all units build/demo-backend
	@tests/run command layers tests/layers
	@tests/run command shape tests/shape
	@tests/run units $$($(AGAIN) list-units)
	@$(AGAIN) go-tests PACKAGES_UNDER_TEST='./backend/... ./tally/... ./e2e/... ./hostile/...'
	@tests/run command demo env PATH="$$(tests/toolchain):$$PATH" $(AGAIN) demo
	@tests/run command clang $(AGAIN) $(JOBS) CC=clang OUT=build/clang build/clang/tollgate
	@$(AGAIN) $(JOBS) VARIANT=tsan tsan-units
	@tests/run units $$($(AGAIN) VARIANT=tsan list-tsan-units)
	@$(AGAIN) $(JOBS) VARIANT=asan all units
	@tests/run units $$($(AGAIN) VARIANT=asan list-units)
	@TOLLGATE=$(CURDIR)/build/asan/tollgate TOLLGATE_SLOW=3 $(AGAIN) go-tests PACKAGES_UNDER_TEST=./e2e/...
	@tests/run end

# The part to run while working: units and end to end, release build only.
quick: test-deps
	@tests/run begin
	@$(AGAIN) $(JOBS) all units
	@tests/run command layers tests/layers
	@tests/run units $$($(AGAIN) list-units)
	@$(AGAIN) go-tests PACKAGES_UNDER_TEST='./...'
	@tests/run end

.PHONY: go-tests list-units list-tsan-units tsan-units
go-tests:
	@if go=$$(tests/toolchain); then PATH="$$go:$$PATH" tests/run go $(PACKAGES_UNDER_TEST); \
	  else tests/run command go-toolchain false; fi
list-units:
	@echo $(TESTS)
# What runs on several threads: buckets, audit lanes, metrics, log.
TSAN_UNITS := $(filter %/bucket_test %/bucket_threads_test %/limit_test %/audit_test %/audit_log_test %/audit_fold_test \
	%/audit_disk_test \
	%/metrics_threads_test %/admin_test %/admin_connection_test %/admin_deadline_test %/threads_test,$(TESTS))
tsan-units: $(TSAN_UNITS)
list-tsan-units:
	@echo $(TSAN_UNITS)

build/demo-backend: tests/demo/backend.c | build/tollgate
	@echo "  link  $@"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $< -lnghttp2

demo: deps
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

-include $(shell find $(OUT) -name '*.d' 2>/dev/null)

-include bench/bench.mk tests/fuzz/fuzz.mk
