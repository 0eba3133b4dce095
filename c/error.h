/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KMESH_ERROR_H
#define KMESH_ERROR_H

#include <stddef.h>

/* Keeps the message for deserial_error() of this thread. */
void error_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same, with ": strerror(-err)" behind it. */
void error_note_sys(int err, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Puts "format: " in front of the message. */
void error_note_prefix(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Says that the message is about that operation of the batch. */
void error_note_op(size_t index);

/* Each is the value of err, which is not 0. */
#define error_set(err, ...) (error_note(__VA_ARGS__), (err))
#define error_sys(err, ...) (error_note_sys(err, __VA_ARGS__), (err))
#define error_prefix(err, ...) (error_note_prefix(__VA_ARGS__), (err))

#endif
