# Ravelin's front door. `make help` lists what there is.

# What these say goes before the settings in the tree, and an image would be another one, or be built elsewhere.
unexport RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_TARGET_DIR CARGO_BUILD_TARGET_DIR RUSTC_WRAPPER

IMAGE := build/vmlinuz
BARE := x86_64-unknown-none
# What the image may grow to.
IMAGE_BYTES := 721568
# The image names it on its console. It is part of what the image is made of, where it is built is not. Git is asked once.
RAVELIN_COMMIT ?= $(eval RAVELIN_COMMIT := $(shell tools/commit name))$(RAVELIN_COMMIT)
# The date in packages: that of the commit.
SOURCE_DATE_EPOCH ?= $(or $(shell tools/commit date),0)
CARGO_IMAGE := --target $(BARE) --features kernel --bin kernel
# Debian's own interpreter: what else may be called python3 in the PATH is anybody's guess.
RIG := /usr/bin/python3 tests/nested/rig.py
# What is run on every Xen before a release: what the hypervisor and its toolstack do for us, once each.
RELEASE_SCENARIOS := ping idle dns tcp-download tcp-upload udp port-forward attach-client destroy-client uplink-changes \
	hostile-rings panic page-fault write-page-table stack-overflow memory shutdown qubesdb-daemon qubes
# What `make test` has no time for, besides the soak.
LONG_SCENARIOS := attach-many-times destroy-under-traffic forty-clients qubes-life reload-beside-another

.DEFAULT_GOAL := all
.PHONY: all help test test-host check reproduce model bench-engine simulate mutants miri lifecycle test-nested test-long test-release soak demo bench bench-instructions dist clean rust rig

all: $(IMAGE) ## build the bootable image (the default)
	@printf '%s: %s bytes, commit %s, build id %.8s, SHA-256 %s\n' $(IMAGE) "$$(stat -c %s $(IMAGE))" \
		'$(or $(RAVELIN_COMMIT),not known)' "$$(readelf --notes $(IMAGE) | sed -n 's/.*Build ID: //p')" "$$(sha256sum $(IMAGE) | cut -d ' ' -f 1)"

help: ## list the targets
	@echo 'make TARGET…'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo 'Variables: SCENARIOS="ping dns" (test-nested: only these), TYPE=pvh (test-nested, soak, demo: PVH firewalls;'
	@echo '           "pv pvh": both, test-nested only), XEN=4.20 (the same: Xen of Debian 13), INTERACTIVE=1 (demo: a shell in dom0),'
	@echo '           SEEDS=100 SEED=1 (simulate: so many worlds, from which on; SEEDS: mutants, too; SEED: model, too),'
	@echo '           QUBES=1 (simulate: only worlds that are Qubes firewall qubes),'
	@echo '           MUTANTS="double-fetch" (mutants: only these), EVENTS=4000000 (model),'
	@echo '           STORE=oxenstored (test-nested, soak: this XenStore daemon instead of xenstored),'
	@echo '           SOAK_SECONDS=1800 SOAK_SEED=1 (soak),'
	@echo '           REPEATS=3 (bench: so often), QUICK=1 (bench: once and short), TARGET=local (bench: in this very dom0),'
	@echo '           ACCEL=kvm (test-nested, demo, bench: use KVM), KERNEL=FILE (the same: boot this image instead)'

test: test-host reproduce ## what runs on this machine, then what runs on Xen, with PV and PVH firewalls
	$(MAKE) test-nested TYPE='pv pvh'

test-host: check ## formatting, lints, unit and property tests, the simulated Xen
	cargo test --features sim --no-fail-fast

