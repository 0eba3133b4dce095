// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/probe"
)

// A self-test makes connections from a process in a scratch cgroup below the attached
// one and a scratch network namespace, which nobody's configuration is about and which
// nobody else is in. What it tests are the programs; it touches no map of theirs.

// SelfTest shows that what is up runs: a connection of each address family from below
// the attached cgroup arrives, and every program on its way has been run for it. Nothing
// is left of it. An error is of code Load and names the program; what cannot be tested on
// this host is no error, but told in the log.
func SelfTest(cfg *Config) error {
	h, err := OpenPinned(cfg)
	if err != nil {
		return err
	}
	defer h.Close()
	t := cfg.tree()
	rec, err := t.load()
	if err != nil {
		return notUp("self-test", t)
	}
	rows := wanted(cfg.Mode, rec.Variant)
	progs := map[string]int{}
	defer func() {
		for _, fd := range progs {
			closeFd(cfg.Log, fd)
		}
	}()
	for _, r := range rows {
		fd, err := pinGet(t.pin(progDir, r.name))
		if err != nil {
			return loadError("self-test", r.name, err, "run: kmesh-node up")
		}
		progs[r.name] = fd
	}
	s, err := beginTrial(h, rows)
	if err != nil {
		return ignoreUntestable(cfg, err)
	}
	return errors.Join(s.attached(progs), s.end())
}

// ignoreUntestable lets a host on which no self-test can be made go on without.
func ignoreUntestable(cfg *Config, err error) error {
	if !errors.Is(err, probe.ErrCannot) {
		return err
	}
	cfg.Log.Warnf("self-test: not done, the programs are as the verifier accepted them: %v", err)
	return nil
}

// trial is a self-test that is under way.
type trial struct {
	h     *Handles
	rows  []program
	dir   *scratchCgroup // nil: none could be made, the process is in our own cgroup
	probe *probe.Probe
	has   map[netip.AddrPort]bool // listened at
	plain []netip.AddrPort        // addresses that no configuration is about, one per family
	ports ports
}

// ports that the process listens at, all different.
type ports struct{ plain, endpoint, other, waypoint uint16 }

var loopbacks = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}

// beginTrial starts the process; end ends it.
func beginTrial(h *Handles, rows []program) (_ *trial, err error) {
	t := &trial{h: h, rows: rows, has: map[netip.AddrPort]bool{}}
	if err := fault("selftest"); err != nil {
		return nil, loadError("self-test", h.cfg.tree().root(), err, "")
	}
	if t.ports, err = freePorts(h); err != nil {
		return nil, fmt.Errorf("self-test: %w", err)
	}
	var listen []netip.AddrPort
	for _, port := range []uint16{t.ports.plain, t.ports.endpoint, t.ports.other, t.ports.waypoint} {
		for _, ip := range loopbacks {
			listen = append(listen, netip.AddrPortFrom(ip, port))
		}
	}
	if t.dir, err = makeScratchCgroup(h.cfg.Cgroup2Path); err != nil {
		h.cfg.Log.Debugf("self-test: in this process's own cgroup: %v", err)
	}
	if err := t.start(listen); err != nil {
		return nil, errors.Join(err, t.end())
	}
	for i, a := range listen {
		if err := t.probe.Listens(i); err != nil {
			h.cfg.Log.Debugf("self-test: without %v: %v", a, err)
			continue
		}
		t.has[a] = true
	}
	for _, ip := range loopbacks {
		if a := netip.AddrPortFrom(ip, t.ports.plain); t.has[a] {
			t.plain = append(t.plain, a)
		}
	}
	return t, nil
}

func (t *trial) start(listen []netip.AddrPort) (err error) {
	if t.dir != nil {
		t.probe, err = probe.Start(t.dir.fd, listen)
		if err == nil {
			return nil
		}
		t.h.cfg.Log.Debugf("self-test: in this process's own cgroup: %v", err)
		dir := t.dir
		t.dir = nil
		if err := dir.remove(); err != nil {
			return err
		}
	}
	t.probe, err = probe.Start(-1, listen)
	return err
}

