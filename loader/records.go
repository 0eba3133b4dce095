// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/kmesh-net/kmesh-node/internal/podrecord"
)

// What the container runtime told of is enrolled whenever this mode comes up, or a turn
// of `run` finds that it is not: the runtime tells once, and may have done so while
// nothing was up. A pod that left by itself, or by `unenroll`, stays out.

// PodRecords is where records of the runtime's pods are.
func (c *Config) PodRecords() podrecord.Dir {
	return podrecord.Dir(filepath.Join(c.RunDir, lockName(c.BpfFsPath, ".pods")))
}

// PodSocket is where a live `run` answers the plugin. A socket's name has little room.
func (c *Config) PodSocket() string {
	const most = 107
	path := filepath.Join(c.RunDir, lockName(c.BpfFsPath, ".sock"))
	if len(path) > most {
		sum := sha256.Sum256([]byte(filepath.Clean(c.BpfFsPath)))
		path = filepath.Join(c.RunDir, hex.EncodeToString(sum[:16])+".sock")
	}
	return path
}

// The fates of a record.
const (
	recordKept    = "keep"
	recordEnrols  = "enrol"   // its namespace is alive, and was never enrolled in these maps
	recordDropped = "drop"    // its namespace is gone
	recordRefused = "refuse"  // it should enrol, and cannot
	recordEnds    = "release" // the runtime took it back: its namespace is not to be enrolled
)

// recorded is a record and what becomes of it.
type recorded struct {
	*podrecord.Record
	fate string
	why  string
	left bool // it left by itself
}

// readRecords decides what becomes of each record. enrolled says which namespaces are, or
// will be without a record of theirs.
func (k *node) readRecords(enrolled func(cookie uint64) bool) ([]recorded, error) {
	list, invalid, err := k.cfg.PodRecords().List()
	if err != nil {
		return nil, notReady("read records of pods", string(k.cfg.PodRecords()), err, "remove the directory, and start the pods again")
	}
	if k.plan == nil { // else each turn of a `run` would tell of them
		for _, err := range invalid {
			k.log.Warn(err)
		}
	}
	if len(list) == 0 {
		return nil, nil
	}
	boot, err := podrecord.Boot()
	if err != nil {
		return nil, notReady("read records of pods", "boot_id", err, "mount /proc")
	}
	known, err := k.knownNetns()
	if err != nil {
		return nil, err
	}
	alive, err := aliveRecords(list, enrolled)
	if err != nil {
		return nil, err
	}
	all := seesAll()
	out := make([]recorded, len(list))
	for i, r := range list {
		out[i] = recorded{Record: r, fate: recordKept, left: known[r.Map] && !enrolled(r.Cookie)}
		switch d := &out[i]; {
		case r.Boot != boot:
			d.fate, d.why = recordDropped, "it is of another boot"
		case r.Released && enrolled(r.Cookie) && !podrecord.Shared(list, r):
			d.fate, d.why = recordEnds, "the container runtime took it back"
		case r.Released:
			d.fate, d.why = recordDropped, "the container runtime took it back"
		case !alive(r) && all:
			d.fate, d.why = recordDropped, "its namespace is gone"
		case r.Alone, enrolled(r.Cookie), !alive(r), d.left:
		default:
			d.fate, d.why = recordEnrols, "it is "+r.String()
		}
	}
	return out, nil
}

// knownNetns are the ids of the km_netns in use, and of those that give way to it: who was
// enrolled in one of them and is not now left.
func (k *node) knownNetns() (map[uint32]bool, error) {
	known := map[uint32]bool{k.found.Maps["km_netns"]: true}
	if k.other != nil {
		known[k.other.Maps["km_netns"]] = true
	}
	id, err := k.netnsID()
	if err != nil {
		return nil, err
	}
	known[id] = true
	known[0] = false
	return known, nil
}

