// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"strings"
	"testing"

	"github.com/kmesh-net/kmesh-node/internal/workload"
	"github.com/kmesh-net/kmesh-node/internal/xds"
)

// behindWaypoint is a service at 10.9.0.1:80 whose waypoint is 10.9.0.2.
const behindWaypoint = `{"resources": [{"name": "n/s", "resource": {"@type": "type.googleapis.com/istio.workload.Address",
	"service": {"name": "s", "namespace": "n", "hostname": "s", "addresses": [{"address": "CgkAAQ=="}],
	"ports": [{"servicePort": 80, "targetPort": 80}], "waypoint": {"address": {"address": "CgkAAg=="}}}}}]}`

// withWriter opens the writer of workload mode for do.
func (h *host) withWriter(do func(*workload.Store) error) {
	h.t.Helper()
	must(h.t, h.cfgHandles(func(hd *Handles) error {
		s, err := hd.OpenWorkload()
		if err != nil {
			return err
		}
		return errors.Join(do(s), s.Close())
	}))
}

// waypoint is where connections to the service of behindWaypoint go.
func (h *host) waypoint() (to string) {
	h.t.Helper()
	h.withWriter(func(s *workload.Store) error {
		for _, v := range must1(s.Services())(h.t) {
			for _, f := range v.Frontends {
				for _, e := range f.Via {
					to = e.Address
				}
			}
		}
		return nil
	})
	return to
}

func TestWhatFollowsFromSettingsIsWrittenAndTakenBackWithThem(t *testing.T) {
	h := newWorkloadHost(t)
	must(t, h.up())
	docs := must1(xds.Load([]string{"-"}, strings.NewReader(behindWaypoint)))(t)
	h.withWriter(func(s *workload.Store) error {
		_, err := s.Apply(docs, false)
		return err
	})
	if got := h.waypoint(); got != "10.9.0.2:15019" {
		t.Fatalf("waypoint at %q", got)
	}
	h.cfg.Workload.WaypointPort = 16000
	must(t, h.up())
	if got := h.waypoint(); got != "10.9.0.2:16000" {
		t.Errorf("after up waypoint at %q", got)
	}
	h.cfg.Workload.WaypointPort = 17000
	t.Setenv("KMESH_NODE_FAULT", "commit")
	if err := h.up(); !errors.Is(err, errFault) {
		t.Fatalf("up: %v", err)
	}
	if got := h.waypoint(); got != "10.9.0.2:16000" {
		t.Errorf("after a failed up waypoint at %q", got)
	}
}

func TestPoliciesSurviveAnotherSize(t *testing.T) {
	h := newWorkloadHost(t)
	must(t, h.up())
	docs := must1(xds.Load([]string{"../example/workload"}, nil))(t)
	h.withWriter(func(s *workload.Store) error {
		_, err := s.Apply(docs, false)
		return err
	})
	slots := func() (used int) {
		h.withWriter(func(s *workload.Store) error {
			for _, m := range must1(s.Stats())(t).Maps {
				if m.Map == "km_policy" {
					used = m.Entries
				}
			}
			return nil
		})
		return used
	}
	before := slots()
	h.cfg.PolicySlots *= 2
	must(t, h.up())
	if after := slots(); before < 2 || after != before {
		t.Errorf("%d slots of policies, were %d", after, before)
	}
}
