#!/bin/sh
# Builds the example operators, the conformance guests, and the guests of the tests of operators/wasm. "build.sh" writes each .wasm beside its
# source; "build.sh --check" builds into a temporary folder and fails if a committed .wasm differs from its source.
#
# C needs clang and wasm-ld (CLANG and WASM_LD name them, clang-19 and wasm-ld-19 otherwise), Go the toolchain of go.mod,
# Rust a rustc with the wasm32-unknown-unknown target (RUSTC names it, /usr/bin/rustc otherwise: Debian 12's packages rustc
# and libstd-rust-dev-wasm32), AssemblyScript npx, which fetches its compiler once. A language whose tools are missing is left out, and named; where CI is set that is a failure.
# Builds are reproducible: no paths, no debug information, no time.
set -eu
cd "$(dirname "$0")"
root=$(cd ../.. && pwd)
clang=${CLANG:-clang-19}
linker=${WASM_LD:-wasm-ld-19}
rustc=${RUSTC:-/usr/bin/rustc}
assemblyscript=0.28.20
# A module holds the version and the runtime of the Go that built it, down to the patch: another 1.26.x gives other bytes.
# An installed Go of another version fetches this one.
go_toolchain=go1.26.8
rust_version=1.63.0 # of the committed modules: another one builds other bytes
check=
case "${1:-}" in
--check) check=1 ;;
"") ;;
*) echo "usage: build.sh [--check]" >&2; exit 2 ;;
esac
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
status=0

build_c() { # source, result
	"$clang" --target=wasm32 -std=c11 -O3 -Wall -Wextra -Werror -nostdlib -fvisibility=hidden \
		-mbulk-memory -mnontrapping-fptoint -I "$root/operators/sdk/c" \
		-Wl,--no-entry,--strip-all,--gc-sections,-z,stack-size=16384 -o "$2" "$1"
}

build_go() { # folder, result
	(cd "$root" && GOOS=wasip1 GOARCH=wasm CGO_ENABLED=0 GOFLAGS= GOTOOLCHAIN="$go_toolchain" go build -trimpath -buildvcs=false -buildmode=c-shared \
		-ldflags='-s -w -buildid=' -o "$2" "./${1#"$root/"}")
}

build_rust() { # source, result
	set -- "$1" "$2" --edition=2021 --target=wasm32-unknown-unknown -Copt-level=3 -Cpanic=abort -Ccodegen-units=1 \
		-Cembed-bitcode=yes -Ctarget-feature=+bulk-memory,+nontrapping-fptoint --remap-path-prefix="$root/=" -Dwarnings
	source=$1 result=$2
	shift 2
	[ -f "$tmp/libweir.rlib" ] || "$rustc" "$@" --crate-name=weir --crate-type=rlib --out-dir "$tmp" "$root/operators/sdk/rust/src/lib.rs"
	# A linker newer than Rust 1.63 warns of the metadata in Rust's libraries.
	"$rustc" "$@" --crate-name=operator --crate-type=cdylib --extern weir="$tmp/libweir.rlib" -Clto=fat -Cstrip=symbols \
		-Clinker="$linker" -Clink-arg=--no-fatal-warnings -Clink-arg=-zstack-size=65536 -o "$result" "$source"
}

build_assemblyscript() { # source, result
	(cd "$root" && run_asc "${1#"$root/"}" -o "$2" -O3 --path operators/sdk/assemblyscript --exportStart _initialize \
		--use abort=~lib/weir/guest/weirAbort)
}

run_asc() { npx --yes --package "assemblyscript@$assemblyscript" -- asc "$@"; }

has_c() { command -v "$clang" >/dev/null && command -v "$linker" >/dev/null; }
has_go() { command -v go >/dev/null; }
has_assemblyscript() { command -v npx >/dev/null && run_asc --version >/dev/null; }
has_rust() {
	command -v "$rustc" >/dev/null && command -v "$linker" >/dev/null &&
		[ -d "$("$rustc" --print sysroot)/lib/rustlib/wasm32-unknown-unknown" ]
}

