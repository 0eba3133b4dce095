// SPDX-License-Identifier: Apache-2.0

package livexds

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/bpfmap"
	"github.com/kmesh-net/kmesh-node/internal/workload"
	"github.com/kmesh-net/kmesh-node/internal/workload/workloadtest"
	"github.com/kmesh-net/kmesh-node/internal/xds"
	"github.com/kmesh-net/kmesh-node/internal/xdsclient"
	wapi "github.com/kmesh-net/kmesh-node/proto/workload"
)

// newMaps opens a writer on maps that nobody else has.
func newMaps(t *testing.T) (s *workload.Store, fd func(name string) int) {
	t.Helper()
	fd = workloadtest.Maps(t)
	s, err := workload.Open(fd, workload.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, fd
}

func addresses(t *testing.T, removed []string, messages ...proto.Message) *xds.Document {
	t.Helper()
	var raws []xds.Raw
	for _, m := range messages {
		a := &wapi.Address{}
		switch m := m.(type) {
		case *wapi.Workload:
			a.Type = &wapi.Address_Workload{Workload: m}
		case *wapi.Service:
			a.Type = &wapi.Address_Service{Service: m}
		}
		b, err := proto.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		raws = append(raws, xds.Raw{Name: workload.NameOf(a), URL: xdsclient.AddressType, Value: b})
	}
	d, err := xds.Response("test", xdsclient.AddressType, true, raws, removed)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func podOf(uid string, port uint32) *wapi.Workload {
	return &wapi.Workload{Uid: uid, Namespace: "ns", Addresses: [][]byte{{10, 0, 0, 1}}, Services: map[string]*wapi.PortList{
		"ns/s": {Ports: []*wapi.Port{{ServicePort: 80, TargetPort: port}}}}}
}

func TestWorkloadSink(t *testing.T) {
	s, fd := newMaps(t)
	log := logrus.New()
	log.SetOutput(io.Discard)
	var broken error
	w := newWorkload(log, func(do func(*workload.Store) error) error {
		if broken != nil {
			return broken
		}
		return do(s)
	})
	t.Cleanup(w.Close)
	update := func(d *xds.Document) (names []string) {
		t.Helper()
		rejected, err := w.Update(context.Background(), d)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rejected {
			if !strings.Contains(r.Err.Error(), r.Name) {
				t.Errorf("%s is not named: %v", r.Name, r.Err)
			}
			names = append(names, r.Name)
		}
		return names
	}
	synced := func(want bool, missing string) {
		t.Helper()
		if ok, text := w.Synced(); ok != want || text != missing {
			t.Errorf("synced %v, missing %q, want %v, %q", ok, text, want, missing)
		}
	}
	held := func(want string) {
		t.Helper()
		names, err := w.Held(xdsclient.AddressType)
		slices.Sort(names)
		if err != nil || fmt.Sprint(names) != want {
			t.Errorf("held are %v, %v, want %s", names, err, want)
		}
	}
	synced(false, "Address, Authorization")
	service := &wapi.Service{Namespace: "ns", Hostname: "s", Addresses: []*wapi.NetworkAddress{{Address: []byte{10, 96, 0, 1}}},
		Ports: []*wapi.Port{{ServicePort: 80, TargetPort: 8080}}}
	if names := update(addresses(t, nil, service, podOf("a", 1), podOf("b", 99999))); !slices.Equal(names, []string{"b"}) {
		t.Errorf("rejected %q", names)
	}
	held("[a ns/s]")
	// A name that the message does not bear could not be removed any more.
	misnamed := addresses(t, nil, podOf("c", 1))
	misnamed.Raw[0].Name = "d"
	if names := update(misnamed); !slices.Equal(names, []string{"d"}) {
		t.Errorf("rejected %q", names)
	}
	misnamed.Raw[0].Value = nil
	if l, err := w.Update(context.Background(), misnamed); err != nil || len(l) != 1 || strings.Contains(l[0].Err.Error(), "is named") {
		t.Errorf("an Address with nothing in it: %v, %v", l, err)
	}
	held("[a ns/s]")
	synced(false, "Authorization")
	policies, err := xds.Response("test", xdsclient.AuthorizationType, true, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	update(policies)
	synced(true, "")

	// What there is no room for is rejected as a whole, by name; the stream can go on.
	var many []proto.Message
	for i := range 1 << 11 {
		p := podOf(fmt.Sprintf("many%d", i), 1)
		for k := range 17 {
			p.Addresses = append(p.Addresses, []byte{11, byte(k), byte(i >> 8), byte(i)})
		}
		many = append(many, p)
	}
	if names := update(addresses(t, nil, many...)); len(names) != len(many) {
		t.Errorf("%d rejected, want %d", len(names), len(many))
	}
	held("[a ns/s]")
	// What goes by such a response goes.
	full := addresses(t, []string{"a", "many0"}, many...)
	if names := update(full); len(names) != len(many) {
		t.Errorf("%d rejected, want %d", len(names), len(many))
	}
	held("[ns/s]")
	update(addresses(t, nil, podOf("a", 1)))

	// What another writer removes is told, what the control plane removes is not.
	told := 0
	w.OnLost(func() { told++ })
	other, err := workload.Open(fd, workload.Options{})
	if err != nil {
		t.Fatal(err)
	}
	update(addresses(t, nil, podOf("b", 1)))
	update(addresses(t, []string{"b"}))
	if w.Look(); told != 0 {
		t.Error("a loss is told, and nothing was lost")
	}
	if err := errors.Join(other.Delete(workload.Workload, "a"), other.Close()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		w.Look()
	}
	if told != 1 {
		t.Errorf("told %d times, want once", told)
	}
	update(addresses(t, nil, podOf("a", 1)))

	// Names are those of workloads and of services.
	update(addresses(t, []string{"a", "ns/s", "ns/none"}))
	held("[]")

	// What a response gives up goes without anyone waiting for it.
	update(addresses(t, nil, service, podOf("a", 1)))
	update(addresses(t, nil, podOf("a", 2)))
	blocks := func() (n int) {
		if err := bpfmap.Each(fd("km_block"), 8, 256, func(_, _ []byte) error { n++; return nil }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for end := time.Now().Add(30 * time.Second); blocks() != 1 && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	if n := blocks(); n != 1 {
		t.Errorf("%d blocks, want that of one endpoint", n)
	}

	// Where the maps cannot be written the stream has to begin anew.
	w.Close()
	broken = errors.New("broken")
	if _, err := w.Update(context.Background(), addresses(t, nil, podOf("a", 3))); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	if _, err := w.Held(xdsclient.AddressType); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	if _, err := w.Held(xdsclient.ClusterType); err == nil {
		t.Error("a type of another mode")
	}
}

// What says that something is gone needs room until it is: more may go than there is.
func TestWhatGoesNeedsNoRoom(t *testing.T) {
	s, _ := newMaps(t)
	log := logrus.New()
	log.SetOutput(io.Discard)
	w := newWorkload(log, func(do func(*workload.Store) error) error { return do(s) })
	t.Cleanup(w.Close)
	update := func(d *xds.Document, rejected int) {
		t.Helper()
		l, err := w.Update(context.Background(), d)
		if err != nil || len(l) != rejected {
			t.Fatalf("%d rejected, want %d, %v, first %v", len(l), rejected, err, append(l, xds.Rejection{})[0].Err)
		}
	}
	held := func(want int) {
		t.Helper()
		if l, err := w.Held(xdsclient.AddressType); err != nil || len(l) != want {
			t.Fatalf("%d held, want %d, %v", len(l), want, err)
		}
	}
	var all []proto.Message
	var names []string
	for i := range 1<<15 - 16 { // each of one part of 1<<15; 16 are left for what goes
		names = append(names, fmt.Sprint("w", i))
		all = append(all, &wapi.Workload{Uid: names[i], Namespace: "ns"})
	}
	one, more := all[0], &wapi.Workload{Uid: "more", Namespace: "ns"}
	update(addresses(t, nil, all...), 0)
	held(len(all))
	update(addresses(t, nil, more), 1)
	held(len(all))
	// One by one, and what a complete response does not name.
	update(addresses(t, names[10:20], more), 1)
	held(len(all) - 10)
	complete := addresses(t, nil, more, one)
	complete.Complete = true
	complete.Raw = append(complete.Raw, addresses(t, nil, all[1:11]...).Raw...)
	update(complete, 12)
	held(10)
	update(complete, 0)
	held(12)

	update(addresses(t, nil, all[:len(all)-1]...), 0) // and more
	update(addresses(t, append(names, "more")), 0)
	held(0)
}

// Whoever has closed the sink may close the writer.
func TestAClosedSinkLeavesTheWriterAlone(t *testing.T) {
	log := logrus.New()
	log.SetOutput(io.Discard)
	entered, leave := make(chan struct{}), make(chan struct{})
	var closed, used atomic.Bool
	sink := func() *Workload {
		return newWorkload(log, func(func(*workload.Store) error) error {
			if closed.Load() {
				t.Error("the writer is used after Close")
			}
			close(entered)
			<-leave
			used.Store(true)
			return errors.New("the retirement ends here")
		})
	}
	retireLater := func(w *Workload) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.retireLater()
	}

	// One that is under way is waited for.
	w := sink()
	retireLater(w)
	<-entered
	go func() {
		defer close(leave)
		for isClosed := false; !isClosed; time.Sleep(time.Millisecond) {
			w.mu.Lock()
			isClosed = w.closed
			w.mu.Unlock()
		}
	}()
	w.Close()
	closed.Store(true)
	if !used.Load() {
		t.Error("Close did not wait for a retirement that was under way")
	}

	// One that is to come does not, nor one of a later response.
	w = sink()
	retireLater(w)
	w.Close()
	w.Close()
	if w.timer.Stop() {
		t.Error("a retirement is to come after Close")
	}
	if retireLater(w); w.retiring || w.timer.Stop() {
		t.Error("a retirement is to come of a response after Close")
	}
}
