// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/bpfmap"
	"github.com/kmesh-net/kmesh-node/internal/exit"
	"github.com/kmesh-net/kmesh-node/internal/xds"
)

// Writers that know nothing of each other take turns.
func TestTwoWriters(t *testing.T) {
	k := newKernel(t)
	o := Options{LockFile: filepath.Join(t.TempDir(), "run", "x.lock"), LockTimeout: time.Minute}
	var wg sync.WaitGroup
	for w := range 3 {
		s := k.open(o)
		wg.Go(func() {
			for i := range 10 {
				docs := delta(list(svc(fmt.Sprintf("s%d-%d", w, i), fmt.Sprintf("10.%d.0.%d", w+1, i+1), http),
					pod(fmt.Sprintf("p%d-%d", w, i), fmt.Sprintf("10.%d.1.%d", w+1, i+1), in(fmt.Sprintf("s%d-%d", w, i)))))
				if i > 0 {
					docs = append(docs, delta(nil, fmt.Sprintf("ns/s%d-%d", w, i-1))...)
				}
				if _, err := s.Apply(docs, false); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	s := k.open(o)
	k.checkWhole(s)
	services, err := s.Services()
	if err != nil || len(services) != 3 {
		t.Errorf("%d services, %v, want the last of each writer", len(services), err)
	}
	if u, err := s.Stats(); err != nil || u.Workloads != 30 || u.Unfinished {
		t.Errorf("%+v, %v", u, err)
	}
}

// A lock that is held for too long has its own exit code, and nothing is written.
func TestLocked(t *testing.T) {
	k := newKernel(t)
	o := Options{LockFile: filepath.Join(t.TempDir(), "x.lock"), LockTimeout: 20 * time.Millisecond}
	s := k.open(o)
	defer holdLock(t, o.LockFile)()
	if _, err := s.Apply(delta(before()), false); exit.Code(err) != exit.Locked {
		t.Errorf("%v, want code %d", err, exit.Locked)
	}
	if _, err := Open(k.fd, o); exit.Code(err) != exit.Locked {
		t.Errorf("%v, want code %d", err, exit.Locked)
	}
	// down removes the file: who waited for it then waits for the one of that name.
	s = k.open(Options{LockFile: filepath.Join(t.TempDir(), "y.lock"), LockTimeout: time.Minute})
	old := holdLock(t, s.opts.LockFile)
	done := make(chan error, 1)
	go func() {
		_, err := s.Apply(delta(before()), false)
		done <- err
	}()
	time.Sleep(20 * time.Millisecond)
	if err := os.Remove(s.opts.LockFile); err != nil {
		t.Fatal(err)
	}
	second := holdLock(t, s.opts.LockFile)
	defer func() {
		if second != nil {
			second()
		}
	}()
	old()
	select {
	case err := <-done:
		t.Fatalf("went on while another held the lock: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	second()
	second = nil
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// holdLock takes a lock as another process would.
func holdLock(t *testing.T, path string) (release func()) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

// What a publication that failed, and could not be taken back at once, has written, the
// next one takes back.
func TestFailedPublication(t *testing.T) {
	k := newKernel(t)
	s := k.open(Options{})
	apply(t, s, delta(before()))
	want := s.live.dump()
	changed, removed := after()
	good := s.maps.fd["km_frontend"]
	s.at = func(step string) {
		if step == "any port" {
			s.maps.fd["km_frontend"] = -1
		} else if step == "frontends gone" {
			t.Error("it went on")
		}
	}
	_, err := s.Apply(delta(changed, removed...), false)
	if err == nil {
		t.Fatal("want an error")
	}
	s.at = nil
	s.maps.fd["km_frontend"] = good
	refresh(t, s)
	if got := s.live.dump(); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	k.checkWhole(s)
}

// What does not fit is refused by the map's name, and nothing changes.
func TestFull(t *testing.T) {
	k := newKernel(t)
	s := k.open(Options{})
	apply(t, s, delta(before()))
	want, generation := s.live.dump(), s.maps.generation()
	var many []proto.Message
	for i := range maxPeers / 4 {
		a := fmt.Sprintf("11.%d.%d.", i>>8, i&255)
		many = append(many, pod(fmt.Sprintf("x%d", i), a+"1 "+a+"2 "+a+"3 "+a+"4", ""))
	}
	refused := func(what string, docs []xds.Document) {
		t.Helper()
		_, err := s.Apply(docs, false)
		if exit.Code(err) != exit.Rejected || !strings.Contains(err.Error(), what) {
			t.Errorf("%v, want %s named", err, what)
		}
		refresh(t, s)
		if s.live.dump() != want || s.maps.generation() != generation {
			t.Errorf("%s: something changed", what)
		}
	}
	refused("km_peer: 32772 addresses, old and new are more than the limit of 32768", delta(many))
	var ports strings.Builder
	for p := range 5000 {
		fmt.Fprintf(&ports, "ports { service_port: %d target_port: 1 } ", p+1)
	}
	refused("km_frontend", delta(list(svc("big", "10.97.0.1 10.97.0.2 10.97.0.3 10.97.0.4 10.97.0.5 10.97.0.6 10.97.0.7", ports.String()))))
	refused("km_res", delta(list(svc("big", "10.97.0.1", strings.Repeat(`subject_alt_names: "`+strings.Repeat("x", 1<<20)+`" `, 14)))))
	var pols []proto.Message
	for i := range 3 {
		var wide strings.Builder
		for j := range 3000 {
			fmt.Fprintf(&wide, `groups { rules { matches { source_ips { address: "\x%02x\x%02x\x%02x\x01" length: 32 } } } } `, 20+i, j>>8, j&255)
		}
		pols = append(pols, policy(fmt.Sprintf(`name: "q%d" namespace: "ns" scope: NAMESPACE `, i)+wide.String()))
	}
	refused("up --policy-slots", delta(pols))
}

// A map of policies that is new and empty gets the image that is due.
func TestNewPolicyMap(t *testing.T) {
	k := newKernel(t)
	s := k.open(Options{})
	apply(t, s, delta(before()))
	other := newKernel(t)
	for _, name := range []string{"km_policy", "km_pstate"} {
		k.fds[name] = other.fds[name]
	}
	s = k.open(Options{})
	refresh(t, s)
	k.checkWhole(s)
	var p pstateC
	var zero [4]byte
	if err := bpfmap.Lookup(k.fds["km_pstate"], zero[:], raw(&p)); err != nil || p.word == 0 {
		t.Errorf("word %d, %v", p.word, err)
	}
}

func TestDelete(t *testing.T) {
	k := newKernel(t)
	s := k.open(Options{})
	apply(t, s, delta(before()))
	for _, r := range []struct {
		kind Kind
		name string
	}{{Service, "ns/s"}, {Workload, "a"}, {Policy, "ns/one"}} {
		if err := s.Delete(r.kind, r.name); err != nil {
			t.Error(err)
		}
		if err := s.Delete(r.kind, r.name); exit.Code(err) != exit.NotUp {
			t.Errorf("again: %v, want code %d", err, exit.NotUp)
		}
	}
	k.checkWhole(s)
	id := s.live.model.res[Policy]["ns/two"].num
	if kind, name, ok, err := s.Resource(id); !ok || kind != Policy.String() || name != "ns/two" || err != nil {
		t.Errorf("policy %d is %s %q, %v, %v", id, kind, name, ok, err)
	}
	if _, _, ok, err := s.Resource(1 << 30); ok || err != nil {
		t.Error("a number that nobody has")
	}
	var e *exit.Error
	if err := s.Delete(Policy, "ns/none"); !errors.As(err, &e) || e.Object != "policy ns/none" {
		t.Errorf("%v", err)
	}
}
