// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const journalSocket = "/run/systemd/journal/socket"

// underJournal runs cmd as systemd does where standard error goes to the journal: its
// lines are returned.
func underJournal(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	stream := toStream(t, cmd)
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(stream)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// toStream has cmd's standard error go to a file that stands for the journal's stream.
func toStream(t *testing.T, cmd *exec.Cmd) (path string) {
	t.Helper()
	stream, err := os.Create(filepath.Join(t.TempDir(), "stream"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stream.Close() })
	var st unix.Stat_t
	if err := unix.Fstat(int(stream.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), fmt.Sprintf("JOURNAL_STREAM=%d:%d", st.Dev, st.Ino))
	cmd.Stderr = stream
	return stream.Name()
}

// journalEntries is the side of the journal that takes entries.
func journalEntries(t *testing.T) func() []map[string]string {
	t.Helper()
	return entriesOf(t, journalListener(t))
}

// journalListener is the journal's socket, which nobody reads from yet.
func journalListener(t *testing.T) *net.UnixConn {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(journalSocket), 0o755); err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: journalSocket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// entriesOf reads entries until the function that it returns is called.
func entriesOf(t *testing.T, conn *net.UnixConn) func() []map[string]string {
	t.Helper()
	var all []map[string]string
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 1<<16)
		for {
			n, err := conn.Read(b)
			if err != nil {
				return
			}
			entry := map[string]string{}
			for l := range strings.Lines(string(b[:n])) {
				k, v, _ := strings.Cut(strings.TrimSuffix(l, "\n"), "=")
				entry[k] = v
			}
			all = append(all, entry)
			if entry["MESSAGE"] == "the end" {
				return
			}
		}
	}()
	return func() []map[string]string {
		t.Helper()
		end, err := net.Dial("unixgram", journalSocket)
		if err == nil {
			_, err = end.Write([]byte("MESSAGE=the end\n"))
		}
		if err != nil {
			t.Fatal(err)
		}
		<-done
		end.Close()
		conn.Close()
		if err := os.RemoveAll("/run/systemd"); err != nil {
			t.Error(err)
		}
		return all
	}
}

func TestTheJournalGetsEntriesWithPrioritiesAndFields(t *testing.T) {
	n := newNode(t)
	entries := journalEntries(t)
	lines := underJournal(t, n.command("up"))
	lines += underJournal(t, n.command("get", "nothing-of-this"))
	lines += underJournal(t, n.command("apply", "-f", filepath.Join(n.dir, "none")))
	all := entries()
	if strings.TrimSpace(lines) != "" {
		t.Errorf("on standard error beside the entries:\n%s", lines)
	}
	for _, want := range []map[string]string{
		{"PRIORITY": "6", "KMESH_MODE": "ads", "SYSLOG_IDENTIFIER": "kmesh-node", "MESSAGE": "up: started"},
		{"PRIORITY": "3", "KMESH_EXIT_CODE": "2", "SYSLOG_IDENTIFIER": "kmesh-node"},
		{"PRIORITY": "3", "KMESH_EXIT_CODE": "13", "KMESH_STEP": "read configuration", "KMESH_OBJECT": filepath.Join(n.dir, "none")},
	} {
		found := false
		for _, e := range all {
			same := true
			for k, v := range want {
				same = same && e[k] == v
			}
			found = found || same
		}
		if !found {
			t.Errorf("no entry is as %v", want)
		}
	}
	for _, e := range all[:len(all)-1] {
		if e["PRIORITY"] == "" || e["MESSAGE"] == "" {
			t.Errorf("an entry without a priority or a message: %v", e)
		}
	}
}

// Nothing waits for a journald that hangs: run becomes ready, answers and ends. What it
// had to say is there when the journal reads again.
func TestRunDoesNotWaitForAJournalThatHangs(t *testing.T) {
	n := newNode(t)
	conn := journalListener(t)
	cmd := n.command("--log-level", "debug", "run", everySoon)
	toStream(t, cmd)
	s := n.manageRun(cmd)
	t.Cleanup(func() { conn.Close() }) // what waits for a reader goes on
	_, at := s.hear(0, "READY=1")
	s.signal(unix.SIGHUP)
	s.hear(at, "RELOADING=1", "READY=1")
	entries := entriesOf(t, conn)
	s.stop(exitDone)
	all := entries()
	// More than a socket's queue takes without a reader, or nothing was shown.
	if len(all) < 15 || all[0]["MESSAGE"] == "" || !strings.HasPrefix(all[len(all)-2]["MESSAGE"], "run: stopped") {
		t.Errorf("%d entries, %v … %v", len(all), all[0], all[max(0, len(all)-2)])
	}
}

func TestWithoutTheJournalsSocketLinesHavePriorities(t *testing.T) {
	n := newNode(t)
	lines := underJournal(t, n.command("up"))
	lines += underJournal(t, n.command("get", "nothing-of-this"))
	for l := range strings.Lines(strings.TrimSpace(lines)) {
		if !strings.HasPrefix(l, "<6>") && !strings.HasPrefix(l, "<3>") {
			t.Errorf("a line without a priority: %q", l)
		}
	}
	for _, want := range []string{"<6>up: started\n", "<3>"} {
		if !strings.Contains(lines, want) {
			t.Errorf("no line %q:\n%s", want, lines)
		}
	}
	// JSON is asked for by who reads lines.
	if lines = underJournal(t, n.command("--log-format", "json", "up")); !strings.HasPrefix(lines, "{") {
		t.Errorf("with --log-format json:\n%s", lines)
	}
}
