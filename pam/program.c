// SPDX-License-Identifier: Apache-2.0
//
// Process: the worker. As: root.
//
// What makes the library a program: an interpreter, and a main that starts the
// Go runtime, which loading the file does not (ld.sh).

#ifdef BERTH_INTERP /* by build.sh; go vet and go test make programs of their own */

#include "_cgo_export.h"

const char berth_interp[] __attribute__((section(".interp"), used)) = BERTH_INTERP;

typedef void (*init_function)(int, char **, char **);

/* The linker names the ends of a section that has a C name. */
extern init_function __start_berth_go_init[] __attribute__((visibility("hidden")));
extern init_function __stop_berth_go_init[] __attribute__((visibility("hidden")));

extern char **environ;

int main(int argc, char **argv);

int main(int argc, char **argv)
{
	for (init_function *f = __start_berth_go_init; f < __stop_berth_go_init; f++)
		(*f)(argc, argv, environ);
	int status = berthWorker();
#ifdef BERTH_COVERAGE /* by `make cover` alone */
	berthFlush();
#endif
	return status;
}

#endif
