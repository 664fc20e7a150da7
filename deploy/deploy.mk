# Installing and packaging; included by the Makefile. What is made for it lives below $(OUT)/deploy.
#
#   make install [DESTDIR=…] [PREFIX=/usr/local] [SYSCONFDIR=/etc]      make uninstall, with the same
#   make deb      build/tollgate_VERSION_ARCHITECTURE.deb; the same sources and packages give the same bytes
#   make sbom     $(OUT)/deploy/tollgate.cdx.json, what is linked

PREFIX     ?= /usr/local
BINDIR     ?= $(PREFIX)/bin
MANDIR     ?= $(PREFIX)/share/man
DOCDIR     ?= $(PREFIX)/share/doc/tollgate
UNITDIR    ?= $(PREFIX)/lib/systemd/system
SYSUSERDIR ?= $(PREFIX)/lib/sysusers.d
BASHDIR    ?= $(PREFIX)/share/bash-completion/completions
ZSHDIR     ?= $(PREFIX)/share/zsh/site-functions
FISHDIR    ?= $(PREFIX)/share/fish/vendor_completions.d
# Not below PREFIX: logrotate reads one place only, and the service's files are the administrator's.
SYSCONFDIR ?= /etc

# The time that pages, bill and package tell: that of the commit.
ifeq ($(origin SOURCE_DATE_EPOCH),undefined)
SOURCE_DATE_EPOCH := $(shell git log -1 --format=%ct 2>/dev/null || date +%s)
endif
export SOURCE_DATE_EPOCH
DEB_VERSION = $(shell deploy/debian/version '$(VERSION)' '$(SOURCE_DATE_EPOCH)')

DEB_PACKAGES  := debhelper
TEST_PACKAGES += $(DEB_PACKAGES) lintian man-db groff mandoc logrotate zsh fish systemd

# tollgate(1) and the completions say what the program says of itself, tollgate.yaml(5) what the schema does.
MADE := $(OUT)/deploy
$(MADE)/tollgate.1: deploy/man/tollgate.1.in deploy/commands $(OUT)/tollgate
	@mkdir -p $(@D)
	@deploy/commands $(OUT)/tollgate synopsis >$(MADE)/synopsis
	@deploy/commands $(OUT)/tollgate manual >$(MADE)/commands
	@sed -e '/^@SYNOPSIS@$$/{r $(MADE)/synopsis' -e 'd}' -e '/^@COMMANDS@$$/{r $(MADE)/commands' -e 'd}' $< >$@
$(MADE)/tollgate.yaml.5: $(MADE)/man/tollgate.yaml
	@$< >$@
$(MADE)/man/tollgate.yaml: $(OUT)/deploy/man/tollgate.yaml.o $(call archive,conf) $(call archive,base)
	@echo "  link  $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)
$(MADE)/tollgate.bash $(MADE)/tollgate.zsh $(MADE)/tollgate.fish: $(MADE)/tollgate.%: deploy/commands deploy/completion/tollgate.bash \
		$(OUT)/tollgate
	@mkdir -p $(@D)
	@deploy/commands $(OUT)/tollgate $* >$@
$(MADE)/tollgate.cdx.json: deploy/sbom $(OUT)/tollgate $(MADE)/version
	@deploy/sbom $(OUT)/tollgate '$(VERSION)' >$@.whole
	@mv $@.whole $@
$(MADE)/version: always
	@mkdir -p $(@D)
	@[ "$$(cat $@ 2>/dev/null)" = '$(DEB_VERSION) $(SOURCE_DATE_EPOCH)' ] || echo '$(DEB_VERSION) $(SOURCE_DATE_EPOCH)' >$@

MADE_FILES := $(addprefix $(MADE)/,tollgate.1 tollgate.yaml.5 tollgate.bash tollgate.zsh tollgate.fish)
.PHONY: install uninstall deb deb-deps sbom
sbom: $(MADE)/tollgate.cdx.json

# $(call put,FILE,WHERE): with the paths, the version and the date of this installation.
put = @mkdir -p '$(DESTDIR)$(dir $(2))' && sed -e 's|@BINDIR@|$(BINDIR)|g; s|@DOCDIR@|$(DOCDIR)|g; s|@UNITDIR@|$(UNITDIR)|g' \
	-e 's|@SYSCONFDIR@|$(SYSCONFDIR)|g; s|@VERSION@|$(VERSION)|g' \
	-e "s|@DATE@|$$(date -u -d @$(SOURCE_DATE_EPOCH) +%F)|g" $(1) >'$(DESTDIR)$(2)' && chmod 0644 '$(DESTDIR)$(2)'

