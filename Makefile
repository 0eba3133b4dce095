# SPDX-License-Identifier: Apache-2.0
#
# kmesh-node. `make help` lists the targets. Everything that is built lies in
# build/. V=1 shows the commands; ARCH=arm64 builds for arm64 (with a cross CC).

HOST := $(shell uname -m)
NATIVE := $(patsubst aarch64,arm64,$(patsubst x86_64,amd64,$(HOST)))
ARCH ?= $(NATIVE)
FUZZTIME ?= 30s

B := build
O := $(CURDIR)/$(B)
Q := $(if $(V),,@)
say = $(if $(V),@:,@printf '  %-8s %s\n' $(1) $(2))
first = $(firstword $(shell command -v $(1)))

MACHINE := $(if $(filter arm64,$(ARCH)),aarch64,x86_64)
# Empty where we build for this host, else what a cross tool's name begins with.
CROSS := $(if $(filter $(MACHINE),$(HOST)),,$(MACHINE)-linux-gnu-)
CC := $(if $(filter default,$(origin CC)),$(CROSS)gcc,$(CC))
AR := $(CROSS)ar
# What is made for another architecture lies apart, and takes its libraries from
# Debian packages of that architecture (scripts/sysroot.sh).
N := $(B)$(if $(CROSS),/$(ARCH))
SYSROOT := $(if $(CROSS),$(O)/sysroot-$(ARCH))
SYSROOT_CFLAGS := $(if $(CROSS),-idirafter $(SYSROOT)/usr/include)
SYSROOT_LIBS := $(if $(CROSS),$(SYSROOT)/usr/lib/$(MACHINE)-linux-gnu)
CLANG ?= $(or $(call first,clang-19 clang),$(call lacking,clang))
STRIP ?= $(or $(call first,llvm-strip-19 llvm-strip),$(call lacking,llvm-strip))
GO ?= $(or $(shell scripts/go.sh),$(call lacking,Go 1.21 or later))
lacking = $(error $(1) is not here: run `sudo make install-deps`)

# The submodule where it is checked out, else the unpacked source package.
LIBBPF := $(if $(wildcard libbpf/src/libbpf.c),libbpf,$(B)/libbpf-1.5.0)
LIBBPF_A := $(N)/libbpf/libbpf.a
STORE_A := $(N)/libkmesh-store.a
BIN := $(N)/kmesh-node
# A libelf from 0.189 on may have zstd in it, which a static link has to name.
ELF_LIBS := -lelf -lz $(if $(or $(CROSS),$(shell grep -s ZSTD_ $$($(CC) -print-file-name=libelf.a))),-lzstd)
PKG := github.com/kmesh-net/kmesh-node

