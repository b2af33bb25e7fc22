#!/bin/sh
# Builds the example operators, and the guests of the tests of operators/wasm. "build.sh" writes each .wasm beside its
# source; "build.sh --check" builds into a temporary folder and fails if a committed .wasm differs from its source.
#
# C needs clang and wasm-ld (CLANG names the compiler, clang-19 otherwise); Go needs the toolchain of go.mod. Builds are
# reproducible: no paths, no debug information, no time.
set -eu
cd "$(dirname "$0")"
root=$(cd ../.. && pwd)
clang=${CLANG:-clang-19}
check=
case "${1:-}" in
--check) check=1; tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT ;;
"") ;;
*) echo "usage: build.sh [--check]" >&2; exit 2 ;;
esac

build_c() { # name, source, folder of the result
	"$clang" --target=wasm32 -std=c11 -O3 -Wall -Wextra -Werror -nostdlib -fvisibility=hidden \
		-mbulk-memory -mnontrapping-fptoint -I "$root/operators/sdk/c" \
		-Wl,--no-entry,--strip-all,--gc-sections,-z,stack-size=16384 -o "$3/$1.wasm" "$2"
}

build_go() { # name, folder of the result
	(cd "$root" && GOOS=wasip1 GOARCH=wasm CGO_ENABLED=0 GOFLAGS= go build -trimpath -buildvcs=false -buildmode=c-shared \
		-ldflags='-s -w -buildid=' -o "$2/$1.wasm" "./examples/operators/$1")
}

command -v "$clang" >/dev/null || { echo "build.sh: no $clang: install clang and lld, or set CLANG" >&2; exit 1; }
status=0
for name in calibrate severity calibrate-go severity-go hostile filter; do
	src=$root/examples/operators/$name
	[ -d "$src" ] || src=$root/operators/wasm/testdata/$name
	to=$src
	[ -z "$check" ] || to=$tmp
	case $name in
	*-go) build_go "$name" "$to" ;;
	*) build_c "$name" "$src/$name.c" "$to" ;;
	esac
	chmod 644 "$to/$name.wasm"
	if [ -n "$check" ] && ! cmp -s "$to/$name.wasm" "$src/$name.wasm"; then
		echo "${src#"$root/"}/$name.wasm is not what its source builds to: run examples/operators/build.sh" >&2
		status=1
	fi
done
exit $status
