// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/podrecord"
)

// told writes the record of a pod that the container runtime told of.
func (h *host) told(id, path string) *podrecord.Record {
	h.t.Helper()
	r := &podrecord.Record{ContainerID: id, IfName: "eth0", Network: "n", Netns: path, Namespace: "default", Name: id}
	r.Cookie = must1(NamespaceCookie(path))(h.t)
	var err error
	r.Dev, r.Ino, err = podrecord.Identify(path)
	must(h.t, err)
	r.Boot = must1(podrecord.Boot())(h.t)
	must(h.t, h.cfg.PodRecords().Write(r))
	return r
}

// recorded are the ids of the records that are there.
func (h *host) recorded() string {
	h.t.Helper()
	l, invalid, err := h.cfg.PodRecords().List()
	must(h.t, errors.Join(append(invalid, err)...))
	var ids []string
	for _, r := range l {
		ids = append(ids, r.ContainerID)
	}
	return strings.Join(ids, " ")
}

func (h *host) enrolledNow() (cookies []uint64) {
	h.t.Helper()
	must(h.t, h.cfgHandles(func(hd *Handles) (err error) {
		cookies, err = netnsKeys(hd.FD("km_netns"))
		return err
	}))
	return cookies
}

// pending are the changes that a plan names, of these kinds.
func (h *host) pending(kinds ...string) string {
	h.t.Helper()
	var l []string
	for _, c := range must1(MakePlan(&h.cfg))(h.t).Pending() {
		if slices.Contains(kinds, c.Kind) {
			l = append(l, c.Action+" "+c.Kind+": "+c.Why)
		}
	}
	return strings.Join(l, "\n")
}

// Each fate of a record, as plan says it and as up does it, in both modes.
func TestUpDoesWithRecordsWhatPlanSays(t *testing.T) {
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			h := newHost(t)
			h.setMode(mode)
			must(t, h.up())
			alive := h.told("alive", newPod(t, "10.1.0.1/24"))
			left := h.told("left", newPod(t, "10.1.0.2/24"))
			h.cfgLeft(left)
			old := h.told("old", newPod(t, "10.1.0.3/24"))
			old.Boot = "another"
			must(t, h.cfg.PodRecords().Write(old))
			gone := h.told("gone", newPod(t, "10.1.0.4/24"))
			gone.Cookie, gone.Ino = 1<<60, 1
			must(t, h.cfg.PodRecords().Write(gone))
			ended := h.told("ended", newPod(t, "10.1.0.5/24"))
			h.enroll(ended.Netns)
			ended.Released = true
			must(t, h.cfg.PodRecords().Write(ended))
			old.Cookie = ended.Cookie // which another boot gave to another namespace
			must(t, h.cfg.PodRecords().Write(old))
			// Another attachment of the same pod stands.
			both := h.told("both", newPod(t, "10.1.0.6/24"))
			h.enroll(both.Netns)
			both.IfName = "eth1"
			must(t, h.cfg.PodRecords().Write(both))
			both.IfName, both.Released = "eth0", true
			must(t, h.cfg.PodRecords().Write(both))

			alone := h.told("alone", newPod(t, "10.1.0.7/24"))
			alone.Cookie, alone.Alone = 0, true
			must(t, h.cfg.PodRecords().Write(alone))
			alone.ContainerID, alone.Ino = "went", 1
			must(t, h.cfg.PodRecords().Write(alone))

			plan := h.pending("enrolment", "pod record")
			for _, want := range []string{"create enrolment: it is pod default/alive", "delete enrolment: the container runtime took it back",
				"delete pod record: it is of another boot", "delete pod record: its namespace is gone"} {
				if !strings.Contains(plan, want) {
					t.Errorf("plan does not say %q:\n%s", want, plan)
				}
			}
			if n := len(strings.Split(plan, "\n")); n != 7 {
				t.Errorf("plan names %d changes:\n%s", n, plan)
			}
			must(t, h.up())
			if got := h.recorded(); got != "alive alone both left" {
				t.Errorf("records left: %s", got)
			}
			got := h.enrolledNow()
			slices.Sort(got)
			want := []uint64{alive.Cookie, both.Cookie}
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("enrolled %d, want %d", got, want)
			}
			h.noProblem()
			if plan := h.pending("enrolment", "pod record", "link"); plan != "" {
				t.Errorf("another up would do:\n%s", plan)
			}
			h.upAgainChangesNothing()
			must1(Down(&h.cfg))(t)
		})
	}
}

