// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// topReport is what `top --once -o json` prints, as far as it is looked at.
type topReport struct {
	Services []struct {
		Service                    string
		Connects, Refused, Ejected int
		ConnectsPerSecond          float64 `json:"connects_per_second"`
		FailuresPerSecond          float64 `json:"failures_per_second"`
		ConnectLatency             int     `json:"connect_latency_ns"`
	}
	Denied int
}

// topWhile is what top reports of the time in which do is called again and again.
func (n *node) topWhile(do func(), args ...string) (r topReport) {
	n.t.Helper()
	cmd := n.command(append([]string{"-o", "json", "top", "--once", "--interval", "500ms"}, args...)...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, n.t.Output()
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case err := <-ended:
			if err != nil {
				n.t.Fatal(err)
			}
			if err := json.Unmarshal([]byte(out.String()), &r); err != nil {
				n.t.Fatalf("%v: %s", err, out.String())
			}
			return r
		default:
			do()
		}
	}
}

func TestTopOnceInAdsMode(t *testing.T) {
	n, _, c := ward(t, append(forLong, "--outlier-failures", "2")...)
	n.apply(cds(static("a", epA1), static("b", bad1), static("idle", epB1)), lds(listener(service, toCluster("a")), listener(bad2, toCluster("b"))))
	r := n.topWhile(func() { wantReach(t, c, service, epA1); c.reach(bad2) })
	if len(r.Services) != 3 || r.Services[0].Service != "a" {
		t.Fatalf("%+v", r)
	}
	for _, s := range r.Services {
		ok := s.Connects == 0 && s.Refused == 0 && s.ConnectsPerSecond == 0
		switch s.Service {
		case "a":
			ok = s.Connects > 0 && s.ConnectsPerSecond > 0 && s.ConnectLatency > 0 && s.FailuresPerSecond == 0
		case "b":
			ok = s.Connects == 0 && s.Refused > 0 && s.Ejected == 1 && s.FailuresPerSecond > 0
		}
		if !ok {
			t.Errorf("%+v", s)
		}
	}
	if r := n.topWhile(func() {}, "--sort", "failures", "--limit", "1"); len(r.Services) != 1 || r.Services[0].Service != "b" {
		t.Errorf("the service with most failures: %+v", r)
	}
	table := n.want(exitDone, "top", "--once", "--interval", "100ms")
	if lines := strings.Split(table.out, "\n"); !strings.HasPrefix(lines[0], "SERVICE") || len(lines) != 5 || strings.Contains(table.out, "\x1b") {
		t.Errorf("%q", table.out)
	}
	refused(t, exitUsage, n.run("top", "--sort", "size"), "--sort", "connects")
	n.want(exitDone, "down")
	refused(t, exitNotUp, n.run("top", "--once"))
}

