#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# build.sh OUTPUT: builds pam_berth.so and proves that loading it starts nothing. With
# COVER the worker says which of its lines ran (test/coverage).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=$1
mkdir -p "$(dirname "$out")"
interp=$(readelf -l /bin/sh | sed -n 's/.*interpreter: \(.*\)\]/\1/p')
export BERTH_EXPORTS="$here/exports.map"
# The quotes are for the go command, which splits the variable into words.
flags=$("$here/../scripts/cflags")
export CGO_CFLAGS="$flags -g0 -DBERTH_INTERP=\"$interp\" -DBERTH_PROGRAM=\"${PREFIX:-/usr}/sbin/berth\""
cover=
if [ -n "${COVER:-}" ]; then
	cover="-cover -covermode=atomic -tags=coverage"
	CGO_CFLAGS="$CGO_CFLAGS -DBERTH_COVERAGE"
fi
# Several may build at once.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# No -buildid: it would tell the directory, by which ld.sh is called.
# shellcheck disable=SC2086 # words
(cd "$here" && CGO_ENABLED=1 go build $cover -buildmode=c-shared -trimpath -buildvcs=false -ldflags "-s -w -buildid= -linkmode=external -extld=$here/ld.sh" -o "$work/pam_berth.so" .)
mv "$work/pam_berth.so" "$out"
chmod 755 "$out"
# The trick hangs on a section's name: were it another one day, the runtime would
# start in sshd again. The tests load the file through libpam, too.
if readelf -rW "$out" | awk '{print $NF}' | grep -q _rt0_ || [ "$(readelf -SW "$out" | grep -c berth_go_init)" != 1 ]; then
	echo "build.sh: $out would start Go when it is loaded" >&2
	rm -f "$out"
	exit 1
fi

# And the proof: an application that loads it through libpam stays at one thread
# and no signal handler, and may fork at once or a little later.
proof=$work/proof
mkdir "$proof"
case $out in
/*) module=$out ;;
*) module=$PWD/$out ;;
esac
"${CC:-gcc}" -O2 -Wall -Wextra -Werror -o "$proof/host" "$here/testdata/host.c" "$here/testdata/look.c" "$here/testdata/odd.c" "$here/testdata/traits.c" -lpam -lpthread
mkdir "$proof/pam.d"
echo "session required $module" >"$proof/pam.d/proof"
prove() {
	if ! timeout 20 "$proof/host" "$proof/pam.d" proof root "$@" >"$proof/said"; then
		cat "$proof/said" >&2
		echo "build.sh: $out does not open and close a session ($*)" >&2
		rm -f "$out"
		exit 1
	fi
}
prove fork 0
prove fork 20
prove plain
if [ "$(grep -c 'Threads:.1$' "$proof/said")" != 3 ] || [ "$(grep 'SigCgt:' "$proof/said" | sed 's/.*://' | sort -u | wc -l)" != 1 ]; then
	cat "$proof/said" >&2
	echo "build.sh: loading $out changes the process" >&2
	rm -f "$out"
	exit 1
fi
