// SPDX-License-Identifier: Apache-2.0
#include "error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "deserial.h"

/* Room for a name of KM_MAX_NAME bytes and what is wrong with it. */
static __thread char message[2048];
static __thread ptrdiff_t op = -1;

void error_note(const char *format, ...)
{
	va_list args;

	op = -1;
	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
}

void error_note_sys(int err, const char *format, ...)
{
	char text[128];
	va_list args;
	size_t used;

	op = -1;
	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	used = strlen(message);
	snprintf(message + used, sizeof(message) - used, ": %s",
		 strerror_r(-err, text, sizeof(text)));
}

void error_note_prefix(const char *format, ...)
{
	char old[sizeof(message)];
	va_list args;
	size_t used;

	memcpy(old, message, sizeof(old));
	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	used = strlen(message);
	snprintf(message + used, sizeof(message) - used, ": %s", old);
}

void error_note_op(size_t index)
{
	op = (ptrdiff_t)index;
}

const char *deserial_error(void)
{
	return message;
}

ptrdiff_t deserial_error_op(void)
{
	return op;
}
