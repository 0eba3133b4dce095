// SPDX-License-Identifier: Apache-2.0

package loader

/*
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bpf/libbpf.h>

// Objects are loaded side by side, each on a thread of its own.
static __thread char *warnings;
static __thread size_t length;

// libbpf tells of every relocation at debug level; formatting that and crossing
// into Go for it would take longer than the load. What is kept is what it warns
// of, the verifier's log among it, of whatever length.
static int keep_warnings(enum libbpf_print_level level, const char *format, va_list args)
{
	va_list again;
	char *more;
	int n;

	if (level != LIBBPF_WARN)
		return 0;
	va_copy(again, args);
	n = vsnprintf(NULL, 0, format, again);
	va_end(again);
	if (n <= 0)
		return n;
	more = realloc(warnings, length + n + 1);
	if (more) {
		warnings = more;
		length += vsnprintf(warnings + length, n + 1, format, args);
	}
	return n;
}

static void warn(enum libbpf_print_level level, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	keep_warnings(level, format, args);
	va_end(args);
}

static void keep_warning(const char *text)
{
	warn(LIBBPF_WARN, "%s", text);
}

static void capture_warnings(void)
{
	libbpf_set_print(keep_warnings);
}

static char *take_warnings(size_t *n)
{
	char *w;

	w = warnings;
	*n = length;
	warnings = NULL;
	length = 0;
	return w;
}
*/
import "C"

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"github.com/aquasecurity/libbpfgo"
)

// tailLines is how much of a verifier's log an error shows.
const tailLines = 15

// VerifierError is a program that the kernel did not take. Its text is one line;
// Tail is the end of the verifier's log, File the file with all of it, empty
// where it could not be written.
type VerifierError struct {
	Program string
	Err     error
	Tail    []string
	File    string
}

func (e *VerifierError) Error() string {
	s := fmt.Sprintf("program %s: the kernel rejected it: %v", e.Program, e.Err)
	if e.File != "" {
		s += "; the verifier's log is in " + e.File
	}
	return s
}

func (e *VerifierError) Unwrap() error { return e.Err }

func captureWarnings() { C.capture_warnings() }

// While libbpfgo opens an object libbpf speaks through libbpfgo's callback.
func init() {
	libbpfgo.SetLoggerCbs(libbpfgo.Callbacks{Log: func(level int, text string) {
		if level == libbpfgo.LibbpfWarnLevel {
			c := C.CString(text)
			C.keep_warning(c)
			C.free(unsafe.Pointer(c))
		}
	}})
}

// takeWarnings returns what libbpf has warned of on this thread since the last
// call. The caller has locked its goroutine to the thread.
func takeWarnings() string {
	var n C.size_t
	w := C.take_warnings(&n)
	defer C.free(unsafe.Pointer(w))
	return string(C.GoBytes(unsafe.Pointer(w), C.int(n)))
}

// withWarnings adds libbpf's own words to an error, on one line.
func withWarnings(err error) error {
	w := strings.Join(strings.Fields(strings.ReplaceAll(takeWarnings(), "libbpf: ", "")), " ")
	if w == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, w)
}

// rejected turns a failed load and libbpf's warnings into an error that says why.
func rejected(run, object string, err error, warnings string) error {
	name, log, ok := verifierLog(warnings)
	if !ok {
		w := strings.Join(strings.Fields(strings.ReplaceAll(warnings, "libbpf: ", "")), " ")
		if w == "" {
			return err
		}
		return fmt.Errorf("%w: %s", err, w)
	}
	e := &VerifierError{Program: name, Err: err, Tail: lastLines(log, tailLines)}
	file, writeErr := writeLog(run, object+"-"+name, log)
	if writeErr != nil {
		e.Tail = append(e.Tail, "the whole log could not be written: "+writeErr.Error())
	}
	e.File = file
	return e
}

// verifierLog cuts a program's log out of libbpf's warnings.
func verifierLog(w string) (prog, log string, ok bool) {
	const begin, end = "': -- BEGIN PROG LOAD LOG --\n", "-- END PROG LOAD LOG --"
	head, rest, ok := strings.Cut(w, begin)
	if !ok {
		return "", "", false
	}
	prog = head[strings.LastIndexByte(head, '\'')+1:]
	if i := strings.LastIndex(rest, end); i >= 0 {
		rest = rest[:i]
	}
	return prog, rest, true
}

func lastLines(s string, n int) []string {
	l := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return l[max(0, len(l)-n):]
}

// writeLog keeps one log for each program, the newest, in the run directory or,
// where that cannot be, in the directory for temporary files.
func writeLog(run, name, log string) (string, error) {
	path := filepath.Join(run, "verifier-"+name+".log")
	err := os.MkdirAll(run, 0o700)
	if err == nil {
		err = os.WriteFile(path, []byte(log), 0o600)
	}
	if err == nil {
		return path, nil
	}
	f, err := os.CreateTemp("", "kmesh-node-verifier-"+name+"-*.log")
	if err != nil {
		return "", err
	}
	if _, err := f.WriteString(log); err != nil {
		return "", err
	}
	return f.Name(), f.Close()
}
