# SPDX-License-Identifier: Apache-2.0
# make         sluiced and sluicectl, build/plain/   SAN=1       with ASan and UBSan
# make check   unit tests                            SAN=thread  with TSan
# make flow    flow tests against the daemon         CC=clang, CFLAGS=-O0\ -g, …
# make test    all of that, plain and under the sanitizers
# make faults-sample, faults, soak, mutants   see tests/faults/README.md
# make sim-soak   weeks of unpleasant batches, SCHEDULES=200 times; see tests/sim/README.md
# make demo    a minute of it without an Adobe account
# make bench   speed and memory beside its peers, as a table; BENCH=--quick for a minute's worth
# make fuzz-smoke   each parser of foreign bytes for a few seconds (FUZZ_SECONDS)
# make install, deb, package-test, walk   see scripts/package/package.mk
# make lint    format, layers, sizes, scripts, all warnings of gcc and clang
#
# FLOW='tests/flow/test_tail.py -k late', FLOW='tests -m slow': for make flow

CC := $(if $(filter default,$(origin CC)),gcc,$(CC))
SAN    ?=
BUILD  ?= build/$(if $(SAN),san-$(SAN),plain)
QUICK  := -m "not slow"
FLOW   ?= tests/flow $(QUICK)
DAEMON_FLOW = $(QUICK) $(wildcard $(addprefix tests/flow/test_,tail.py crash.py operator.py recovery.py))
TSAN_FLOW   = $(filter-out %_tail.py,$(DAEMON_FLOW))
JOBS   ?= $(shell nproc)
PYTEST := /usr/bin/python3 -m pytest -q -n 4

CPPFLAGS = -I. -I$(BUILD) -D_GNU_SOURCE
WARN     = -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes \
           -Wvla -Wformat=2
HARDEN   = -fstack-protector-strong -fstack-clash-protection -fPIE \
           $(if $(filter gcc%,$(CC)),-ftrivial-auto-var-init=zero) \
           $(if $(filter x86_64,$(shell uname -m)),-fcf-protection=full)
CFLAGS  ?= -O2 -g
CFLAGS_ALL  = -std=gnu17 $(WARN) $(HARDEN) $(CFLAGS)
LDFLAGS_ALL = -pie -pthread -Wl,-z,relro,-z,now,-z,noexecstack,-z,separate-code $(LDFLAGS)
LDLIBS      = -lcurl -luv -ljansson -lhiredis -lyaml -lexpat -lcrypto

SAN_1       = -fsanitize=address,undefined -fno-sanitize-recover=undefined
SAN_thread  = -fsanitize=thread
SAN_FLAGS   = $(if $(SAN),$(SAN_$(SAN)) -fno-omit-frame-pointer)
CPPFLAGS    += $(if $(SAN),,-D_FORTIFY_SOURCE=3)
CFLAGS_ALL  += $(SAN_FLAGS)
LDFLAGS_ALL += $(SAN_FLAGS)
export ASAN_OPTIONS  = detect_stack_use_after_return=1:strict_string_checks=1
export UBSAN_OPTIONS = print_stacktrace=1
export TSAN_OPTIONS  = halt_on_error=1

