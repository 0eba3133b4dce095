// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

func (h *host) enrolled() []uint64 {
	h.t.Helper()
	var l []uint64
	must(h.t, h.cfgHandles(func(hd *Handles) error {
		for _, n := range must1(hd.Enrolled())(h.t) {
			l = append(l, n.Cookie)
		}
		return nil
	}))
	return l
}

func TestUpOfTheOtherModeCarriesEnrolmentsOverAndTakesTheFirstDown(t *testing.T) {
	for _, from := range modes {
		t.Run("from "+string(from), func(t *testing.T) {
			h := newHost(t)
			h.setMode(from)
			must(t, h.up())
			cookie := h.enroll(newPod(t, "10.1.2.3/24"))
			to := otherMode(from)
			h.setMode(to)
			must(t, h.up())
			if up := ModesUp(&h.cfg); !slices.Equal(up, []Mode{to}) {
				t.Errorf("up: %v", up)
			}
			if l := h.enrolled(); !slices.Equal(l, []uint64{cookie}) {
				t.Errorf("enrolled: %v, want %d", l, cookie)
			}
			if n := len(h.nicLinks(cookie)); n != map[Mode]int{Ads: 0, Workload: 1}[to] {
				t.Errorf("%d links on devices in mode %s", n, to)
			}
			h.noProblem()
			h.upAgainChangesNothing()
			must1(Down(&h.cfg))(t)
			h.empty()
		})
	}
}

func TestAFailedChangeOfModeLeavesTheFirst(t *testing.T) {
	for _, from := range modes {
		for _, step := range steps {
			t.Run(fmt.Sprintf("from %s/%s", from, step), func(t *testing.T) {
				h := newHost(t)
				h.setMode(from)
				must(t, h.up())
				cookie := h.enroll(newPod(t, "10.1.2.3/24"))
				before, pins := h.record(), h.pins()
				t.Setenv("KMESH_NODE_FAULT", step)
				h.setMode(otherMode(from))
				if err := h.up(); !errors.Is(err, errFault) {
					t.Fatalf("up: %v", err)
				}
				t.Setenv("KMESH_NODE_FAULT", "")
				h.setMode(from)
				if up := ModesUp(&h.cfg); !slices.Equal(up, []Mode{from}) {
					t.Errorf("up: %v", up)
				}
				if !h.record().same(before) || h.pins() != pins || !slices.Equal(h.enrolled(), []uint64{cookie}) {
					t.Error("the first mode changed")
				}
				h.noProblem()
				must1(Down(&h.cfg))(t)
				h.empty()
			})
		}
	}
}

// A change of mode that was killed leaves both; the next up of either ends it.
func TestUpEndsAChangeOfModeThatWasKilled(t *testing.T) {
	for _, step := range steps {
		for _, next := range modes {
			t.Run(step+"/then "+string(next), func(t *testing.T) {
				h := newHost(t)
				must(t, h.up())
				cookie := h.enroll(newPod(t, "10.1.2.3/24"))
				h.setMode(Workload)
				h.upKilled(step)
				h.setMode(next)
				must(t, h.up())
				if up := ModesUp(&h.cfg); !slices.Equal(up, []Mode{next}) {
					t.Errorf("up: %v", up)
				}
				if !slices.Equal(h.enrolled(), []uint64{cookie}) {
					t.Errorf("enrolled: %v, want %d", h.enrolled(), cookie)
				}
				h.noProblem()
				h.upAgainChangesNothing()
				must1(Down(&h.cfg))(t)
				h.empty()
			})
		}
	}
}

func TestDownOfNoModeTakesEachDown(t *testing.T) {
	h := newHost(t)
	must(t, h.up())
	h.setMode(Workload)
	h.upKilled("commit")
	if up := ModesUp(&h.cfg); !slices.Equal(up, modes) {
		t.Fatalf("up: %v", up)
	}
	h.cfg.Mode = ""
	must1(Down(&h.cfg))(t)
	h.empty()
}
