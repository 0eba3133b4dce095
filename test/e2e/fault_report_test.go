// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// faultRow is a line of docs/reliability.md.
type faultRow struct {
	fault string
	tried int
}

var faultRows []faultRow

// report counts times that a fault was tried, of a test that fails where it was not
// survived.
func report(fault string, tried int) {
	i := slices.IndexFunc(faultRows, func(r faultRow) bool { return r.fault == fault })
	if i < 0 {
		faultRows, i = append(faultRows, faultRow{fault: fault}), len(faultRows)
	}
	faultRows[i].tried += tried
}

// outcomes say what came of the faults whose names begin so, for people; the first that
// fits counts.
var outcomes = []struct{ fault, outcome string }{
	{"`kill -9` at every step of first `up`", "the next `up` makes it whole (nothing was up, no connections are made meanwhile)"},
	{"`kill -9` at every step of `apply`", "each connection goes by the old configuration or by the new one; the next `apply` finishes"},
	{"`kill -9` at every step of `down`", "connections are redirected, or go as asked; the next `up` makes all whole again"},
	{"`kill -9` at every step of `up` of the other mode", "connections are redirected, or go as asked; the next `up` finishes the change"},
	{"`kill -9` at every step of mounting", "`up` again, and all is mounted; `down` again, and nothing is (no connections are made; an empty directory may be left that a mount was made on)"},
	{"`kill -9` at the steps of an upgrade", "connections, made after each, go as before; `up` of either build ends it, and leaves no pin of a half-done one"},
	{"a failure at the steps of an upgrade", "undone: every pin is the object that it was, and connections, made after each, go as before"},
	{"updates and changes of mode", "no connection missed or misrouted"},
	{"`kill -9`", "no connection is missed; the command again, and all is as if nothing had happened"},
	{"a failure at every step of `down`", "the rest is removed, the exit code is not 0, and `down` again removes what is left"},
	{"a failure at every step of `up` of the other mode", "before the commit all is as it was; after it the new mode is up, and the error says how to take down what is left of the old one"},
	{"a failure", "undone: pins, links, programs, enrolment, settings, mounts and files are as before; no connection is missed"},
	{"a system call of `down`", "the rest is removed, the exit code is not 0, and `down` again removes what is left"},
	{"a system call", "undone, with an exit code and a line that names step, object, cause and remedy; or survived, where the call is one that the kernel need not have (`tolerated` in test/e2e/fault_calls_test.go)"},
	{"a link is detached", "connections go as asked, or are not judged, until `up` or `run` attaches it anew; none fails"},
	{"a pin", "the next `up` makes it anew, programs and maps from the kernel's objects; without the pin of a link connections go as asked, until then"},
	{"the whole tree", "connections go as asked; `up`, `enroll` and `apply` make all anew"},
	{"the bpffs is unmounted", "connections go as asked; `up` mounts one, and with `enroll` and `apply` makes all anew"},
	{"the bpffs is full", "undone, exit 11 (a bpffs has no limit of its own: the kernel's ENOSPC is put in its place)"},
	{"the directory of locks", "commands end with an error that names the directory (the lock of `apply` may still fit); no connection is missed"},
	{"the verifier", "undone, exit 11"},
	{"a pod is deleted", "the enrolment ends with an error or for nothing; other pods miss no connection, and it is not enrolled any more after an `up` that comes once the kernel has taken its devices away"},
	{"the cgroup", "connections, made after it, go as asked; `up` says that it is not there, and once it is, attaches anew"},
	{"the clock", "nothing reads it: programs go by the monotonic clock alone"},
	{"`up` and `down`", "pins, files, mounts and the memory of arrays are the same each time, and at the end nothing is left (no connections are made)"},
	{"`run` repairs", "its descriptors do not grow, its memory by 16 MiB at most; connections are led or go as asked"},
}

func outcomeOf(fault string) string {
	for _, o := range outcomes {
		if strings.HasPrefix(fault, o.fault) {
			return o.outcome
		}
	}
	return ""
}

// writeFaultReport writes what the whole suite saw to the file that KMESH_FAULT_REPORT
// names. A run that tries each fault once leaves the report of one that tries all alone.
func writeFaultReport() error {
	path := os.Getenv("KMESH_FAULT_REPORT")
	if path == "" || len(faultRows) == 0 {
		return nil
	}
	const everywhere = "each fault at every place"
	how := "each fault once for every kind of place (FAULT_FULL=1: at every one)"
	if faultRounds > 0 {
		how = everywhere
	} else if old, err := os.ReadFile(path); err == nil && strings.Contains(string(old), everywhere) {
		return nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Faults survived\n\nWritten by `make test-fault`, which tried %s, in both modes.\n"+
		"Unless a line says otherwise, a client connects without pause while the fault happens.\n\n"+
		"| fault | tried | outcome |\n|---|---|---|\n", how)
	var errs []error
	for _, r := range faultRows {
		if r.tried == 0 {
			continue // it has no step that another row has not
		}
		outcome := outcomeOf(r.fault)
		if outcome == "" {
			errs = append(errs, fmt.Errorf("report: no outcome of %q", r.fault))
		}
		fmt.Fprintf(&b, "| %s | %d | %s |\n", r.fault, r.tried, outcome)
	}
	return errors.Join(append(errs, os.WriteFile(path, []byte(b.String()), 0o644))...)
}
