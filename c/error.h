/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KMESH_ERROR_H
#define KMESH_ERROR_H

/* Keeps the message for deserial_error() of this thread and returns err. */
int error_set(int err, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* The same, with ": strerror(-err)" behind it. */
int error_sys(int err, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Puts "format: " in front of the message. Returns err. */
int error_prefix(int err, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif
