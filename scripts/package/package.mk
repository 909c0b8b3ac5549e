# SPDX-License-Identifier: Apache-2.0
# make install        programs, manual pages, units and samples; DESTDIR, prefix, sysconfdir
# make deb            Debian packages, into build/deb/; lintian has nothing to say about them
# make package-test   installs, upgrades and removes them in a root of its own, under its own
#                     systemd; needs root, some minutes, and Debian's mirror the first time
# make walk           does what README.md's "Install" says, as printed, in the same root

DESTDIR    ?=
prefix     ?= /usr/local
sysconfdir ?= /etc
bindir      = $(prefix)/bin
sharedir    = $(prefix)/share/sluiced
docdir      = $(prefix)/share/doc/sluiced
unitdir     = $(prefix)/lib/systemd/system
PLACES      = sed -e 's|/usr/local/bin|$(bindir)|g' -e 's|/etc/sluiced|$(sysconfdir)/sluiced|g'
PUT         = install -D -m 644

install: all
	install -D -t $(DESTDIR)$(bindir) $(BUILD)/sluiced $(BUILD)/sluicectl
	for page in $(wildcard daemon/*.[158] daemon/ctl/*.[158]); do \
	    $(PUT) -t $(DESTDIR)$(prefix)/share/man/man$${page##*.} $$page || exit; done
	install -d $(DESTDIR)$(unitdir) $(DESTDIR)$(sysconfdir)/sluiced
	for unit in systemd/*.service; do \
	    $(PLACES) $$unit >$(DESTDIR)$(unitdir)/$${unit##*/} || exit; done
	$(PUT) systemd/sluiced.sysusers.conf $(DESTDIR)$(prefix)/lib/sysusers.d/sluiced.conf
	$(PUT) systemd/sluiced.tmpfiles.conf $(DESTDIR)$(prefix)/lib/tmpfiles.d/sluiced.conf
	$(PUT) -t $(DESTDIR)$(docdir) README.md
	$(PUT) conf/sluice.yaml $(DESTDIR)$(docdir)/examples/sluiced.yaml
	$(PUT) -t $(DESTDIR)$(sharedir) lib/queue/queue.lua \
	    $(filter-out conf/sluice.yaml conf/redis%,$(wildcard conf/*.* conf/*/*.*))
	for file in redis.conf redis-acl.conf; do \
	    test -e $(DESTDIR)$(sysconfdir)/sluiced/$$file || \
	    $(PLACES) conf/$$file >$(DESTDIR)$(sysconfdir)/sluiced/$$file || exit; done
	$(PUT) scripts/completion/sluicectl.bash \
	    $(DESTDIR)$(prefix)/share/bash-completion/completions/sluicectl
	$(PUT) scripts/completion/_sluicectl $(DESTDIR)$(prefix)/share/zsh/vendor-completions/_sluicectl

deb:
	scripts/deps build package
	scripts/package/build-deb

package-test:
	scripts/deps build test package
	$(MAKE) deb
	$(PYTEST) -n 0 tests/package

# What the walk's "Install" talks to; until Ctrl-C.
simulators:
	scripts/deps build test
	scripts/simulators

walk:
	scripts/deps build test package
	scripts/walk

.PHONY: install deb package-test simulators walk
