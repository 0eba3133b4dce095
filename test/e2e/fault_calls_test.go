// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// faultErrnos are the errors that system calls fail with, in turn.
var faultErrnos = []unix.Errno{unix.EPERM, unix.ENOMEM, unix.EBUSY, unix.ENOSPC}

// aCall is the nth of the calls of one label.
type aCall struct {
	label string
	nth   int
}

// kind is what calls about other objects have in common.
func (c aCall) kind() string {
	f := strings.Fields(c.label)
	if f[0] == "bpf" {
		return "bpf " + f[1]
	}
	return f[0]
}

func (c aCall) String() string { return fmt.Sprintf("%s#%d", c.label, c.nth) }

// callsOf numbers the calls of each label.
func callsOf(labels []string) []aCall {
	times := map[string]int{}
	var l []aCall
	for _, label := range labels {
		times[label]++
		l = append(l, aCall{label, times[label]})
	}
	return l
}

// oneOfEach leaves the call in the middle of each kind.
func oneOfEach(l []aCall) []aCall {
	if faultRounds > 0 {
		return l
	}
	var order []string
	kinds := map[string][]aCall{}
	for _, c := range l {
		k := c.kind()
		if kinds[k] == nil {
			order = append(order, k)
		}
		kinds[k] = append(kinds[k], c)
	}
	l = nil
	for _, k := range order {
		l = append(l, kinds[k][len(kinds[k])/2])
	}
	return l
}

// tolerated are kinds of calls whose failure may be survived, and why.
var tolerated = map[string]string{
	"bpf PROG_LOAD":          "libbpf asks the verifier again, with its log; probes of features go without",
	"bpf MAP_CREATE":         "libbpf makes the map again, without types; probes of features go without",
	"bpf BTF_LOAD":           "libbpf goes without types, as on a kernel without BTF",
	"bpf TOKEN_CREATE":       "libbpf goes without a token",
	"bpf PROG_BIND_MAP":      "libbpf goes without names of variables",
	"bpf MAP_LOOKUP_BATCH":   "elements are read one by one, as before Linux 5.6",
	"bpf MAP_UPDATE_BATCH":   "the slot is spare",
	"bpf ENABLE_STATS":       "the self-test goes by other counts",
	"bpf PROG_GET_NEXT_ID":   "how long to wait for the kernel to free things",
	"bpf MAP_GET_NEXT_ID":    "how long to wait for the kernel to free things",
	"bpf LINK_GET_NEXT_ID":   "how long to wait for the kernel to free things",
	"bpf OBJ_GET":            "what cannot be opened is made anew, or unpinned unseen",
	"bpf OBJ_GET_INFO_BY_FD": "what cannot be asked about is made anew, or unpinned unseen",
	"bpf MAP_LOOKUP_ELEM":    "what cannot be read is made anew, or removed unread",
	"bpf MAP_GET_NEXT_KEY":   "what cannot be read is left for the next writer",
	"bpf MAP_GET_FD_BY_ID":   "what may be gone is looked for",
	"bpf PROG_GET_FD_BY_ID":  "what may be gone is looked for",
	"bpf BTF_GET_FD_BY_ID":   "libbpf goes without types",
	"bpf LINK_DETACH":        "the link is detached by its end",
	"bpf LINK_UPDATE":        "a link whose device or cgroup went is made anew",
	"bpf MAP_DELETE_BATCH":   "elements are deleted one by one, or left for the next writer",
	"bpf PROG_DETACH":        "the program goes with its map",
	"bpf PROG_QUERY":         "the kernel is one that does not tell",
	"socket":                 "the kernel is one without cookies of namespaces",
	"getsockopt":             "the kernel is one without cookies of namespaces",
	"sendto":                 "a device that cannot be asked",
	"stat":                   "what cannot be seen is not there",
	"statfs":                 "what cannot be seen is not there",
	"open":                   "what cannot be opened is not there",
	"getdents":               "what cannot be listed is left for the next time",
	"unlink":                 "it is tried again as a directory; a leftover is for the next time",
	"flock":                  "giving a lock up, which its end does too",
	"membarrier":             "an update of a map of maps waits, too",
	"umount":                 "the mount is in use: it is left",
	"mmap":                   "what cannot be refreshed is left for the next writer",
	"mkdir":                  "it is tried again",
	"ftruncate":              "what cannot be refreshed is left for the next writer",
	"pwrite":                 "what cannot be refreshed is left for the next writer",
	"setns":                  "a namespace that cannot be entered is not in sight, and told of",
	"dup":                    "what cannot be refreshed is left for the next writer",
}

