// SPDX-License-Identifier: Apache-2.0

package livexds

import (
	"fmt"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/kmesh-net/kmesh-node/internal/store"
	"github.com/kmesh-net/kmesh-node/internal/store/storetest"
	"github.com/kmesh-net/kmesh-node/internal/xds"
	"github.com/kmesh-net/kmesh-node/test/controlplane"
)

// realSink is a sink over maps of its own.
func realSink(t testing.TB) (*Ads, *store.Store) {
	storetest.Maps(t)
	s, err := store.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(true); err != nil {
			t.Error(err)
		}
	})
	log := logrus.New()
	log.SetOutput(io.Discard)
	a := newAds(log, time.Now, func(do func(storage) error) error { return do(s) })
	t.Cleanup(a.Close)
	return a, s
}

func documentOf(t testing.TB, r controlplane.Response) *xds.Document {
	raws := make([]xds.Raw, 0, len(r.Resources))
	for _, res := range r.Resources {
		raws = append(raws, xds.Raw{URL: res.Body.GetTypeUrl(), Value: res.Body.GetValue()})
	}
	d, err := xds.Response("bench", r.Type, false, raws, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func update(t testing.TB, a *Ads, r controlplane.Response) {
	t.Helper()
	if rejected, err := a.Update(t.Context(), documentOf(t, r)); err != nil || len(rejected) > 0 {
		t.Fatal(rejected, err)
	}
}

// The first sync of a mesh, once it has been received; then single endpoints.
func BenchmarkFirstSync(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		list, err := controlplane.Fleet{Services: n, Endpoints: 10}.Envoy()
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				a, _ := realSink(b)
				b.StartTimer()
				for _, r := range list {
					update(b, a, r)
				}
			}
		})
	}
}

func BenchmarkOneEndpoint(b *testing.B) {
	f := controlplane.Fleet{Services: 10000, Endpoints: 10}
	list, err := f.Envoy()
	if err != nil {
		b.Fatal(err)
	}
	a, _ := realSink(b)
	for _, r := range list {
		update(b, a, r)
	}
	n := 0
	for b.Loop() {
		n++
		r, err := f.EndpointsOf(n%f.Services, append([]netip.AddrPort{f.Spare(n)}, f.Of(n % f.Services)[1:]...)...)
		if err != nil {
			b.Fatal(err)
		}
		update(b, a, r)
	}
}