// cfgLeft has a record's namespace enrolled and leave by itself.
func (h *host) cfgLeft(r *podrecord.Record) {
	h.t.Helper()
	must(h.t, h.cfgHandles(func(hd *Handles) error {
		if err := hd.EnrollRecorded(r, func() bool { return true }); err != nil {
			return err
		}
		id, err := hd.NetnsMap()
		r.Map = id
		return errors.Join(err, h.cfg.PodRecords().Write(r), hd.UnenrollCookie(r.Cookie))
	}))
}

// A live run enrols and forgets at its turns.
func TestReconcileFollowsRecords(t *testing.T) {
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			h := newHost(t)
			h.setMode(mode)
			l := h.stay()
			r := h.told("pod", newPod(t, "10.1.0.1/24"))
			h.healed(l, "enrolled: namespace", "pod default/pod")
			if got := h.enrolledNow(); !slices.Contains(got, r.Cookie) {
				t.Errorf("enrolled %d", got)
			}
			must(t, h.cfgHandles(func(hd *Handles) error { return hd.UnenrollCookie(r.Cookie) }))
			h.healed(l) // it left, and stays out
			if got := h.enrolledNow(); len(got) > 0 {
				t.Errorf("enrolled again: %d", got)
			}
			r.Released = true
			must(t, h.cfg.PodRecords().Write(r))
			h.healed(l)
			if got := h.recorded(); got != "" {
				t.Errorf("records left: %s", got)
			}
			l.Stop()
			must1(Down(&h.cfg))(t)
		})
	}
}

// An up that fails after it enrolled what is recorded takes that back, and one that is
// killed there is finished by the next.
func TestRecordsAndAnUpThatFails(t *testing.T) {
	h := newWorkloadHost(t)
	r := h.told("pod", newPod(t, "10.1.0.1/24"))
	t.Setenv("KMESH_NODE_FAULT", "commit")
	if err := h.up(); !errors.Is(err, errFault) {
		t.Fatal(err)
	}
	t.Setenv("KMESH_NODE_FAULT", "")
	if h.recorded() != "pod" || len(ModesUp(&h.cfg)) > 0 {
		t.Errorf("a failed up left the records %q and modes %v", h.recorded(), ModesUp(&h.cfg))
	}
	h.upKilled("commit")
	must(t, h.up())
	if got := h.enrolledNow(); !slices.Equal(got, []uint64{r.Cookie}) || len(h.nicLinks(r.Cookie)) != 1 {
		t.Errorf("enrolled %d, links %q", got, h.nicLinks(r.Cookie))
	}
	h.noProblem()
	// Of one whose namespace goes, down forgets the record, and leaves the others'.
	must1(Down(&h.cfg))(t)
	if h.recorded() != "pod" {
		t.Error("down forgot a pod that is there")
	}
	r.Cookie, r.Ino = 1<<60, 1
	must(t, h.cfg.PodRecords().Write(r))
	must1(Down(&h.cfg))(t)
	if _, err := os.Stat(string(h.cfg.PodRecords())); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("down leaves records of pods that are gone: %v", err)
	}
}

// What the plugin wrote or took away while an up was under way counts.
func TestSettlingLeavesWhatThePluginWroteMeanwhile(t *testing.T) {
	read := podrecord.Record{Version: 1, ContainerID: "a", IfName: "eth0", Netns: "/x", Cookie: 7, Map: 1}
	for _, fate := range []string{recordKept, recordEnrols, recordDropped, recordEnds} {
		for name, meanwhile := range map[string]func(*podrecord.Record){
			"nothing": func(*podrecord.Record) {}, "gone": nil,
			"taken back":  func(r *podrecord.Record) { r.Released = !r.Released },
			"added again": func(r *podrecord.Record) { r.Cookie = 8 },
		} {
			dir := podrecord.Dir(t.TempDir())
			was := read
			was.Released = fate == recordEnds
			now := was
			if meanwhile != nil {
				meanwhile(&now)
				must(t, dir.Write(&now))
			}
			must(t, settleRecord(dir, recorded{Record: &was, fate: fate}, 2, true))
			want := &now
			switch {
			case name == "gone", name == "nothing" && (fate == recordDropped || fate == recordEnds):
				want = nil
			case name == "nothing":
				want.Map = 2
			}
			if got, err := dir.Read("a", "eth0"); want == nil && !errors.Is(err, os.ErrNotExist) || want != nil && !reflect.DeepEqual(got, want) {
				t.Errorf("%s, meanwhile %s: %+v, %v", fate, name, got, err)
			}
		}
	}
}