// netnsID is the id of the km_netns in use; 0 where there is none yet.
func (k *node) netnsID() (uint32, error) {
	fd := k.FD("km_netns")
	if fd < 0 {
		return 0, nil
	}
	o, err := objectOf(mapDir, fd)
	if err != nil {
		return 0, attachError("read records of pods", "km_netns", err, "")
	}
	return o.id, nil
}

// aliveRecords says of which records the namespaces are there. To look at the path of the
// record is enough for most, and all that can be had without a cookie; all of /proc is
// looked through for the rest.
func aliveRecords(list []*podrecord.Record, enrolled func(cookie uint64) bool) (func(*podrecord.Record) bool, error) {
	alive := map[uint64]bool{}
	is := func(r *podrecord.Record) bool { return alive[r.Cookie] || r.Alone && r.InPlace() }
	var rest []uint64
	for _, r := range list {
		switch {
		case alive[r.Cookie], r.Alone:
		case r.InPlace() && (enrolled(r.Cookie) || cookieIs(r)):
			alive[r.Cookie] = true
		default:
			rest = append(rest, r.Cookie)
		}
	}
	if len(rest) == 0 {
		return is, nil
	}
	where, err := namespacesOf(rest)
	if err != nil {
		return nil, attachError("find namespaces", "records of pods", err, "mount /proc")
	}
	for _, c := range rest {
		alive[c] = alive[c] || len(where[c]) > 0
	}
	return is, nil
}

func cookieIs(r *podrecord.Record) bool {
	c, err := cookieAt(r.Netns)
	return err == nil && c == r.Cookie
}

// enrolRecorded enrols what is recorded and was never enrolled in these maps, and takes
// back what the runtime took back. In workload mode attachPods enrols, with the devices.
func (k *node) enrolRecorded() error {
	keys, err := netnsKeys(k.fds["km_netns"])
	if err != nil {
		return attachError("read records of pods", "km_netns", err, "")
	}
	k.records, err = k.readRecords(func(c uint64) bool { return slices.Contains(keys, c) })
	if err != nil {
		return err
	}
	for i := range k.records {
		switch r := &k.records[i]; r.fate {
		case recordEnrols:
			if k.cfg.Mode != Workload {
				k.tryEnrol(r, func() error { return k.enterRecorded(r, func(*kmNetns) error { return nil }) })
			}
		case recordEnds:
			if err := k.release(r.Cookie); err != nil && !errors.Is(err, errNotEnrolled) {
				return attachError("unenroll", strconv.FormatUint(r.Cookie, 10), err, "")
			}
			k.podsChanged = true
			k.change(fmt.Sprintf("unenrolled: namespace %d, %s of %s", r.Cookie, r.why, r))
		}
	}
	return nil
}

// tryEnrol has do enrol by a record. Where that fails it is as if the record were not there.
func (k *node) tryEnrol(r *recorded, do func() error) {
	steps, changed := len(k.undo.steps), len(k.changed)
	err := do()
	if err == nil {
		return
	}
	err = errors.Join(err, k.undo.unwindTo(steps))
	k.changed = k.changed[:changed]
	k.dropNICs(r.Cookie)
	k.refuse(r.Cookie, err)
}

func (k *node) enterRecorded(r *recorded, describe func(*kmNetns) error) error {
	if err := k.enter(r.Cookie, r.Netns, &k.undo, describe); err != nil {
		return err
	}
	k.podsChanged = true
	k.change(fmt.Sprintf("enrolled: namespace %d, %s", r.Cookie, r.why))
	return nil
}

// enrolling is the record by which a namespace is to be enrolled; nil: none.
func (k *node) enrolling(cookie uint64) *recorded {
	i := slices.IndexFunc(k.records, func(r recorded) bool { return r.Cookie == cookie && r.fate == recordEnrols })
	if i < 0 {
		return nil
	}
	return &k.records[i]
}