missing() { # language, what to install
	has=$(has_"$1" && echo yes || echo no)
	[ "$has" = no ] || return 1
	echo "build.sh: the $1 operators were NOT ${check:+checked, and NOT }built: install $2" >&2
	[ -z "${CI:-}" ] || status=1
}

# compares tells whether what is built here can be held against what is committed.
compares() {
	[ "$1" != rust ] || case $("$rustc" --version) in "rustc $rust_version "* | "rustc $rust_version") ;; *)
		echo "build.sh: the rust operators were built, but NOT compared: they are committed as rustc $rust_version builds them" >&2
		return 1 ;;
	esac
}

build() { # language, source file or folder, committed module
	to=$3
	[ -z "$check" ] || to=$tmp/check.wasm
	build_"$1" "$2" "$to"
	chmod 644 "$to"
	if [ -n "$check" ] && compares "$1" && ! cmp -s "$to" "$3"; then
		echo "${3#"$root/"} is not what its source builds to: run examples/operators/build.sh" >&2
		status=1
	fi
}

examples=$root/examples/operators
guests=$root/operators/sdk/conformance/guests
if ! missing c "clang and lld, or set CLANG and WASM_LD"; then
	build c "$examples/calibrate/calibrate.c" "$examples/calibrate/calibrate.wasm"
	build c "$examples/severity/severity.c" "$examples/severity/severity.wasm"
	build c "$examples/weighted-mean/weighted-mean.c" "$examples/weighted-mean/weighted-mean.wasm"
	build c "$examples/explode/explode.c" "$examples/explode/explode.wasm"
	build c "$examples/dewpoint/dewpoint.c" "$examples/dewpoint/dewpoint.wasm"
	build c "$guests/c/conformance.c" "$guests/c/conformance.wasm"
	build c "$examples/delta/delta.c" "$examples/delta/delta.wasm"
	build c "$guests/c/conformance_aggregate.c" "$guests/c/conformance_aggregate.wasm"
	for name in hostile hostile-aggregate filter state thresholds function; do
		build c "$root/operators/wasm/testdata/$name/$name.c" "$root/operators/wasm/testdata/$name/$name.wasm"
	done
fi
if ! missing go "Go"; then
	for name in calibrate severity delta; do
		build go "$examples/$name-go" "$examples/$name-go/$name-go.wasm"
	done
	build go "$guests/go" "$guests/go/conformance.wasm"
	build go "$root/operators/wasm/testdata/filter-go" "$root/operators/wasm/testdata/filter-go/filter-go.wasm"
	build go "$guests/go/aggregate" "$guests/go/aggregate/conformance_aggregate.wasm"
fi
if ! missing rust "rustc and libstd-rust-dev-wasm32, or set RUSTC to one with the target wasm32-unknown-unknown"; then
	for name in calibrate severity explode delta; do
		build rust "$examples/$name-rust/$name.rs" "$examples/$name-rust/$name-rust.wasm"
	done
	build rust "$guests/rust/conformance.rs" "$guests/rust/conformance.wasm"
	build rust "$root/operators/wasm/testdata/filter-rust/filter.rs" "$root/operators/wasm/testdata/filter-rust/filter-rust.wasm"
	build rust "$guests/rust/conformance_aggregate.rs" "$guests/rust/conformance_aggregate.wasm"
fi
if ! missing assemblyscript "npm, and make its registry reachable for assemblyscript@$assemblyscript"; then
	for name in calibrate severity delta; do
		build assemblyscript "$examples/$name-assemblyscript/$name.ts" "$examples/$name-assemblyscript/$name-assemblyscript.wasm"
	done
	build assemblyscript "$guests/assemblyscript/conformance.ts" "$guests/assemblyscript/conformance.wasm"
	build assemblyscript "$guests/assemblyscript/conformance_aggregate.ts" "$guests/assemblyscript/conformance_aggregate.wasm"
fi
exit $status
