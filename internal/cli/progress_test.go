// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/exit"
)

// terminal is a pseudo terminal of that many columns; what is written to it is read
// from screen.
func terminal(t *testing.T, columns uint16) (screen, tty *os.File) {
	t.Helper()
	t.Setenv("TERM", "xterm")
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no pseudo terminal: %v", err)
	}
	t.Cleanup(func() { screen.Close() })
	n, err := unix.IoctlGetInt(int(screen.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(screen.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(int(screen.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns})
	}
	if err == nil {
		tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	return screen, tty
}

// until reads what is on the screen, up to and with that text.
func until(t *testing.T, screen *os.File, text string) string {
	t.Helper()
	var all strings.Builder
	b := make([]byte, 256)
	for !strings.Contains(all.String(), text) {
		n, err := screen.Read(b)
		if err != nil {
			t.Fatalf("no %q in %q: %v", text, all.String(), err)
		}
		all.Write(b[:n])
	}
	return all.String()
}

// applyOf runs an apply of what stdin gives, on that terminal.
func applyOf(tty *os.File, stdin io.Reader, args ...string) (done chan int) {
	done = make(chan int)
	c := &command{objects: fstest.MapFS{}, stdin: stdin, stdout: tty, stderr: tty}
	go func() {
		done <- Execute(newApp(c), append([]string{"kmesh-node", "--bpf-fs-path", "/none", "apply", "-f", "-"}, args...))
	}()
	return done
}

func TestProgressOfACommandThatTakesLonger(t *testing.T) {
	screen, tty := terminal(t, 80)
	stdin, write := io.Pipe()
	done := applyOf(tty, stdin)
	if got := until(t, screen, "(2 s)"); got != eraseLine+"apply: read (1 s)"+eraseLine+"apply: read (2 s)" {
		t.Errorf("on the screen: %q", got)
	}
	if _, err := io.WriteString(write, "wrong"); err != nil {
		t.Fatal(err)
	}
	if err := write.Close(); err != nil {
		t.Fatal(err)
	}
	if code := <-done; code != exit.Rejected {
		t.Errorf("exit %d", code)
	}
	if got := until(t, screen, "\n"); !strings.HasPrefix(got, eraseLine+"kmesh-node: ") {
		t.Errorf("before the error: %q", got)
	}
}

// Lines go above it, and it fits into its own line whatever its length.
func TestProgressBesideLinesOfALog(t *testing.T) {
	screen, tty := terminal(t, 12)
	p := newProgress(tty)
	p.start("up")
	if _, err := io.WriteString(p, "before\n"); err != nil {
		t.Fatal(err)
	}
	p.tick()
	p.at("a step with a name")
	if _, err := io.WriteString(p, "line\n"); err != nil {
		t.Fatal(err)
	}
	p.stop()
	p.tick() // one that was under way
	p.at("nothing")
	if _, err := io.WriteString(p, "end\n"); err != nil {
		t.Fatal(err)
	}
	want := "before\r\n" + eraseLine + "up (0 s)" + eraseLine + "a step with" + eraseLine + "line\r\n" +
		eraseLine + "a step with" + eraseLine + "end\r\n"
	if got := until(t, screen, "end\r\n"); got != want {
		t.Errorf("on the screen: %q, want %q", got, want)
	}
}

func TestProgressIsForTerminalsAlone(t *testing.T) {
	_, tty := terminal(t, 80)
	if newProgress(tty) == nil {
		t.Error("none on a terminal")
	}
	for _, term := range []string{"dumb", ""} {
		t.Setenv("TERM", term)
		if newProgress(tty) != nil {
			t.Errorf("one on a terminal of type %q", term)
		}
	}
	t.Setenv("TERM", "xterm")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if newProgress(w) != nil || newProgress(io.Discard) != nil {
		t.Error("one where there is no terminal")
	}
	// No line, no effect.
	p := newProgress(w)
	p.start("up")
	p.at("step")
	p.stop()
}

// reader is asked for standard input.
type reader func()

func (r reader) Read([]byte) (int, error) {
	r()
	return 0, io.EOF
}

func TestNoProgressBesideDataForPrograms(t *testing.T) {
	_, tty := terminal(t, 80)
	for form, want := range map[string]bool{"table": true, "json": false, "yaml": false} {
		c := &command{objects: fstest.MapFS{}, stdout: io.Discard, stderr: tty}
		app := newApp(c)
		c.stdin = reader(func() {
			if got := c.progress.timer != nil; got != want {
				t.Errorf("-o %s: progress is %v", form, got)
			}
		})
		if code := Execute(app, []string{"kmesh-node", "apply", "-f", "-", "-o", form}); code != exit.Rejected {
			t.Errorf("-o %s: exit %d", form, code)
		}
	}
}