INSTALLED = $(BINDIR)/tollgate $(MANDIR)/man1/tollgate.1 $(MANDIR)/man5/tollgate.yaml.5 $(BASHDIR)/tollgate $(ZSHDIR)/_tollgate \
	$(FISHDIR)/tollgate.fish $(UNITDIR)/tollgate.service $(SYSUSERDIR)/tollgate.conf $(SYSCONFDIR)/logrotate.d/tollgate \
	$(DOCDIR)/README.md $(DOCDIR)/REFERENCE.md $(if $(BILL),$(DOCDIR)/tollgate.cdx.json) \
	$(addprefix $(DOCDIR)/examples/,$(notdir $(wildcard conf/examples/*.yaml)) tollgate.socket)
# The bill needs the system's list of packages.
BILL := $(if $(shell command -v dpkg-query),$(MADE)/tollgate.cdx.json)

# A configuration that is there stays.
install: $(OUT)/tollgate $(MADE_FILES) $(BILL)
	@install -D -m 0755 $(OUT)/tollgate '$(DESTDIR)$(BINDIR)/tollgate'
	$(call put,$(MADE)/tollgate.1,$(MANDIR)/man1/tollgate.1)
	$(call put,$(MADE)/tollgate.yaml.5,$(MANDIR)/man5/tollgate.yaml.5)
	$(call put,$(MADE)/tollgate.bash,$(BASHDIR)/tollgate)
	$(call put,$(MADE)/tollgate.zsh,$(ZSHDIR)/_tollgate)
	$(call put,$(MADE)/tollgate.fish,$(FISHDIR)/tollgate.fish)
	$(call put,deploy/systemd/tollgate.service,$(UNITDIR)/tollgate.service)
	$(call put,deploy/systemd/tollgate.sysusers,$(SYSUSERDIR)/tollgate.conf)
	$(call put,deploy/tollgate.logrotate,$(SYSCONFDIR)/logrotate.d/tollgate)
	@install -d '$(DESTDIR)$(DOCDIR)/examples'
	@install -m 0644 README.md conf/REFERENCE.md $(BILL) '$(DESTDIR)$(DOCDIR)'
	@install -m 0644 conf/examples/*.yaml '$(DESTDIR)$(DOCDIR)/examples'
	$(call put,deploy/systemd/tollgate.socket,$(DOCDIR)/examples/tollgate.socket)
	$(if $(wildcard $(DESTDIR)$(SYSCONFDIR)/tollgate/tollgate.yaml),,$(call put,deploy/tollgate.yaml,$(SYSCONFDIR)/tollgate/tollgate.yaml))

# What the administrator wrote stays: configuration, keys, logs.
uninstall:
	@rm -f $(INSTALLED:%='$(DESTDIR)%')
	@rmdir '$(DESTDIR)$(DOCDIR)/examples' '$(DESTDIR)$(DOCDIR)' 2>/dev/null || true

deb-deps:
	$(call install,$(PACKAGES) $(DEB_PACKAGES))
deb: deb-deps
	@$(AGAIN) $(JOBS) all deb-here

comma := ,
space := $(subst ,, )
# The debian files belong to a tree of their own, so that nothing is written beside the sources.
.PHONY: deb-here
deb-here: $(OUT)/tollgate $(MADE_FILES) $(BILL)
	@rm -rf $(MADE)/deb $(OUT)/tollgate_*.deb && mkdir -p $(MADE)/deb
	@cp -r deploy/debian $(MADE)/deb/debian
	@sed -i 's/@PACKAGES@/$(subst $(space),$(comma) ,$(strip $(filter-out build-essential curl openssl,$(PACKAGES))))/' $(MADE)/deb/debian/control
	@deploy/debian/write-changelog '$(DEB_VERSION)' '$(SOURCE_DATE_EPOCH)' '$(VERSION)' >$(MADE)/deb/debian/changelog
	@cd $(MADE)/deb && ROOT='$(CURDIR)' OUT='$(OUT)' debian/rules binary >../deb.log 2>&1 || { cat ../deb.log >&2; exit 1; }
	@ls $(OUT)/tollgate_*.deb