check: rust ## formatting and lints
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	cargo clippy --all-targets --features sim -- -D warnings
	cargo clippy $(CARGO_IMAGE) -- -D warnings
	@for mutant in tests/mutants/*.patch; do git apply --check $$mutant || exit 1; done

reproduce: $(IMAGE) ## is the image the same, bit for bit, when others build it elsewhere?
	tools/reproduce $(IMAGE) "$(RAVELIN_COMMIT)"

model: rust ## the engine against a plain model of itself: EVENTS=n random events in each of three worlds
	RAVELIN_MODEL_EVENTS=$(or $(EVENTS),4000000) RAVELIN_MODEL_SEED=$(or $(SEED),0) \
		cargo test --profile simulate --test model -- --nocapture

bench-engine: rust ## instructions per packet of engine and drivers (over budget is an error), then times of the engine
	@tools/need-packages valgrind
	cargo bench --bench instructions
	cargo bench --features sim --bench rings
	cargo bench --bench engine

simulate: rust ## the kernel in the simulated Xen: SEEDS=n worlds from SEED=s on
	cargo run --quiet --profile simulate --features sim --example simulate -- $(or $(SEEDS),100) $(or $(SEED),1) $(if $(QUBES),--qubes)

mutants: rust ## bugs, put in on purpose: which test or which oracle of the simulation finds which (MUTANTS="a b")
	tests/mutants/run $(or $(SEEDS),100) $(MUTANTS)

miri: ## the code of rings, pages, grants and copies under Miri (adds a nightly toolchain if there is none)
	@cargo +nightly miri --version >/dev/null 2>&1 || \
		rustup toolchain install nightly --profile minimal --component miri --component rust-src
	@# Pages are never freed, by design: what is left of them is no leak.
	MIRIFLAGS='-Zmiri-ignore-leaks -Zmiri-strict-provenance -Zmiri-symbolic-alignment-check' \
		cargo +nightly miri test --lib -- vif:: xen:: --skip lifecycle

test-nested: $(IMAGE) rig ## the firewall and stock Linux on a Xen in QEMU
	$(RIG) test $(SCENARIOS)

test-release: $(IMAGE) rig ## before a release, besides `test`: some of test-nested, PV and PVH, on Xen of Debian 13
	XEN=4.20 TYPE='pv pvh' $(RIG) test $(RELEASE_SCENARIOS)

test-long: $(IMAGE) rig ## what takes minutes each on a Xen in QEMU: many clients, many times, and the life of a qube
	$(RIG) test $(LONG_SCENARIOS)

soak: $(IMAGE) rig ## half an hour of everything that comes and goes, on a Xen in QEMU: nothing may be left
	$(RIG) soak

lifecycle: rust ## the life of vifs: millions of random events, and every step interrupted by everything
	cargo test --profile simulate --features sim --test lifecycle --test life -- --include-ignored

demo: $(IMAGE) rig ## watch a firewall at work on a Xen in QEMU
	$(RIG) $(if $(INTERACTIVE),shell,demo)

bench: $(IMAGE) $(if $(filter local,$(TARGET)),,rig) ## measure the firewall against a Linux one: build/bench/report.html
	$(RIG) bench

# The instructions of the image, with symbols: its functions stand in another order.
bench-instructions: rust rig ## count the instructions of the kernel and of Xen for it, by stage (over budget is an error)
	@cargo fetch -q --locked --target $(BARE)
	@mkdir -p build
	@tools/remap-paths $(BARE) >build/paths.toml
	RAVELIN_COMMIT="$(RAVELIN_COMMIT)" cargo build --profile bench --locked --config build/paths.toml $(CARGO_IMAGE)
	cp target/$(BARE)/release/kernel build/vmlinuz-symbols
	KERNEL=build/vmlinuz-symbols $(RIG) instructions

dist: $(IMAGE) ## what is handed out, in build/dist: image, dom0's kernel folder, RPM, Debian package, script, Salt state, hashes
	@tools/need-crate cargo-generate-rpm 0.21.1
	@tools/need-crate cargo-deb 3.8.0
	SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) tools/make-dist $(IMAGE)

clean: ## remove everything that was built or downloaded
	rm -rf build target

# Always asked of cargo, which knows best what an image is made of; copied only when it is another one. Crates are there before
# it is asked where they are.
$(IMAGE): rust
	@mkdir -p build
	@cargo fetch --quiet --locked --target $(BARE)
	@tools/remap-paths $(BARE) >build/paths.toml
	RAVELIN_COMMIT="$(RAVELIN_COMMIT)" cargo build --release --locked --config build/paths.toml $(CARGO_IMAGE)
	@[ "$$(stat -c %s target/$(BARE)/release/kernel)" -le $(IMAGE_BYTES) ] || { echo 'The image is over its budget of $(IMAGE_BYTES) bytes'; exit 1; }
	@cmp -s target/$(BARE)/release/kernel $@ || cp target/$(BARE)/release/kernel $@

rust:
	@tools/need-packages gcc libc6-dev binutils
	@tools/need-rust $(BARE)

rig:
	@tools/need-packages python3 qemu-system-x86 cpio kmod e2fsprogs