// A script that has seen enough gets what there is.
func TestTopOnceThatIsInterruptedPrintsItsTable(t *testing.T) {
	n := upNode(t)
	n.apply(cds(static("a", epA1)))
	cmd := n.command("top", "--once", "--interval", "1h")
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	err := eventually(func() error { return holdsMaps(cmd.Process.Pid) })
	if err := errors.Join(err, cmd.Process.Signal(unix.SIGINT), cmd.Wait()); err != nil || !strings.Contains(out.String(), "\na ") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// Connects are counted while somebody looks, by themselves and exactly.
func TestTopOnceInWorkloadMode(t *testing.T) {
	m, c := lane(t)
	m.apply(wds(serviceA(), a1(), wsvc("b", vips("10.96.0.2"), wport(80, 1)), wpod("b1", ip2, serves("b", wport(80, 1)))))
	made := 0
	r := m.topWhile(func() { wantReach(t, c, vipA, at(ip1, 8080)); c.reach(vipB); made++ })
	for _, s := range r.Services {
		ok := s.Service == keyOf("a") && s.Connects > 0 && s.Connects <= made && s.ConnectsPerSecond > 0 && s.Refused == 0 ||
			s.Service == keyOf("b") && s.Refused > 0 && s.Refused <= made && s.Connects == 0 && s.FailuresPerSecond > 0
		if !ok {
			t.Errorf("%+v of %d connects", s, made)
		}
	}
	if len(r.Services) != 2 {
		t.Errorf("%+v", r)
	}
	before := m.topWhile(func() {}).Services // what was made while the first one ended may count or not
	for range 10 {
		c.reach(vipA)
	}
	again := m.topWhile(func() {}).Services
	for i := range again {
		for _, b := range before {
			if b.Service == again[i].Service && again[i].Connects != b.Connects {
				t.Errorf("nobody looked, and %d were counted on top of %d", again[i].Connects, b.Connects)
			}
		}
	}
}

// screen is a terminal that top runs on.
type screen struct {
	t      *testing.T
	master *os.File
	slave  *os.File
	before unix.Termios
	cmd    *exec.Cmd

	mu   sync.Mutex
	seen strings.Builder
	done chan struct{}
}

const topEvery = 100 * time.Millisecond

// topOn starts top on a terminal of 80 columns and 24 lines.
func (n *node) topOn(t *testing.T, env ...string) *screen {
	t.Helper()
	s := &screen{t: t, done: make(chan struct{})}
	var err error
	if s.master, err = os.OpenFile("/dev/ptmx", os.O_RDWR, 0); err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	if err := unix.IoctlSetPointerInt(int(s.master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	peer, _, errno := unix.Syscall(unix.SYS_IOCTL, s.master.Fd(), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		t.Fatal(errno)
	}
	s.slave = os.NewFile(peer, "terminal")
	s.resize(80, 24)
	was, err := unix.IoctlGetTermios(int(s.slave.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	s.before = *was
	s.cmd = n.command("top", "--interval", topEvery.String())
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = s.slave, s.slave, s.slave
	s.cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true}
	s.cmd.Env = append(s.cmd.Environ(), env...)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.done)
		b := make([]byte, 1<<16)
		for {
			n, err := s.master.Read(b)
			if err != nil {
				return
			}
			s.mu.Lock()
			s.seen.Write(b[:n])
			s.mu.Unlock()
		}
	}()
	return s
}

func (s *screen) resize(width, height uint16) {
	s.t.Helper()
	if err := unix.IoctlSetWinsize(int(s.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: width, Row: height}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *screen) all() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen.String()
}

// shows waits for a whole screen that is so, and returns it.
func (s *screen) shows(what string, is func(lines []string) bool) {
	s.t.Helper()
	frame := ""
	if err := eventually(func() error {
		if frames := strings.Split(s.all(), "\x1b[H"); len(frames) > 2 {
			frame = frames[len(frames)-2]
		}
		if !is(strings.Split(strings.TrimSuffix(strings.ReplaceAll(frame, "\x1b[K", ""), "\x1b[J"), "\r\n")) {
			return fmt.Errorf("the screen does not show %s", what)
		}
		return nil
	}); err != nil {
		s.t.Fatalf("%v:\n%q", err, frame)
	}
}

func (s *screen) press(keys string) {
	s.t.Helper()
	if _, err := s.master.WriteString(keys); err != nil {
		s.t.Fatal(err)
	}
}

// ended waits until top has ended well, and looks at the terminal that it leaves.
func (s *screen) ended() {
	s.t.Helper()
	if err := s.cmd.Wait(); err != nil {
		s.t.Errorf("top: %v\n%s", err, s.all())
	}
	now, err := unix.IoctlGetTermios(int(s.slave.Fd()), unix.TCGETS)
	if err != nil {
		s.t.Fatal(err)
	}
	if *now != s.before {
		s.t.Errorf("the terminal was %+v and is %+v", s.before, *now)
	}
	if err := s.slave.Close(); err != nil {
		s.t.Error(err)
	}
	<-s.done
	if err := s.master.Close(); err != nil {
		s.t.Error(err)
	}
}

func TestTopWhileTheMapsAreMadeAnewInAdsMode(t *testing.T) {
	n, p, c := site(t)
	configure := func() { n.apply(cds(static("a", epA1)), lds(listener(service, toCluster("a")))) }
	configure()
	topWhileAnew(t, n, func() { wantReach(t, c, service, epA1) }, func() {
		n.up()
		n.enroll(p)
		configure()
	})
}

func TestTopWhileTheMapsAreMadeAnewInWorkloadMode(t *testing.T) {
	m := newMesh(t)
	m.backends()
	p := m.enrolled(clientIP)
	c := p.client(0)
	configure := func() { m.apply(wds(serviceA(), a1())) }
	configure()
	topWhileAnew(t, m.node, func() { wantReach(t, c, vipA, at(ip1, 8080)) }, func() {
		m.up()
		m.enroll(p)
		configure()
	})
}

// topWhileAnew looks at one service while other maps come into use: what they counted is
// no rate together with what was counted before, and what is live goes on with them.
func topWhileAnew(t *testing.T, n *node, connect, up func()) {
	t.Helper()
	send := func(to *exec.Cmd, s unix.Signal) {
		t.Helper()
		if err := to.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	once := n.command("top", "--once", "--interval", "3s") // a down waits two for who has maps open
	var errs strings.Builder
	once.Stdout, once.Stderr = t.Output(), &errs
	if err := once.Start(); err != nil {
		t.Fatal(err)
	}
	if err := eventually(func() error { return holdsMaps(once.Process.Pid) }); err != nil {
		t.Error(err)
	}
	n.want(exitDone, "down") // by now it has looked
	send(once, unix.SIGSTOP) // and looks again when the new maps are there
	up()
	send(once, unix.SIGCONT)
	if err := once.Wait(); once.ProcessState.ExitCode() != exitNotUp {
		t.Errorf("top --once: %v\n%s", err, errs.String())
	}

	live := n.topOn(t, "TERM=xterm")
	none := func(l []string) bool { return len(l) > 1 && strings.HasPrefix(l[1], "services 1: 0 connects/s") }
	some := func(l []string) bool {
		if len(l) > 1 && strings.HasPrefix(l[1], "services 1: ") && !none(l) {
			return true
		}
		connect()
		return false
	}
	live.shows("connections", some)
	time.Sleep(3 * topEvery) // until none of them is a rate any more
	live.shows("no connections", none)
	send(live.cmd, unix.SIGSTOP)
	n.want(exitDone, "down")
	up()
	send(live.cmd, unix.SIGCONT)
	live.shows("connections that the new maps count", some)
	live.press("q")
	live.ended()
}

// holdsMaps returns an error unless the process has maps open.
func holdsMaps(pid int) error {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	fds, err := os.ReadDir(dir)
	for _, fd := range fds {
		if to, err := os.Readlink(filepath.Join(dir, fd.Name())); err == nil && to == "anon_inode:bpf-map" {
			return nil
		}
	}
	return errors.Join(fmt.Errorf("process %d has no map open", pid), err)
}

// stopped returns an error unless the process is stopped.
func stopped(pid int) error {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err == nil && !strings.Contains(string(stat), ") T ") {
		err = fmt.Errorf("process %d is not stopped: %s", pid, stat)
	}
	return err
}

func TestTopThatIsStoppedLeavesTheTerminal(t *testing.T) {
	n := upNode(t)
	s := n.topOn(t, "TERM=xterm")
	s.shows("its keys", func(l []string) bool { return len(l) == 24 })
	for range 10 {
		s.press("\x1a")
		if err := eventually(func() error {
			all := s.all()
			if err := stopped(s.cmd.Process.Pid); err != nil {
				return err
			}
			if !strings.HasSuffix(all, "\x1b[?1049l") {
				return fmt.Errorf("the screen is not left: …%q", all[max(0, len(all)-80):])
			}
			return nil
		}); err != nil {
			t.Error(err)
			break
		}
		if err := s.cmd.Process.Signal(unix.SIGCONT); err != nil {
			t.Fatal(err)
		}
		s.shows("its keys again", func([]string) bool { return strings.HasSuffix(s.all(), "\x1b[J") })
	}
	if err := s.cmd.Process.Signal(unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	s.press("q")
	s.ended()
}

func TestTopOnATerminal(t *testing.T) {
	n, _, c := site(t)
	n.apply(cds(static("a", epA1), static("b", epB1)), lds(listener(service, toCluster("a"))))
	const enter, leave, red = "\x1b[?1049h", "\x1b[?1049l", "\x1b["

	s := n.topOn(t, "TERM=xterm", "NO_COLOR=")
	s.shows("both services", func(l []string) bool {
		return len(l) == 24 && strings.Contains(l[2], "CONN/S*") && strings.HasPrefix(l[3], "a ") && strings.HasPrefix(l[4], "b ")
	})
	s.shows("connections", func(l []string) bool {
		wantReach(t, c, service, epA1)
		return !strings.HasPrefix(l[1], "services 2: 0 connects/s")
	})
	s.press("n")
	s.shows("the order by name", func(l []string) bool { return len(l) > 2 && strings.Contains(l[2], "SERVICE*") })
	s.resize(50, 10)
	s.shows("as much as there is room for", func(l []string) bool { return len(l) == 10 && len(l[9]) <= 50 })
	s.press("q")
	s.ended()
	if all := s.all(); strings.Count(all, enter) != 1 || !strings.HasSuffix(all, leave) {
		t.Errorf("the screen was entered or left otherwise: …%q", all[max(0, len(all)-200):])
	}

	s = n.topOn(t, "TERM=xterm", "NO_COLOR=1")
	s.shows("both services", func(l []string) bool { return len(l) == 24 })
	if err := s.cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.ended()
	if all := s.all(); !strings.HasSuffix(all, leave) || strings.Contains(all, red+"1m") {
		t.Errorf("after SIGTERM …%q", all[max(0, len(all)-200):])
	}

	s = n.topOn(t, "TERM=dumb")
	if err := eventually(func() error {
		if strings.Count(s.all(), "SERVICE") < 2 {
			return fmt.Errorf("not twice: %q", s.all())
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	s.press("q")
	s.ended()
	if strings.Contains(s.all(), "\x1b") {
		t.Errorf("a sequence for a terminal that knows none: %q", s.all())
	}
}
