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
PACKAGES := build-essential pkg-config libuv1-dev libssl-dev node-llhttp libnghttp2-dev libcmocka-dev libyaml-dev libjansson-dev \
	clang libclang-rt-14-dev curl openssl nghttp2-client iproute2
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
CPPFLAGS = -I. -D_GNU_SOURCE -DTOLLGATE_VERSION='"$(VERSION)"' $(shell pkg-config --cflags $(LIBRARIES) 2>/dev/null) \
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

.PHONY: all deps tests units clean layers
all: $(OUT)/tollgate

deps:
	@missing=$$(dpkg-query -W -f '$${Package} $${db:Status-Status}\n' $(PACKAGES) 2>/dev/null | awk '$$2=="installed"{print $$1}' | sort -u | \
	  comm -13 - <(printf '%s\n' $(PACKAGES) | sort)); \
	if [ -n "$$missing" ]; then \
	  as_root=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	  echo "installing: $$(echo $$missing)"; \
	  { $$as_root apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$as_root apt-get install -y -qq $$missing; } >/dev/null; \
	fi

$(OUT)/tollgate: $(OUT)/$(MAIN:.c=.o) $(ARCHIVES)
	@echo "  link  $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# The embedded default is read by the assembler, where -MMD cannot see it.
$(OUT)/conf/default.o: conf/default.yaml

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
$(filter $(OUT)/tests/$(1)/%_test,$(TESTS)): $(OUT)/tests/$(1)/%_test: $(OUT)/tests/$(1)/%_test.o $(foreach f,$(needs_$(subst /,-,$(1))),$(call archive,$(f)))
	@echo "  link  $$@"
	$$(Q)$$(CC) $$(LDFLAGS) -o $$@ $$^ $$(LDLIBS) -lcmocka -lm
endef
$(foreach folder,$(FOLDERS),$(if $(wildcard tests/$(folder)/*_test.c),$(eval $(call test_rules,$(folder)))))

units: $(TESTS)
	@for program in $(TESTS); do ./$$program || exit 1; done

clean:
	rm -rf build

-include $(shell find $(OUT) -name '*.d' 2>/dev/null)
