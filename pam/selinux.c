// SPDX-License-Identifier: Apache-2.0
//
// Process: the worker. As: root.
//
// What SELinux calls new files. libselinux is loaded where the kernel has
// SELinux, and needed nowhere else; the types are those of selinux/selinux.h and
// selinux/label.h (libselinux 2.1 and later).

#define _GNU_SOURCE
#include "selinux.h"

#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <unistd.h>

struct selabel_handle;

static int (*enforcing)(void);
static int (*lookup)(struct selabel_handle *, char **, const char *, int);
static int (*set_create)(const char *);
static void (*free_context)(char *);
static struct selabel_handle *handle;

int berth_selinux_open(void)
{
	/* Loading a library that is not needed is a risk for nothing. */
	if (access("/sys/fs/selinux/enforce", F_OK) != 0)
		return BERTH_SELINUX_NONE;
	void *lib = dlopen("libselinux.so.1", RTLD_NOW | RTLD_LOCAL);
	if (!lib)
		return BERTH_SELINUX_NONE;
	int (*enabled)(void) = (int (*)(void))dlsym(lib, "is_selinux_enabled");
	struct selabel_handle *(*open)(unsigned, const void *, unsigned) =
		(struct selabel_handle * (*)(unsigned, const void *, unsigned)) dlsym(lib, "selabel_open");
	enforcing = (int (*)(void))dlsym(lib, "security_getenforce");
	lookup = (int (*)(struct selabel_handle *, char **, const char *, int))dlsym(lib, "selabel_lookup_raw");
	set_create = (int (*)(const char *))dlsym(lib, "setfscreatecon_raw");
	free_context = (void (*)(char *))dlsym(lib, "freecon");
	if (!enabled || enabled() != 1)
		return BERTH_SELINUX_NONE;
	if (!open || !enforcing || !lookup || !set_create || !free_context)
		return -ENOSYS;
	handle = open(0 /* SELABEL_CTX_FILE */, NULL, 0);
	if (!handle)
		return errno ? -errno : -EINVAL;
	return enforcing() == 1 ? BERTH_SELINUX_ENFORCING : BERTH_SELINUX_PERMISSIVE;
}

int berth_selinux_label(const char *path, int mode)
{
	char *context = NULL;
	if (lookup(handle, &context, path, mode) != 0) {
		if (errno != ENOENT)
			return -errno;
		context = NULL; /* the policy says nothing: as the kernel has it */
	}
	int failed = set_create(context) != 0 ? -errno : 0;
	if (context)
		free_context(context);
	return failed;
}