// An ADD that ended before it wrote down where the pod is enrolled: it stays out all the
// same once it left.
func TestUpWritesDownWhereAPodIsEnrolled(t *testing.T) {
	h := newWorkloadHost(t)
	must(t, h.up())
	r := h.told("pod", newPod(t, "10.1.0.1/24"))
	h.enroll(r.Netns)
	must(t, h.up())
	must(t, h.cfgHandles(func(hd *Handles) error { return hd.UnenrollCookie(r.Cookie) }))
	must(t, h.up())
	if got := h.enrolledNow(); len(got) > 0 {
		t.Errorf("who left is enrolled again: %d", got)
	}
}

// A recorded pod that takes no xdpauth is let alone, and told of once; the others are
// managed. It is enrolled once it takes one.
func TestRecordedPodThatTakesNoProgramIsLeftOutAlone(t *testing.T) {
	h := newWorkloadHost(t)
	other := *h
	other.cfg.BpfFsPath += "-other"
	other.t_ = other.cfg.tree()
	must(t, other.up())
	defer func() { must1(Down(&other.cfg))(t) }()
	path := newPod(t, "10.1.0.1/24")
	ip(t, path, "link", "add", "eth1", "type", "bridge")
	good, r := h.told("good", newPod(t, "10.1.0.2/24")), h.told("stubborn", path)
	p := must1(lookInto(r.Cookie, path))(t)
	stranger := must1(attachNIC(p, p.nics[1], other.pinned(progDir, nicProgram), XDPGeneric))(t)
	leftOut := func() {
		t.Helper()
		if got := h.enrolledNow(); !slices.Equal(got, []uint64{good.Cookie}) {
			t.Errorf("enrolled %d, want %d", got, good.Cookie)
		}
		if l := must1(lookInto(r.Cookie, path))(t).nics[0].xdp; len(l) > 0 || len(h.nicLinks(r.Cookie)) > 0 {
			t.Errorf("programs %d on its first device, links %v", l, h.nicLinks(r.Cookie))
		}
		if now := must1(h.cfg.PodRecords().Read("stubborn", "eth0"))(t); now.Map != 0 {
			t.Error("it counts as one that left")
		}
		h.noProblem()
	}
	const kept = "it is not enrolled: attach: xdpauth: device eth1"
	plan := must1(MakePlan(&h.cfg))(t)
	if i := slices.IndexFunc(plan.Changes, func(c Change) bool { return c.Name == "pod default/stubborn" }); i < 0 ||
		plan.Changes[i].Action != ActionKeep || !strings.Contains(plan.Changes[i].Why, kept) {
		t.Errorf("plan: %+v", plan.Changes)
	}
	if got := h.pending("enrolment"); got != "create enrolment: it is pod default/good; "+good.Netns {
		t.Errorf("plan: %s", got)
	}
	must(t, h.up())
	if s := h.log.String(); strings.Count(s, "stubborn is not enrolled") != 1 || !strings.Contains(s, "ip link show") {
		t.Errorf("up says:\n%s", s)
	}
	leftOut()
	if got := h.pending("enrolment", "pod record", "link"); got != "" {
		t.Errorf("another up would do:\n%s", got)
	}
	l := h.stay()
	h.log.Reset()
	h.healed(l)
	second := h.told("second", path)
	h.healed(l)
	if s := h.log.String(); strings.Count(s, "is not enrolled") != 1 || !strings.Contains(s, "default/second") {
		t.Errorf("turns of a run say:\n%s", s)
	}
	leftOut()
	must(t, h.cfg.PodRecords().Remove(second.ContainerID, second.IfName))
	must(t, unix.Close(stranger))
	h.healed(l, "enrolled: namespace", "pod default/stubborn")
	if got := len(h.nicLinks(r.Cookie)); got != 2 {
		t.Errorf("%d links", got)
	}
	l.Stop()
	must1(Down(&h.cfg))(t)
}

// What fails at recorded pods, and is not seen beforehand, leaves the rest to come up.
func TestRecordedPodsThatFailAreLeftOut(t *testing.T) {
	for mode, step := range map[Mode]string{Workload: "device", Ads: "enroll"} {
		t.Run(string(mode), func(t *testing.T) {
			h := newHost(t)
			h.setMode(mode)
			h.told("a", newPod(t, "10.1.0.1/24"))
			h.told("b", newPod(t, "10.1.0.2/24"))
			t.Setenv("KMESH_NODE_FAULT", step)
			must(t, h.up())
			if n := len(h.enrolledNow()); n != 0 || strings.Count(h.log.String(), "is not enrolled") != 2 {
				t.Errorf("%d pods are enrolled:\n%s", n, h.log)
			}
			h.noProblem()
			t.Setenv("KMESH_NODE_FAULT", "")
			must(t, h.up())
			if n := len(h.enrolledNow()); n != 2 {
				t.Errorf("another up: %d pods are enrolled", n)
			}
			h.noProblem()
			must1(Down(&h.cfg))(t)
		})
	}
}
