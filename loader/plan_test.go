// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/exit"
)

func TestPlanForetellsTheFirstUpAndTheSecond(t *testing.T) {
	eachMode(t, func(_ *testing.T, h *host) {
		h.foretold(StartNormal)
		h.foretold(StartRestart)
	})
}

func TestPlanForetellsAnUpdate(t *testing.T) {
	eachMode(t, func(t *testing.T, h *host) {
		must(t, h.up())
		h.enroll(newPod(t, "10.1.2.3/24"))
		h.anotherBuild()
		h.foretold(StartUpdate)
		h.firstBuild()
		h.cfg.Release = "another"
		h.foretold(StartUpdate)
		h.cfg.Release = "a third"
		h.foretold(StartRestart).has(t, ActionUpdate, "record", "meta")
	})
}

func TestPlanForetellsAChangeOfMode(t *testing.T) {
	eachMode(t, func(t *testing.T, h *host) {
		must(t, h.up())
		h.enroll(newPod(t, "10.1.2.3/24"))
		stranger := filepath.Join(h.t_.dir(mapDir), "stranger")
		must(t, pinPut(h.pinned(mapDir, "km_config"), stranger))
		h.setMode(otherMode(h.cfg.Mode))
		p := h.plan()
		p.has(t, ActionKeep, "pin", stranger)
		must(t, os.Remove(stranger))
		h.foretold(StartMode)
	})
}

func TestPlanForetellsRepairs(t *testing.T) {
	type drift struct {
		name   string
		make   func(t *testing.T, h *host)
		action string
		kind   string
		what   string
	}
	lose := func(d dir, name string) func(*testing.T, *host) {
		return func(t *testing.T, h *host) { must(t, os.Remove(h.t_.pin(d, name))) }
	}
	for _, d := range []drift{
		{"a lost link", lose(linkDir, "sockconn4"), ActionRepair, "link", "sockconn4"},
		{"a lost map that is held", lose(mapDir, "km_config"), ActionRepair, "map", "km_config"},
		{"a lost program that is held", lose(progDir, "sockconn6"), ActionRepair, "program", "sockconn6"},
		{"a lost record", func(t *testing.T, h *host) { must(t, os.Remove(h.t_.meta())) }, ActionCreate, "record", "meta"},
		{"a detached link", func(t *testing.T, h *host) {
			must(t, linkDetach(h.pinned(linkDir, "sock_ops")))
		}, ActionRepair, "link", "sock_ops"},
		{"a link that runs another program", func(t *testing.T, h *host) {
			h.swapByStranger("sockconn4")
		}, ActionRepair, "link", "sockconn4"},
		{"a cgroup that is gone", func(t *testing.T, h *host) {
			must(t, os.Remove(h.cfg.Cgroup2Path))
			must(t, os.Mkdir(h.cfg.Cgroup2Path, 0o755))
		}, ActionRepair, "link", "sockconn6"},
		{"settings by another's hand", func(t *testing.T, h *host) {
			c := h.config()
			c.manage = 1 - c.manage
			must(t, mapUpdate(h.pinned(mapDir, "km_config"), uint32(0), c))
		}, ActionUpdate, "settings", "km_config"},
		{"a pin of a killed up", func(t *testing.T, h *host) {
			must(t, pinPut(h.pinned(progDir, "sockconn4"), h.t_.pin(progDir, "sockconn4_1")))
		}, ActionDelete, "program", "sockconn4_1"},
		{"a lost directory of pins", func(t *testing.T, h *host) {
			must(t, os.RemoveAll(h.t_.dir(linkDir)))
		}, ActionCreate, "directory", "link"},
	} {
		t.Run(d.name, func(t *testing.T) {
			eachMode(t, func(t *testing.T, h *host) {
				must(t, h.up())
				d.make(t, h)
				what := d.what
				if d.kind == "directory" {
					what = h.t_.dir(dir(what))
				}
				start := StartRestart
				if d.kind == "record" {
					start = StartNormal
				}
				why := h.foretold(start).has(t, d.action, d.kind, what)
				t.Logf("%s %s: %s", d.kind, what, why)
			})
		})
	}
}

// swapByStranger puts a program that is not kmesh-node's into a link of its.
func (h *host) swapByStranger(link string) {
	h.t.Helper()
	other := *h
	other.cfg.BpfFsPath += "-other"
	other.t_ = other.cfg.tree()
	must(h.t, other.up())
	must(h.t, linkUpdate(h.pinned(linkDir, link), other.pinned(progDir, link)))
	must1(Down(&other.cfg))(h.t)
}

