# SPDX-License-Identifier: Apache-2.0
#
# Installation, packages and archives; included by the Makefile.

PREFIX ?= /usr
DESTDIR ?=
# Of the commit: what is packed bears no other time, so that it is the same twice.
EPOCH = $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null),0)
VERSION = $(shell scripts/version.sh "$$(sed -n 1p $(B)/version)" $(EPOCH))
# Debian's names of our architectures are Go's.
DEB = $(B)/kmesh-node_$(VERSION)_$(ARCH).deb
DIST = $(B)/dist
SHARE := $(B)/share

.PHONY: install uninstall share deb dist archive test-package

# What the binary says of itself; that of another architecture does not run here.
share: $(SHARE)/.complete
$(SHARE)/.complete: $(B)/kmesh-node
	$(call say,SHARE,$(SHARE))
	$(Q)rm -rf $(SHARE) && mkdir -p $(SHARE)
	$(Q)SOURCE_DATE_EPOCH=$(EPOCH) $< man >$(SHARE)/kmesh-node.8
	$(Q)for s in bash zsh fish; do $< completion $$s >$(SHARE)/kmesh-node.$$s || exit 1; done
	$(Q)touch $@
ifneq ($(CROSS),)
$(B)/kmesh-node: native
.PHONY: native
native: | native-bpf
	$(Q)env -u CC $(MAKE) -s ARCH=$(NATIVE)
endif

install: $(BIN) share ## onto this host, or below DESTDIR=; PREFIX=/usr
	$(Q)scripts/install.sh --prefix '$(PREFIX)' --destdir '$(DESTDIR)' --binary $(BIN) --share $(SHARE)

uninstall: ## take away what `install` put there
	$(Q)scripts/uninstall.sh --prefix '$(PREFIX)' --destdir '$(DESTDIR)'

deb: $(BIN) share ## build/kmesh-node_VERSION_ARCH.deb
	$(Q)SOURCE_DATE_EPOCH=$(EPOCH) packaging/deb.sh $(ARCH) $(BIN) $(SHARE) $(VERSION) $(DEB)

archive: $(BIN) share
	$(Q)SOURCE_DATE_EPOCH=$(EPOCH) packaging/archive.sh $(BIN) $(SHARE) kmesh-node-$(VERSION)-linux-$(ARCH) $(DIST)

dist: ## archives for amd64 and arm64 in build/dist/, with SHA256SUMS
	$(Q)rm -rf $(DIST)
	$(Q)env -u CC $(MAKE) archive ARCH=$(NATIVE)
	$(Q)env -u CC $(MAKE) archive ARCH=$(if $(filter arm64,$(NATIVE)),amd64,arm64)
	$(Q)cd $(DIST) && sha256sum *.tar.gz >SHA256SUMS && cat SHA256SUMS

test-package: ## installation, packages and archives, the arm64 one under emulation (root)
	$(Q)MAKE='$(MAKE)' test/package/run.sh

# The proof of `make up`, for the machine that is emulated.
$(B)/test/arm64/demo: $(wildcard test/demo/*.go) go.mod
	$(call say,GO,$@)
	$(Q)GOARCH=arm64 CGO_ENABLED=0 $(GO) build -buildvcs=false -trimpath -o $@ ./test/demo
