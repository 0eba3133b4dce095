# SPDX-License-Identifier: Apache-2.0
#
# Tests, benchmarks and linters; included by the Makefile. The programs lie in
# build/test/, what the suites said in build/test/log/.

T := $(B)/test

# c/test/NAME.c is a program of its own where it is named here, else a part of
# the unit tests. fuzz_* are libFuzzer targets.
C_PROGRAMS := handoff bench_store
C_FUZZ := $(patsubst c/test/%.c,$(T)/%,$(wildcard c/test/fuzz_*.c))
# What the fuzz targets share with them.
C_SHARED := fake model
C_UNIT := $(filter-out $(C_PROGRAMS:%=c/test/%.c) $(wildcard c/test/fuzz_*.c),$(wildcard c/test/*.c))
C_BINS := $(patsubst c/test/%.c,$(T)/%,$(wildcard $(C_PROGRAMS:%=c/test/%.c)))
SAN_STORE := $(STORE:%=$(T)/san/%)
# Builds that the verifier accepts and that do not work, for the tests of updates.
VARIANTS := $(patsubst test/%.c,$(T)/%.o,$(wildcard test/variant/*/*.bpf.c))
FLOOR := $(patsubst test/bench/%.c,$(T)/%.o,$(wildcard test/bench/*.bpf.c))

# The end-to-end tests have a target of their own.
UNIT = $$($(GO_CMD) list ./... | grep -v -e '/test/e2e$$' -e '/test/systemd$$')

# Made anew after deps.sh, whose tools are looked for when make starts.
test: ## everything: lint, units, sanitizers, fuzzing, end to end, the oldest and newest kernel (root)
	$(Q)scripts/deps.sh test
	$(Q)$(MAKE) all
	$(Q)MAKE='$(MAKE)' KERNELS='$(or $(KERNELS),5.10 newest)' scripts/test.sh lint test-scripts test-unit test-c fuzz \
		test-e2e test-fault test-systemd test-package test-vm

test-unit: $(BPF) $(STORE_A) ## Go unit tests
	$(Q)$(GO_CMD) test -v -count=1 $(UNIT)

test-scripts: ## scripts/ with stand-ins for the package managers
	$(Q)test/scripts/run.sh

test-c: $(T)/store_test ## C unit tests under ASan and UBSan
	$(Q)$(T)/store_test

# Of the end-to-end tests those of the report.
FAULT_TESTS := ^(TestFault|TestUpgradeAndModeChange|TestKilled.*Upgrade)

test-fault: $(BIN) $(T)/e2e $(T)/builds/next ## kills, failing system calls, damage; FAULT_FULL=1: at every place (root)
	$(Q)cd test/e2e && KMESH_FAULT_REPORT=$(CURDIR)/docs/reliability.md $(O)/test/e2e -test.v -test.timeout 3h -test.run '$(FAULT_TESTS)'

test-e2e: $(BIN) $(T)/e2e $(T)/builds/next $(C_BINS) $(VARIANTS) ## end-to-end tests in network namespaces (root)
	$(Q)cd test/e2e && $(O)/test/e2e -test.v -test.timeout 30m -test.skip '$(FAULT_TESTS)'

test-vm: $(BIN) $(T)/e2e ## both modes on Debian's kernels from 5.10 on, in QEMU; KERNELS="5.10 newest": these alone
	$(Q)test/vm/run.sh $(T)/vm

test-systemd: $(BIN) $(T)/systemd share $(SUITE:%=$(B)/tree/%/root) ## the unit and the host scripts under a real systemd (root); SUITE=trixie: that of a Debian suite
	$(Q)cd test/systemd && KMESH_SYSTEMD_TREE=$(SUITE:%=$(O)/tree/%/root) $(O)/test/systemd -test.v -test.timeout 20m

$(B)/tree/%/root: test/systemd/tree.sh
	$(call say,TREE,$@)
	$(Q)test/systemd/tree.sh $* $(@D)

fuzz: $(C_FUZZ) $(BPF) $(STORE_A) ## every fuzz target for FUZZTIME (30s)
	$(Q)GO='$(GO)' GOFLAGS="$(GOFLAGS_ALL)" scripts/fuzz.sh $(FUZZTIME) $(T)

bench: $(BIN) $(T)/bench $(FLOOR) $(C_BINS) ## the figures, each beside its reference (root)
	$(Q)$(T)/bench

lint: $(PB_H) $(BPF) $(STORE_A) $(B)/bin/protoc-gen-go ## all linters
	$(Q)GO='$(GO)' GOFLAGS="$(GOFLAGS_ALL)" C_FLAGS='$(C_FLAGS)' BUILD=$(O) scripts/lint.sh

format: ## rewrite Go and C in the form that lint asks for
	$(Q)$$($(GO) env GOROOT)/bin/gofmt -w $(GO_SRC)
	$(Q)$(call first,clang-format-19 clang-format) -i $(wildcard bpf/*.[ch] c/*.[ch] c/test/*.[ch] test/*/*.c)

$(T)/e2e: $(GO_SRC) go.mod go.sum $(STORE_A) $(LIBBPF_A)
	$(call say,GO,$@)
	$(Q)$(GO_CMD) test -c -ldflags "-s -w -linkmode external -extldflags=-static -X=$(PKG)/internal/cli.native=$(DIGEST)" -o $@ ./test/e2e

# Builds whose maps are others, to update to and from: `next`, and `other` beside it.
$(T)/builds/next: $(BIN) test/e2e/builds.sh
	$(call say,BUILDS,$(@D))
	$(Q)MAKE='$(MAKE)' GO='$(GO)' GOFLAGS="$(GOFLAGS_ALL)" test/e2e/builds.sh $(@D) >/dev/null

$(T)/systemd: $(wildcard test/systemd/*.go test/machine/*.go test/controlplane/*.go proto/*/*.go) go.mod go.sum
	$(call say,GO,$@)
	$(Q)CGO_ENABLED=0 $(GO) test -c -o $@ ./test/systemd

$(T)/bench: $(GO_SRC) go.mod go.sum $(STORE_A) $(LIBBPF_A)
	$(call say,GO,$@)
	$(Q)$(GO_CMD) build -o $@ ./test/bench

$(T)/demo: $(wildcard test/demo/*.go) go.mod
	$(call say,GO,$@)
	$(Q)CGO_ENABLED=0 $(GO) build -buildvcs=false -trimpath -o $@ ./test/demo

$(T)/%.bpf.o: test/bench/%.bpf.c $(LIBBPF_A)
	$(call say,BPF,$@)
	$(Q)mkdir -p $(@D) && $(CLANG) $(BPF_FLAGS) -c $< -o $@ && $(STRIP) -g $@

$(T)/variant/%.bpf.o: test/variant/%.bpf.c $(LIBBPF_A)
	$(call say,BPF,$@)
	$(Q)mkdir -p $(@D) && $(CLANG) $(BPF_FLAGS) -c $< -o $@ && $(STRIP) -g $@

# The store and its tests once more, with every check that clang has.
$(T)/san/%.o: %.c Makefile test/test.mk | $(PB_H) $(LIBBPF_A)
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D) && $(CLANG) $(C_FLAGS) -O1 -g $(SAN) -fsanitize=fuzzer-no-link -c $< -o $@

$(T)/san/%.o: $(B)/%.c Makefile test/test.mk | $(PB_H)
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D) && $(CLANG) $(C_FLAGS) -O1 -g $(SAN) -fsanitize=fuzzer-no-link -c $< -o $@

$(T)/store_test: $(C_UNIT:%.c=$(T)/san/%.o) $(SAN_STORE) $(LIBBPF_A)
	$(call say,LINK,$@)
	$(Q)$(CLANG) $(SAN) -o $@ $^ -lprotobuf-c $(ELF_LIBS) -lpthread

$(T)/fuzz_%: $(T)/san/c/test/fuzz_%.o $(C_SHARED:%=$(T)/san/c/test/%.o) $(SAN_STORE) $(LIBBPF_A)
	$(call say,LINK,$@)
	$(Q)$(CLANG) $(SAN) -fsanitize=fuzzer -o $@ $^ -lprotobuf-c $(ELF_LIBS) -lpthread

$(C_BINS): $(T)/%: $(B)/obj/c/test/%.o $(STORE_A) $(LIBBPF_A)
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D) && $(CC) -o $@ $^ -lprotobuf-c $(ELF_LIBS) -lpthread
