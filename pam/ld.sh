#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The external linker of pam_berth.so (go build -ldflags=-extld=...). Go's
# object file asks, in .init_array, that loading the library start the Go
# runtime. In sshd or su that must not happen: the section gets a name of our
# own, and main() in program.c, which only the worker runs, calls what is in it.
# Scrt1.o and an entry point make the library a program, too.
set -eu
: "${CC:=gcc}"
renamed=
for arg; do
	case $arg in
	*/go.o)
		objcopy --rename-section .init_array=berth_go_init,alloc,load,data,contents "$arg"
		renamed=yes
		;;
	esac
done
# Go asks the linker for its version and flags, too; those calls have no object.
if [ -z "$renamed" ]; then
	exec "$CC" "$@"
fi
exec "$CC" "$@" "$("$CC" -print-file-name=Scrt1.o)" -Wl,-e,_start \
	-Wl,--version-script="$BERTH_EXPORTS" -Wl,-z,nodelete -Wl,-z,relro -Wl,-z,now -lpam