PARTS_SRC := $(wildcard lib/*/*.c) $(filter-out daemon/main.c,$(wildcard daemon/*.c))
UNIT_SRC  := $(wildcard tests/unit/test_*.c)
RIG_SRC   := $(filter-out $(UNIT_SRC),$(wildcard tests/unit/*.c))
FUZZ_SRC  := $(wildcard tests/fuzz/*.c)

MAIN_OBJ  := $(BUILD)/daemon/main.o
CTL_OBJ   := $(patsubst %.c,$(BUILD)/%.o,$(wildcard daemon/ctl/*.c))
PARTS_OBJ := $(PARTS_SRC:%.c=$(BUILD)/%.o)
UNIT_OBJ  := $(UNIT_SRC:%.c=$(BUILD)/%.o)
RIG_OBJ   := $(RIG_SRC:%.c=$(BUILD)/%.o)
FUZZ_OBJ  := $(FUZZ_SRC:%.c=$(BUILD)/%.o)
UNIT_BIN  := $(UNIT_OBJ:.o=)
FUZZ_BIN  := $(filter-out %/fuzz,$(FUZZ_OBJ:.o=))
ALL_OBJ   := $(MAIN_OBJ) $(CTL_OBJ) $(PARTS_OBJ) $(UNIT_OBJ) $(RIG_OBJ) $(FUZZ_OBJ)

all: $(BUILD)/sluiced $(BUILD)/sluicectl
objects: $(ALL_OBJ)

$(BUILD)/sluiced: $(MAIN_OBJ)
$(BUILD)/sluicectl: $(CTL_OBJ)
$(BUILD)/sluiced $(BUILD)/sluicectl: $(PARTS_OBJ)
	$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -o $@ $^ $(LDLIBS)

$(BUILD)/%.o: %.c | build/deps
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

# The queue's function library is built into the program as a C string.
$(BUILD)/queue_lua.h: lib/queue/queue.lua scripts/embed
	@mkdir -p $(@D)
	scripts/embed queue_lua $< > $@
$(PARTS_OBJ): | $(BUILD)/queue_lua.h

# Everything but main, for the tests; the linker takes from it what a test calls.
$(BUILD)/parts.a: $(PARTS_OBJ) $(RIG_OBJ)
	@rm -f $@
	ar rcs $@ $^

$(UNIT_BIN): %: %.o $(BUILD)/parts.a
	$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -o $@ $^ -lcmocka $(LDLIBS)

build/deps: scripts/deps
	@mkdir -p build
	scripts/deps build
	@touch $@

check: $(UNIT_BIN)
	@printf '%s\n' $^ | xargs -P $(JOBS) -I{} scripts/run-unit {}

include tests/fuzz/fuzz.mk scripts/package/package.mk

flow: $(if $(SLUICED),,all)
	SLUICED=$(abspath $(or $(SLUICED),$(BUILD)/sluiced)) $(PYTEST) $(FLOW)

# Plain: everything. ASan and UBSan: every test that runs the daemon. TSan, four times slower:
# those of them that are about restarts and operators.
test:
	scripts/deps build test
	$(MAKE) -j$(JOBS) check
	$(MAKE) -j$(JOBS) check SAN=1
	$(MAKE) -j$(JOBS) check SAN=thread
	$(MAKE) -j$(JOBS) flow SAN=thread FLOW='$(TSAN_FLOW)'
	$(MAKE) -j$(JOBS) flow SAN=1 FLOW='$(DAEMON_FLOW)'
	$(MAKE) -j$(JOBS) flow

faults faults-sample soak mutants: all
	scripts/deps build test
	SLUICED=$(abspath $(BUILD)/sluiced) tests/faults/run $@

sim-soak: all
	scripts/deps build test
	SLUICED=$(abspath $(BUILD)/sluiced) tests/sim/soak $(or $(SCHEDULES),200)

# A minute without an Adobe account; KEEP=1 leaves the bucket until Enter.
demo: all
	scripts/deps build test
	SLUICED=$(abspath $(BUILD)/sluiced) scripts/demo $(if $(KEEP),--keep)

bench: all
	scripts/deps build test
	SLUICED=$(abspath $(BUILD)/sluiced) tests/bench/run $(BENCH)

lint:
	scripts/deps build test lint
	clang-format --dry-run -Werror $$(find lib daemon tests -name '*.[ch]')
	scripts/check-layers
	scripts/check-size
	scripts/check-matrix
	scripts/check-metrics
	scripts/check-ctl
	scripts/check-secrets
	$(MAKE) -j$(JOBS) all
	scripts/check-hardening $(BUILD)/sluiced
	SLUICED=$(abspath $(BUILD)/sluiced) scripts/check-conf
	scripts/check-units $(BUILD)/sluiced
	shellcheck $$(grep -slE '^#!/bin/(ba)?sh' scripts/* scripts/package/* scripts/package/debian/* .ci/*)
	$(MAKE) -j$(JOBS) objects BUILD=build/lint-gcc CC=gcc CFLAGS='-O2 -g -Werror'
	$(MAKE) -j$(JOBS) objects BUILD=build/lint-clang CC=clang CFLAGS='-O2 -g -Werror'
clean:
	rm -rf build

-include $(ALL_OBJ:.o=.d)
.PHONY: all objects check flow fuzz-run fuzz-smoke test faults faults-sample soak mutants sim-soak demo bench lint clean
.DELETE_ON_ERROR:
