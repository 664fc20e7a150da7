# Fuzzing (tests/fuzz/README.md), included by the Makefile.
#   make fuzz SECONDS=60             every target for a minute
#   make fuzz FUZZ_TARGETS=h1_server one target
#   make fuzz-brief                  every seed, then FUZZ_BRIEF_SECONDS of each target, two side by side
#   make fuzz-counted                the same as CI runs it: each target is one test of tests/run

FUZZ_PACKAGES := clang libclang-rt-14-dev
SECONDS ?= 10
FUZZ_BRIEF_SECONDS ?= 3
FUZZ_OUT := build/fuzz
FUZZ_CC := clang
FUZZ_SANITIZE := address,undefined
FUZZ_FLAGS := -std=c11 -g -O1 -fno-omit-frame-pointer -fno-sanitize-recover=undefined
FUZZ_ALL := $(patsubst tests/fuzz/%_fuzz.c,%,$(sort $(wildcard tests/fuzz/*_fuzz.c)))
FUZZ_TARGETS ?= $(FUZZ_ALL)
FUZZ_PROGRAMS := $(FUZZ_ALL:%=$(FUZZ_OUT)/%)
FUZZ_ARCHIVE := $(FUZZ_OUT)/libtollgate.a
# All that a worker is made of; each program takes of it what it needs.
FUZZ_SOURCES := $(filter-out gateway/main.c gateway/gateway.c gateway/status.c gateway/status_report.c \
	$(wildcard gateway/admin*.c),$(foreach folder,$(FOLDERS),$(wildcard $(folder)/*.c)))
FUZZ_OBJECTS := $(patsubst %.c,$(FUZZ_OUT)/%.o,$(FUZZ_SOURCES)) \
	$(patsubst /usr/share/llhttp/%.c,$(FUZZ_OUT)/llhttp/%.o,$(LLHTTP_SOURCES))

# For a Makefile that does not include this file yet.
FUZZ_AGAIN := $(AGAIN) -f Makefile $(shell grep -q 'tests/fuzz/fuzz\.mk' Makefile || echo -f tests/fuzz/fuzz.mk)

.PHONY: fuzz fuzz-brief fuzz-counted fuzz-deps fuzz-build
.PRECIOUS: $(FUZZ_OUT)/%.o

fuzz-deps:
	$(call install,$(PACKAGES) $(FUZZ_PACKAGES))

fuzz-build: $(FUZZ_TARGETS:%=$(FUZZ_OUT)/%)

fuzz: fuzz-deps
	@$(FUZZ_AGAIN) $(JOBS) fuzz-build
	@tests/fuzz/run $(FUZZ_OUT) $(SECONDS) $(FUZZ_TARGETS)

fuzz-brief: fuzz-deps
	@$(FUZZ_AGAIN) $(JOBS) fuzz-build
	@tests/fuzz/run $(FUZZ_OUT) $(FUZZ_BRIEF_SECONDS) $(FUZZ_TARGETS)

# A build that fails is seen as every target failing.
fuzz-counted: fuzz-deps
	-@$(FUZZ_AGAIN) -k $(JOBS) fuzz-build
	@printf '%s\n' $(FUZZ_TARGETS) | xargs -P 2 -I TARGET \
	  tests/run command fuzz/TARGET tests/fuzz/run $(FUZZ_OUT) $(FUZZ_BRIEF_SECONDS) TARGET

$(FUZZ_OUT)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  fuzz  $<"
	$(Q)$(FUZZ_CC) $(CPPFLAGS) $(FUZZ_FLAGS) $(filter-out -Werror,$(WARNINGS)) -fsanitize=fuzzer-no-link,$(FUZZ_SANITIZE) -MMD -MP -c -o $@ $<

$(FUZZ_OUT)/llhttp/%.o: /usr/share/llhttp/%.c
	@mkdir -p $(@D)
	$(Q)$(FUZZ_CC) -I/usr/share/include/llhttp -DLLHTTP_STRICT_MODE=1 $(FUZZ_FLAGS) -w -fsanitize=fuzzer-no-link,$(FUZZ_SANITIZE) \
		-c -o $@ $<

$(FUZZ_OUT)/gateway/version.o: CPPFLAGS += -DTOLLGATE_VERSION='"fuzz"'

# The embedded default is read by the assembler, where -MMD cannot see it.
$(FUZZ_OUT)/conf/default.o: conf/default.yaml

$(FUZZ_ARCHIVE): $(FUZZ_OBJECTS)
	@rm -f $@
	@ar rcs $@ $^

$(FUZZ_PROGRAMS): $(FUZZ_OUT)/%: $(FUZZ_OUT)/tests/fuzz/%_fuzz.o $(FUZZ_ARCHIVE)
	@echo "  link  $@"
	$(Q)$(FUZZ_CC) -fsanitize=fuzzer,$(FUZZ_SANITIZE) -pthread -o $@ $^ $(LDLIBS)

# Seeds that are made at every run.
$(FUZZ_OUT)/certificate: | $(FUZZ_OUT)/certificate_seeds
$(FUZZ_OUT)/certificate_seeds: $(FUZZ_OUT)/tests/fuzz/certificate_seeds.o $(FUZZ_ARCHIVE)
	@echo "  link  $@"
	$(Q)$(FUZZ_CC) -fsanitize=$(FUZZ_SANITIZE) -pthread -o $@ $^ $(LDLIBS)

-include $(patsubst %.o,%.d,$(FUZZ_OBJECTS)) $(FUZZ_ALL:%=$(FUZZ_OUT)/tests/fuzz/%_fuzz.d)