func TestPlanForetellsWhatBecomesOfPods(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, h *host, path string, cookie uint64){
		"nothing": func(*testing.T, *host, string, uint64) {},
		"a lost link": func(t *testing.T, h *host, _ string, c uint64) {
			must(t, os.Remove(h.t_.pin(linkDir, h.nicLinks(c)[0])))
		},
		"a detached link": func(t *testing.T, h *host, _ string, c uint64) {
			must(t, linkDetach(h.pinned(linkDir, h.nicLinks(c)[0])))
		},
		"another address": func(t *testing.T, _ *host, path string, _ uint64) {
			ip(t, path, "addr", "add", "10.9.9.9/32", "dev", "eth0")
		},
		"a replaced NIC": func(t *testing.T, _ *host, path string, _ uint64) { replaceNIC(t, path) },
		"not enrolled": func(t *testing.T, h *host, _ string, c uint64) {
			must(t, h.cfgHandles(func(hd *Handles) error { return hd.release(c) }))
		},
		"native": func(t *testing.T, h *host, path string, _ uint64) {
			ip(t, path, "link", "del", "eth0")
			ip(t, path, "link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
			must(t, h.up())
			h.cfg.XDPMode = XDPNative
		},
		"judged traffic": func(_ *testing.T, h *host, _ string, _ uint64) { h.cfg.Workload.JudgeNode = true },
		"another name":   func(_ *testing.T, h *host, _ string, _ uint64) { h.cfg.Workload.NodeName = "another" },
		"more flows":     func(_ *testing.T, h *host, _ string, _ uint64) { h.cfg.FlowEntries *= 2 },
		"more workloads": func(_ *testing.T, h *host, _ string, _ uint64) { h.cfg.Workloads *= 2 },
		"more policies":  func(_ *testing.T, h *host, _ string, _ uint64) { h.cfg.PolicySlots *= 2 },
		"a lost tail call": func(t *testing.T, h *host, _ string, _ uint64) {
			must(t, mapDelete(h.pinned(mapDir, "km_tail_msg"), uint32(0)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newWorkloadHost(t)
			must(t, h.up())
			path := newPod(t, "10.1.2.3/24")
			change(t, h, path, h.enroll(path))
			h.foretold(StartRestart)
		})
	}
}

// replaceNIC gives a pod another device in place of the one that it has.
func replaceNIC(t *testing.T, path string) {
	t.Helper()
	ip(t, path, "link", "del", "eth0")
	ip(t, path, "link", "add", "eth0", "type", "bridge")
}

func TestPlanForgetsANamespaceThatIsGone(t *testing.T) {
	h := newWorkloadHost(t)
	must(t, h.up())
	gone := uint64(1) << 40 // no namespace has that cookie yet
	must(t, h.cfgHandles(func(hd *Handles) error { return mapUpdate(hd.FD("km_netns"), gone, newKmNetns(1)) }))
	h.foretold(StartRestart).has(t, ActionDelete, "enrolment", fmt.Sprint(gone))
}

func TestPlanMountsAgainWhatWasUnmounted(t *testing.T) {
	h := newHost(t)
	dir := filepath.Dir(h.cfg.RunDir)
	h.cfg.BpfFsPath = filepath.Join(dir, "a", "bpf")
	h.t_ = h.cfg.tree()
	h.cfg.Cgroup2Path = filepath.Join(dir, "b", "cgroup")
	t.Cleanup(func() { must1(Down(&h.cfg))(t) })
	h.foretold(StartNormal).has(t, ActionCreate, "directory", filepath.Join(dir, "a"))
	must(t, unix.Unmount(h.cfg.Cgroup2Path, 0))
	h.foretold(StartRestart).has(t, ActionCreate, "mount", h.cfg.Cgroup2Path)
}

func TestPlanRefusesWhatUpWouldRefuse(t *testing.T) {
	eachMode(t, func(t *testing.T, h *host) {
		must(t, h.up())
		cfg := h.cfg
		cfg.Cgroup2Path = "/proc"
		_, err := MakePlan(&cfg)
		wantError(t, err, exit.NotReady, "/proc", "--cgroup2-path")

		meta := must1(pinGet(h.t_.meta()))(t)
		defer func() { must(t, unix.Close(meta)) }()
		must(t, mapUpdateBytes(meta, uint32(0), []byte(strings.Repeat("x", recordSize))))
		_, err = MakePlan(&h.cfg)
		wantError(t, err, exit.Load, "meta", "kmesh-node down")
		wantError(t, h.up(), exit.Load, "meta", "kmesh-node down")
		must1(Down(&h.cfg))(t)
	})
}

func TestPlanBesideARun(t *testing.T) {
	h := newHost(t)
	cfg := h.cfg
	cfg.Stay = true
	l := NewBpfLoader(&cfg)
	must(t, l.Start(t.Context()))
	defer l.Stop()
	if p := must1(MakePlan(&h.cfg))(t); p.Run != fmt.Sprint(os.Getpid()) {
		t.Errorf("run %q, want %d", p.Run, os.Getpid())
	}
	if p := must1(MakePlan(&cfg))(t); p.Run != "" || len(p.Pending()) > 0 {
		t.Errorf("a plan of the run itself: %+v", p)
	}
	h.anotherBuild()
	_, err := MakePlan(&h.cfg)
	wantError(t, err, exit.Locked, fmt.Sprint(os.Getpid()))
}
