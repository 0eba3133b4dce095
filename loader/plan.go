// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"os"
)

// The values of Plan.Start.
const (
	StartNormal  = "normal"  // nothing of this mode is there
	StartRestart = "restart" // the same build is there: it is adopted
	StartUpdate  = "update"  // another build, or another variant of it, is there
	StartMode    = "mode change"
)

// The values of Change.Action.
const (
	ActionKeep    = "keep"
	ActionCreate  = "create"
	ActionUpdate  = "update"
	ActionMigrate = "migrate" // a map gives way to a new one with its content
	ActionRebuild = "rebuild" // a map gives way to a new one whose content is derived anew
	ActionRepair  = "repair"  // somebody took it away, or changed it
	ActionDelete  = "delete"
)

// Plan is what the next `up` does, and what it leaves as it is.
type Plan struct {
	Mode  Mode   `json:"mode"`
	Start string `json:"start"`
	// Run is the process id of a live `run`: its reconciliation does what is pending,
	// and `up` nothing.
	Run     string    `json:"run,omitempty"`
	Build   FoundNext `json:"build"`
	Release FoundNext `json:"release"`
	Changes []Change  `json:"changes"`

	bare bool             // no bpffs is mounted yet
	own  map[uint32]bool  // ids of kmesh-node's programs, once they were asked for
	lost map[pinName]bool // pins that are gone while their objects are not
}

// FoundNext is what is there, empty for nothing, and what the next `up` leaves.
type FoundNext struct {
	Found string `json:"found"`
	Next  string `json:"next"`
}

// Change is what becomes of one thing. Kind is mount, directory, record, map, program,
// tail call, settings, link, enrolment, pod record or pin.
type Change struct {
	Action string `json:"action"`
	Kind   string `json:"kind"`
	Name   string `json:"name"`
	Why    string `json:"why,omitempty"`
	// Mode is that of its pins; empty for what both modes share.
	Mode Mode `json:"mode,omitempty"`
}

// Pending lists the changes that are some: all but what is kept.
func (p *Plan) Pending() []Change {
	var l []Change
	for _, c := range p.Changes {
		if c.Action != ActionKeep {
			l = append(l, c)
		}
	}
	return l
}

// MakePlan looks at what is there and says what `up` with cfg would do about it. It
// changes nothing, takes no lock, and goes by the decisions of `up` itself; where `up`
// would fail for a reason that can be seen beforehand, it returns that error. With
// cfg.Stay a live `run` is taken for the caller.
func MakePlan(cfg *Config) (_ *Plan, err error) {
	if err := hostReady(cfg); err != nil {
		return nil, err
	}
	k := blankNode(cfg)
	k.plan = &Plan{Mode: cfg.Mode, lost: map[pinName]bool{}}
	defer k.Close()
	if err := k.choose(); err != nil {
		return nil, err
	}
	for _, look := range []func() error{
		k.lookMounts, k.lookFound, k.lookDirectories, k.lookObjects, k.lookSettings, k.lookAttached, k.lookStrays, k.lookRecord, k.lookOther,
	} {
		if err := look(); err != nil {
			return nil, err
		}
	}
	return k.plan, nil
}

// add writes down what becomes of a thing of k's own mode.
func (k *node) add(action, kind, name, why string) {
	k.plan.Changes = append(k.plan.Changes, Change{action, kind, name, why, k.cfg.Mode})
}

// addShared is add for what both modes share.
func (k *node) addShared(action, kind, name, why string) {
	k.plan.Changes = append(k.plan.Changes, Change{Action: action, Kind: kind, Name: name, Why: why})
}

func (k *node) lookMounts() error {
	for _, m := range []struct {
		fs   filesystem
		path string
	}{{bpffs, k.cfg.BpfFsPath}, {cgroup2, k.cfg.Cgroup2Path}} {
		there, err := m.fs.check(m.path)
		if err != nil {
			return err
		}
		if there {
			k.addShared(ActionKeep, "mount", m.path, "")
			continue
		}
		k.plan.bare = k.plan.bare || m.fs.name == bpffs.name
		missing, err := missingDirs(m.path)
		if err != nil {
			return notReady("make directory", m.path, err, "make it by hand, or give "+m.fs.flag+" another path")
		}
		for _, d := range missing {
			k.addShared(ActionCreate, "directory", d, "")
		}
		k.addShared(ActionCreate, "mount", m.path, m.fs.name+" is not mounted there")
	}
	return nil
}

// lookFound reads the records, and says of which type the start is.
func (k *node) lookFound() error {
	p := k.plan
	k.found = &record{Version: recordVersion}
	if !p.bare {
		rec, err := k.t.load()
		switch {
		case err == nil:
			k.found = rec
		case !errors.Is(err, os.ErrNotExist):
			return badRecord(k.t, err)
		}
		if err := k.findOther(); err != nil {
			return err
		}
	}
	p.Build = FoundNext{k.found.Build, k.next.Build}
	p.Release = FoundNext{k.found.Release, k.next.Release}
	switch {
	case k.other != nil:
		p.Start = StartMode
	case k.found.Build == "":
		p.Start = StartNormal
	case k.found.Build != k.next.Build:
		p.Start = StartUpdate
	default:
		p.Start = StartRestart
	}
	if k.cfg.Stay {
		return nil
	}
	pid, held, err := lockHeld(k.cfg.RunDir, lockName(k.cfg.BpfFsPath, runLock))
	if err != nil || !held {
		return err
	}
	if p.Start != StartRestart {
		return otherRun(k.t, pid)
	}
	p.Run = pid
	return nil
}

// lookDirectories finds those of the tree. What stands in the place of one is an error.
func (k *node) lookDirectories() error {
	for i, path := range k.t.directories() {
		add := k.add
		if i == 0 {
			add = k.addShared // the one above the modes' trees
		}
		fi, err := os.Lstat(path)
		switch {
		case k.plan.bare, errors.Is(err, os.ErrNotExist):
			add(ActionCreate, "directory", path, "")
		case err != nil:
			return notReady("make pin directory", path, err, "")
		case !fi.IsDir():
			return notReady("make pin directory", path, os.ErrExist, "remove what is there: it is not of kmesh-node")
		default:
			add(ActionKeep, "directory", path, "")
		}
	}
	return nil
}