// toldOf is in the warning of a publication that was in force by then: the next writer
// does the rest.
const toldOf = "is left for the next writer"

// Every system call of every command fails in turn: what was there stays, the exit code
// and the message say what to do, and the next command does its work.
func TestFaultSystemCallsFailing(t *testing.T) {
	tried := map[string]bool{}
	for _, mode := range faultModes {
		t.Run(mode, func(t *testing.T) {
			s := newFaultSite(t, mode)
			s.ready()
			for _, op := range operations {
				t.Run(op.name, func(t *testing.T) { failCalls(s.in(t), op, tried) })
			}
		})
	}
}

func failCalls(s *faultSite, op operation, tried map[string]bool) {
	op.before(s)
	all := injector{}
	wantExit(s.t, exitDone, all.run(s.t, s.command(op.args(s)...)))
	op.after(s)
	op.before(s)
	before := s.state()
	n := 0
	for round := range max(1, faultRounds) {
		for i, call := range oneOfEach(callsOf(all.calls)) {
			if faultRounds == 0 && (tried[op.name+call.kind()] || op.brief && tried[call.kind()]) {
				continue
			}
			tried[op.name+call.kind()], tried[call.kind()] = true, true
			in := injector{call: call.label, nth: call.nth, errno: faultErrnos[(i+round)%len(faultErrnos)]}
			var l *load
			if op.under != nil {
				l = s.pod.connects(vipA)
			}
			r := in.run(s.t, s.command(op.args(s)...))
			if l != nil {
				l.onlyTo(s.t, op.under(s)...)
			}
			if in.done {
				n++
				s.answered(op, in, call, r, before)
			}
			if r.code == exitDone || changes(before, s.state()) != "" {
				op.after(s)
				op.before(s)
				before = s.state()
			}
		}
	}
	op.after(s)
	s.t.Logf("%d system calls failed", n)
	report("a system call of "+op.name+" fails", n)
}

// answered checks what a command said and left, of which one call was answered.
func (s *faultSite) answered(op operation, in injector, call aCall, r result, before map[string]string) {
	s.t.Helper()
	what := fmt.Sprintf("%s: %v at %s", op.name, in.errno, call)
	if r.code == exitDone {
		if tolerated[call.kind()] == "" && !strings.Contains(r.err, toldOf) {
			s.t.Errorf("%s: %v\nit ended well", what, r)
		}
		return
	}
	lines := strings.Split(strings.TrimSpace(r.err), "\n")
	// The end of the verifier's log may come behind; the log is for a person to remove.
	lines = slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, "  | ") })
	last := lines[len(lines)-1]
	if _, log, ok := strings.Cut(last, "the verifier's log is in "); ok {
		log, _, _ = strings.Cut(log, ";")
		if err := os.Remove(log); err != nil {
			s.t.Errorf("%s: %v\nthere is no such log: %v", what, r, err)
		}
	}
	if r.code < exitNotReady || !strings.HasPrefix(last, "kmesh-node: ") || strings.Count(last, ": ") < 3 || !strings.Contains(last, "; ") {
		s.t.Errorf("%s: %v", what, r)
	}
	if diff := changes(before, s.state()); diff != "" && !op.partly(s, r) {
		s.t.Errorf("%s: %v\nit left another state:\n%s", what, r, diff)
	}
}

// partly says whether a command that failed may have done a part of its work: down
// removes what it can, and what comes after a change of mode does not undo it.
func (op operation) partly(s *faultSite, r result) bool {
	return slices.Equal(op.args(s), []string{"down"}) || strings.Contains(r.err, "is up; run: kmesh-node")
}
