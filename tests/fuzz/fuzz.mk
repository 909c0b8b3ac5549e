# SPDX-License-Identifier: Apache-2.0
# Fuzz targets; `make fuzz-smoke` builds them with clang and runs each for a few seconds.

$(FUZZ_BIN): %: %.o $(BUILD)/tests/fuzz/fuzz.o $(BUILD)/parts.a
	$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -fsanitize=fuzzer -o $@ $^ $(LDLIBS)

fuzz-run: $(FUZZ_BIN)
	@printf '%s\n' $^ | xargs -P $(JOBS) -I{} tests/fuzz/run {} $(or $(FUZZ_SECONDS),3)

fuzz-smoke:
	scripts/deps build lint
	$(MAKE) -j$(JOBS) fuzz-run BUILD=build/fuzz SAN=1 CC=clang \
	    CFLAGS='-O1 -g -fsanitize=fuzzer-no-link'
