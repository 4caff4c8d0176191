# SPDX-License-Identifier: MIT
# A thin front for meson. `make run` boots a guest to a shell, `make test` runs the tests.

BUILD = build

all: $(BUILD)/build.ninja     # an optimised build/mezz
	ninja -C $(BUILD) mezz mezz-slirp

$(BUILD)/build.ninja:
	meson setup --buildtype=release $(BUILD)

deps:                         # installs what is missing of tools/packages
	tools/deps all

run:                          # boots Debian's cloud kernel to a shell on this terminal
	@tools/deps run
	@$(MAKE) --no-print-directory all
	@kernel=$$(tools/guest kernel cloud) && initramfs=$$(tools/guest initramfs shell) && \
	exec $(BUILD)/mezz run --kernel "$$kernel" --initrd "$$initramfs" --cmdline "console=ttyS0 quiet"

test: deps                    # every test that ends within minutes
	tools/run-tests test

soak: deps                    # the tests that take hours
	tools/run-tests soak

bench: deps all               # speed, beside QEMU's
	ninja -C $(BUILD) bench/bench-kernels bench/bench-igvm
	bench/igvm $(BUILD)
	bench/run
	bench/cpu --json $(BUILD)/bench-cpu.json

clean:
	rm -rf $(BUILD)

.PHONY: all deps run test soak bench clean