// refuse is for what should be enrolled by its record and cannot be. It does not keep the
// others from being managed; the next `up`, or turn of `run`, tries again.
func (k *node) refuse(cookie uint64, err error) {
	for r := k.enrolling(cookie); r != nil; r = k.enrolling(cookie) {
		r.fate = recordRefused
		if k.plan != nil {
			k.add(ActionKeep, refusedKind, r.String(), "it is not enrolled: "+oneLine(err).Error())
			continue
		}
		k.log.WithError(err).Warnf("%s is not enrolled", r)
		k.refused = append(k.refused, r.String())
	}
}

// refusedKind is the kind of a change that is kept where a record enrols nothing.
const refusedKind = "pod record"

// tellRefused warns of pods that a plan finds refused, and the turn before did not.
func (l *BpfLoader) tellRefused(p *Plan) {
	var now []string
	for _, c := range p.Changes {
		if c.Action != ActionKeep || c.Kind != refusedKind {
			continue
		}
		now = append(now, c.Name)
		if !slices.Contains(l.refused, c.Name) {
			l.cfg.Log.Warnf("%s: %s", c.Name, c.Why)
		}
	}
	l.refused = now
}

// settleRecords brings the records to what is in force. What cannot be written or removed
// now is found by the next one.
func (k *node) settleRecords() {
	id, err := k.netnsID()
	if err != nil {
		k.log.Warn(err)
		return
	}
	keys, err := netnsKeys(k.FD("km_netns"))
	if err != nil {
		k.log.Warn(err)
		return
	}
	dir := k.cfg.PodRecords()
	for _, r := range k.records {
		settled := r.left || r.fate == recordEnrols || slices.Contains(keys, r.Cookie)
		if err := settleRecord(dir, r, id, settled); err != nil {
			k.log.WithError(err).Warn("records of pods are not up to date")
		}
	}
	if err := dir.Sweep(); err != nil {
		k.log.Warn(err)
	}
	k.records = nil
}

// settleRecord is about one of them: settled says that it goes with the km_netns of that id
// from now on. What the plugin wrote or removed since it was read counts.
func settleRecord(dir podrecord.Dir, r recorded, id uint32, settled bool) error {
	now, err := dir.Read(r.ContainerID, r.IfName)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case now.Cookie != r.Cookie || now.Boot != r.Boot || now.Released != r.Released:
		return nil // the next one sees to it
	case r.fate == recordDropped || r.fate == recordEnds:
		return dir.Remove(r.ContainerID, r.IfName)
	case settled && now.Map != id:
		now.Map = id
		return dir.Write(now)
	}
	return nil
}

// dropRecords removes the records that no later `up` could enrol anything by. It is for
// when nothing is up any more.
func dropRecords(cfg *Config) error {
	dir := cfg.PodRecords()
	list, _, err := dir.List()
	if err != nil || len(list) == 0 {
		return err
	}
	boot, err := podrecord.Boot()
	if err != nil {
		return err
	}
	alive, err := aliveRecords(list, func(uint64) bool { return false })
	if err != nil {
		return err
	}
	all := seesAll()
	for _, r := range list {
		if r.Boot != boot || r.Released || !alive(r) && all {
			if err := dir.Remove(r.ContainerID, r.IfName); err != nil {
				return err
			}
		}
	}
	return dir.Sweep()
}

// lookRecords is enrolRecorded without its effect: it adds what will be enrolled, and why,
// to enrolled, where "" is for what is.
func (k *node) lookRecords(enrolled map[uint64]string) error {
	list, err := k.readRecords(func(c uint64) bool { _, is := enrolled[c]; return is })
	if err != nil {
		return err
	}
	k.records = list
	for _, r := range list {
		switch r.fate {
		case recordEnrols:
			enrolled[r.Cookie] = r.why
		case recordEnds:
			delete(enrolled, r.Cookie)
			k.add(ActionDelete, "enrolment", strconv.FormatUint(r.Cookie, 10), r.why)
		}
		if r.fate == recordEnds || r.fate == recordDropped {
			k.add(ActionDelete, "pod record", r.String(), r.why)
		}
	}
	return nil
}
