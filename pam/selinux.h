/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_SELINUX_H
#define BERTH_SELINUX_H

enum { BERTH_SELINUX_NONE, BERTH_SELINUX_PERMISSIVE, BERTH_SELINUX_ENFORCING };

/* Returns one of the above, or a negative errno where SELinux is there and its
 * library does not work. */
int berth_selinux_open(void);

/* Sets what the policy calls the file that this thread creates next, to be known
 * by path; mode is its S_IFMT. Returns 0 or a negative errno. */
int berth_selinux_label(const char *path, int mode);

#endif