// end ends the process and leaves nothing.
func (t *trial) end() error {
	var errs []error
	if t.probe != nil {
		errs = append(errs, t.probe.Close())
	}
	if t.dir != nil {
		errs = append(errs, t.dir.remove())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("clean up after the self-test: %w", err)
	}
	return nil
}

// attached tests programs that are attached where they belong, with connections that go
// where they were asked to. Packets are judged by the policies that are in force: xdpauth
// gets one that none is about.
func (t *trial) attached(progs map[string]int) error {
	if err := t.inEffect(progs); err != nil {
		return err
	}
	var l []attempt
	for _, a := range t.plain {
		l = append(l, attempt{conn: probe.Conn{To: a}, at: a, by: connectRow(a.Addr())})
	}
	return t.counted(progs, t.driven(progs), func(bool) error {
		if err := t.round(l); err != nil {
			return err
		}
		if prog, ok := progs[nicProgram]; ok {
			return onPacket(prog, tcpSyn|tcpAck, t.ports.plain, xdpPass)
		}
		return nil
	})
}

// inEffect asks the kernel whether connections from below the cgroup meet the programs.
func (t *trial) inEffect(progs map[string]int) error {
	if t.dir == nil {
		return nil
	}
	for _, r := range t.rows {
		if r.hook.kind != onCgroup {
			continue
		}
		info, err := progInfoOf(progs[r.name])
		if err != nil {
			return loadError("self-test", r.name, err, "")
		}
		yes, err := inEffect(t.dir.fd, r.hook.attachType, info.ID)
		if err != nil {
			return loadError("self-test", r.name, fmt.Errorf("ask what runs below %s: %w", t.h.cfg.Cgroup2Path, err), "")
		}
		if !yes {
			return loadError("self-test", r.name, fmt.Errorf("it is not what runs at %s below %s", r.hook, t.h.cfg.Cgroup2Path), "")
		}
	}
	return nil
}

// driven lists the programs of progs that every connection must run, given the families
// there are.
func (t *trial) driven(progs map[string]int) []string {
	var l []string
	for _, r := range t.rows {
		switch r.hook.kind {
		case byTailCall, onSockMap, onPodNIC:
			continue
		}
		if _, ok := progs[r.name]; !ok {
			continue
		}
		if r.name == connectRow(loopbacks[1]) && !slices.Contains(t.plain, netip.AddrPortFrom(loopbacks[1], t.ports.plain)) {
			t.h.cfg.Log.Debugf("self-test: %s is not tested, there is no IPv6 here", r.name)
			continue
		}
		l = append(l, r.name)
	}
	return l
}

// connectRow is the row that redirects connections of a family.
func connectRow(ip netip.Addr) string {
	if ip.Is4() {
		return "sockconn4"
	}
	return "sockconn6"
}

// counted asks for at least one run of each of these programs while do works. Others'
// connections run them as well. do is told whether runs are counted.
func (t *trial) counted(progs map[string]int, driven []string, do func(bool) error) (err error) {
	fd, err := countRuns()
	if err != nil {
		t.h.cfg.Log.Debugf("self-test: runs are not counted: %v", err)
		return do(false)
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	before, err := runCounts(progs, driven)
	if err != nil {
		return err
	}
	if err := do(true); err != nil {
		return err
	}
	after, err := runCounts(progs, driven)
	if err != nil {
		return err
	}
	for _, name := range driven {
		if after[name] != before[name] {
			continue
		}
		if t.dir == nil {
			t.h.cfg.Log.Debugf("self-test: %s was not run; perhaps this process is not below %s", name, t.h.cfg.Cgroup2Path)
			continue
		}
		why, remedy, err := unseen(t.h.cfg.Cgroup2Path)
		if err == nil && why != "" {
			err = errors.New(why)
		}
		return loadError("self-test", name, errors.Join(errors.New("connections were made, and it was not run"), err), remedy)
	}
	return nil
}

func runCounts(progs map[string]int, names []string) (map[string]uint64, error) {
	n := map[string]uint64{}
	for _, name := range names {
		info, err := progInfoOf(progs[name])
		if err != nil {
			return nil, loadError("self-test", name, err, "")
		}
		n[name] = info.RunCount
	}
	return n, nil
}