PROTO := $(wildcard proto/*/*.proto)
# The C store keeps ads mode's messages; those of workload mode are Go's alone.
PB_C := $(patsubst proto/%.proto,$(B)/pb/%.pb-c.c,$(filter-out proto/workload/% proto/security/%,$(PROTO)))
PB_H := $(PB_C:.c=.h)
BPF := $(patsubst bpf/%.c,$(B)/bpf/%.o,$(wildcard bpf/*.bpf.c))
STORE := $(patsubst %.c,%.o,$(wildcard c/*.c) $(PB_C:$(B)/%=%))
GO_SRC := $(shell find . \( -path ./$(B) -o -path ./libbpf -o -path ./.git \) -prune -o -name '*.go' -print)

CFLAGS ?= -O2 -g
# What is built says nothing of where, so that it is the same anywhere.
NO_PATHS = -ffile-prefix-map=$(CURDIR)=.
C_FLAGS = -std=gnu11 -D_GNU_SOURCE= -Wall -Wextra -Wno-unused-parameter -Werror \
	-I. -Ic -I$(B)/pb -I$(N)/libbpf/include $(SYSROOT_CFLAGS) $(NO_PATHS) -MMD -MP
# v3 (32-bit registers and jumps) is taken by every verifier from 5.10 on. The
# uapi headers are libbpf's: the host's may be older than the programs need. No
# program depends on the architecture: one set of objects is for all.
BPF_FLAGS = -target bpf -mcpu=v3 -g -O2 -std=gnu11 -Wall -Werror \
	$(NO_PATHS) -I. -isystem $(LIBBPF)/include/uapi \
	-isystem $(B)/libbpf/include -idirafter /usr/include/$(HOST)-linux-gnu -MMD -MP
SAN := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer

# cgo files carry no paths of their own. Go's build cache does not see that an
# archive changed, so a digest of both is linked in: it forces a new link.
DIGEST = $$(cat $(LIBBPF_A) $(STORE_A) | sha256sum | cut -c1-12)
export CGO_ENABLED := 1
export CGO_CFLAGS := -O2 -g -I$(CURDIR)/$(N)/libbpf/include -I$(O)/pb -I$(CURDIR)/c -I$(CURDIR) $(SYSROOT_CFLAGS)
export CGO_LDFLAGS := $(CURDIR)/$(STORE_A) $(CURDIR)/$(LIBBPF_A) $(SYSROOT_LIBS:%=-L%) -lprotobuf-c $(ELF_LIBS)
export GOARCH := $(ARCH)
export GOTOOLCHAIN ?= auto
export CC
# Left out of the libraries: what draws text/template in, and guesses at misspelt words,
# which kmesh-node does not make.
TAGS := netgo,osusergo,grpcnotrace,urfave_cli_no_docs,urfave_cli_no_suggest
GOFLAGS_ALL = -buildvcs=false -tags=$(TAGS) -ldflags=-X=$(PKG)/internal/cli.native=$(DIGEST)
GO_CMD = GOFLAGS="$(GOFLAGS_ALL)" $(GO)
LDFLAGS = -s -w -linkmode external -extldflags=-static -X=$(PKG)/internal/cli.native=$(DIGEST) \
	-X=$(PKG)/internal/cli.version=$$(sed -n 1p $(B)/version) -X=$(PKG)/internal/cli.commit=$$(sed -n 2p $(B)/version)

MAKEFLAGS += --no-print-directory
.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all bpf c proto demo test test-unit test-scripts test-c test-e2e test-systemd test-vm fuzz bench lint format up down clean install-deps go-env help native-bpf FORCE
.DEFAULT_GOAL := all

all: $(BIN) ## build/kmesh-node, one static binary (the default)
bpf: $(BPF) ## the BPF objects
c: $(STORE_A) ## the store, as a static library
demo: $(B)/test/demo

# The objects of programs that are no longer there would be embedded too.
$(BIN): $(filter-out %_test.go,$(GO_SRC)) go.mod go.sum $(BPF) $(STORE_A) $(LIBBPF_A) $(B)/version $(B)/overlay.json
	$(call say,GO,$@)
	$(Q)rm -f $(filter-out $(BPF),$(wildcard $(B)/bpf/*.o))
	$(Q)$(GO_CMD) build -trimpath -overlay $(B)/overlay.json -ldflags "$(LDFLAGS)" -o $@ .

$(B)/version: FORCE
	$(Q)mkdir -p $(B)
	$(Q){ git describe --tags --always --dirty 2>/dev/null || echo unknown; \
		git rev-parse HEAD 2>/dev/null || echo unknown; } >$@.new; \
		if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

# It names files of the Go that is found.
$(B)/overlay.json: FORCE
	$(Q)mkdir -p $(B) && GO='$(GO)' scripts/overlay.sh $@.new
	$(Q)if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

$(LIBBPF_A): scripts/libbpf.sh scripts/apt-private.sh
	$(call say,LIBBPF,$@)
	$(Q)src=$$(scripts/libbpf.sh $(B)) && $(MAKE) -s -C "$$src/src" CC='$(CC)' AR='$(AR)' BUILD_STATIC_ONLY=1 NO_PKG_CONFIG=1 \
		EXTRA_CFLAGS='$(SYSROOT_CFLAGS) $(NO_PATHS)' OBJDIR=$(CURDIR)/$(N)/libbpf/obj DESTDIR=$(CURDIR)/$(N)/libbpf INCLUDEDIR=/include \
		$(CURDIR)/$(N)/libbpf/obj/libbpf.a install_headers $(if $(V),,>/dev/null)
	$(Q)cp $(N)/libbpf/obj/libbpf.a $@

ifeq ($(CROSS),)
$(B)/bpf/%.o: bpf/%.c $(LIBBPF_A) Makefile
	$(call say,BPF,$@)
	$(Q)mkdir -p $(@D) && $(CLANG) $(BPF_FLAGS) -c $< -o $@ && $(STRIP) -g $@
else
$(BPF): | native-bpf ;
native-bpf:
	$(Q)env -u CC $(MAKE) -s ARCH=$(NATIVE) bpf
$(BIN) $(LIBBPF_A): | $(SYSROOT)/.complete
$(SYSROOT)/.complete: scripts/sysroot.sh scripts/apt-private.sh
	$(call say,SYSROOT,$@)
	$(Q)scripts/sysroot.sh $(ARCH) $(SYSROOT)
endif

$(B)/pb/%.pb-c.c $(B)/pb/%.pb-c.h: proto/%.proto
	$(call say,PROTOC-C,$<)
	$(Q)mkdir -p $(B)/pb && protoc-c -Iproto --c_out=$(B)/pb $<

$(N)/obj/%.o: %.c Makefile | $(PB_H) $(LIBBPF_A)
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(C_FLAGS) $(CFLAGS) -c $< -o $@

$(N)/obj/%.o: $(B)/%.c Makefile | $(PB_H)
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(C_FLAGS) $(CFLAGS) -c $< -o $@

$(STORE_A): $(STORE:%=$(N)/obj/%)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

include test/test.mk packaging/package.mk
-include $(shell find $(B)/bpf $(N)/obj $(B)/test -name '*.d' 2>/dev/null)

proto: $(B)/bin/protoc-gen-go ## regenerate the Go of proto/ (committed)
	$(Q)PATH="$(O)/bin:$$PATH" protoc -Iproto --go_out=proto --go_opt=paths=source_relative $(PROTO)

$(B)/bin/protoc-gen-go: go.mod
	$(Q)$(GO) build -o $@ google.golang.org/protobuf/cmd/protoc-gen-go

install-deps: ## install what this host lacks for building
	$(Q)scripts/deps.sh build

# Each step makes anew: what `deps.sh` installs is looked for when make starts.
up: install-deps ## this host up in ads mode, or MODE=workload, with its example and a proof
	$(Q)$(MAKE) all demo
	$(Q)scripts/up.sh

down: ## take away all that `up` made
	$(Q)scripts/down.sh

clean: ## remove build/
	$(Q)rm -rf $(B)

go-env: ## print the environment of the Go commands: eval "$(make -s go-env)"
	@$(MAKE) bpf c >&2
	@printf "export %s='%s'\n" CGO_ENABLED 1 CC '$(CC)' CGO_CFLAGS '$(CGO_CFLAGS)' CGO_LDFLAGS '$(CGO_LDFLAGS)' \
		GOTOOLCHAIN '$(GOTOOLCHAIN)' GOFLAGS "$(GOFLAGS_ALL)"

help: ## this list
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
