/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* errno values, asm-generic; those below differ on no architecture we build for. */
#ifndef KMESH_ERRNO_H
#define KMESH_ERRNO_H

#define E_INTR 4
#define E_BUSY 16
#define E_NETUNREACH 101
#define E_TIMEDOUT 110
#define E_CONNREFUSED 111
#define E_HOSTUNREACH 113
#define E_ALREADY 114
#define E_INPROGRESS 115

#endif
