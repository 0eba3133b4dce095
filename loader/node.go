// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/exit"
	"github.com/kmesh-net/kmesh-node/internal/workload"
)

// node is one `up`, of either mode, from the first mount to the record: the rows of
// the mode's tables go one path.
type node struct {
	Handles
	t    tree
	log  *logrus.Logger
	lock *lock // of this `up`
	run  *lock // of a `run`
	pods *lock // of enrolment: from Attach to the end
	undo undo

	found    *record // what an earlier `up` left
	recordFd int
	next     record  // what this one leaves
	other    *record // what is up in the other mode; nil: nothing

	rows  []program
	objs  []*object
	progs map[string]int // descriptor by program
	held  []int          // descriptors that keep what is replaced alive until Close
	stage []stagedPin
	nics  map[string]bool // links on devices of pods that are wanted, by pin

	oldPstate int             // descriptor of the km_pstate that gives way to a new one; -1: none
	writer    *workload.Store // of workload mode, once Refresh has opened it
	rejudge   bool            // verdicts are of other settings

	layouts   map[string]layout  // of this build's maps, once asked for
	kernel    kernelLayouts      // of those that are there
	fates     map[string]verdict // of those that are there
	resized   map[string]bool    // those of them that give way to new ones
	old       map[string]int     // their descriptors
	moved     []*transfer        // of what programs write to maps that were copied
	store     *os.File           // lock of the writers of what is copied
	committed bool
	replaced  []kernelObject // maps of the load before this one
	loaded    []kernelObject // maps of this load
	drop      []kernelObject // of these two what goes with k's descriptors

	// Of the mode, nil: nothing. mapsReady is called when the maps are there. beside
	// works while the verifier does, and changes nothing in k but through what it is
	// alone with.
	mapsReady, beside func() error

	plan *Plan // of a look: written down instead of done; nil: it is done

	records []recorded // of the container runtime's pods, from Attach on
	refused []string   // those of them that could not be enrolled

	podsChanged bool // km_netns is other than when writer read it
	swapped     bool // links of another load took this one's programs
	fresh       bool // the programs were loaded anew
	idle        bool // a live `run` does it all
	changed     []string
}

// stagedPin is a prepared pin that commit puts in its place.
type stagedPin struct {
	dir       dir
	name, tmp string
}

// newNode prepares: it checks the host, takes the lock, mounts bpffs and cgroup2
// where they are missing, makes the pin directories and opens the record. On an
// error everything is as it was.
func newNode(cfg *Config) (_ *node, err error) {
	if err := hostReady(cfg); err != nil {
		return nil, err
	}
	k := blankNode(cfg)
	chosen := make(chan error, 1)
	go func() { chosen <- k.choose() }() // reads BTF while the mounts wait for the kernel
	// The lock's name is the path that was asked for: it exists before the mount.
	if k.lock, err = takeLock(cfg.RunDir, lockName(cfg.BpfFsPath, ".lock")); err != nil {
		return nil, errors.Join(err, <-chosen)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, k.undo.unwind(), k.unlock())
			k.Close()
		}
	}()
	err = k.prepare()
	if err := errors.Join(err, <-chosen); err != nil {
		return nil, err
	}
	if err := k.heedRun(); err != nil {
		return nil, err
	}
	return k, nil
}

// blankNode is a node that knows of nothing but cfg.
func blankNode(cfg *Config) *node {
	k := &node{t: cfg.tree(), log: cfg.Log, progs: map[string]int{}, recordFd: -1, oldPstate: -1, nics: map[string]bool{},
		resized: map[string]bool{}, Handles: Handles{cfg: cfg, fds: map[string]int{}}}
	k.next = record{Version: recordVersion, Cgroup: cfg.Cgroup2Path, Release: cfg.Release}
	return k
}

// choose decides which programs this build loads here.
func (k *node) choose() (err error) {
	if k.cfg.Mode == Ads {
		if k.next.Variant, k.next.Why, err = chooseVariant(k.cfg.ConnectRet, k.cfg.btfPath()); err != nil {
			return err
		}
		if k.next.Variant == variantOff && k.cfg.ConnectRet != ConnectRetOff && k.plan == nil {
			k.log.Warnf("results of connects are not learnt: %s", k.next.Why)
		}
	} else {
		k.next.XDPMode = k.cfg.XDPMode
	}
	k.rows = wanted(k.cfg.Mode, k.next.Variant)
	k.next.Build, err = identity(k.cfg.Mode, k.cfg.Objects, k.rows)
	return err
}

func (k *node) prepare() error {
	for _, m := range k.cfg.mounts() {
		if err := fault("mount"); err != nil {
			return notReady("mount "+m.fs.name, m.path, err, "")
		}
		did, err := m.fs.ensure(m.path, &k.undo)
		if err != nil {
			return err
		}
		if did {
			if err := fault("mounted"); err != nil {
				return notReady("mount "+m.fs.name, m.path, err, "")
			}
			k.change("mounted " + m.path)
		}
	}
	if err := sweepScratchCgroups(k.cfg.Cgroup2Path); err != nil {
		k.log.Warnf("remove what a self-test left that was killed: %v", err)
	}
	for _, d := range k.t.directories() {
		if err := fault("directory"); err != nil {
			return notReady("make pin directory", d, err, "")
		}
		if err := makePinDir(d, &k.undo); err != nil {
			return err
		}
	}
	if err := k.repin(); err != nil {
		return err
	}
	return k.openRecord()
}

func makePinDir(path string, u *undo) error {
	err := os.Mkdir(path, 0o700)
	if err == nil {
		u.push("remove directory "+path, func() error { return os.Remove(path) })
		return nil
	}
	if fi, statErr := os.Lstat(path); errors.Is(err, os.ErrExist) && statErr == nil && fi.IsDir() {
		return nil
	}
	return notReady("make pin directory", path, err, "remove what is there: it is not of kmesh-node")
}

func (k *node) openRecord() (err error) {
	k.recordFd, err = openRecord(k.t)
	if errors.Is(err, os.ErrNotExist) {
		k.recordFd, err = createRecord(k.t, &k.undo)
	}
	if err == nil {
		k.found, err = readRecord(k.recordFd)
	}
	if err != nil {
		return badRecord(k.t, err)
	}
	if err := fault("record"); err != nil {
		return loadError("open record", k.t.meta(), err, "")
	}
	return k.findOther()
}

func badRecord(t tree, err error) error {
	return loadError("open record", t.meta(), err, "run: kmesh-node down, then up again")
}

// heedRun keeps off a live `run`: beside it an `up` of the same build changes
// nothing, and one of another build is refused.
func (k *node) heedRun() (err error) {
	name := lockName(k.cfg.BpfFsPath, runLock)
	if k.cfg.kept != nil {
		return nil // this process is that `run`
	}
	if k.cfg.Stay {
		if k.run, err = takeLock(k.cfg.RunDir, name); err != nil || k.cfg.Alone == nil {
			return err
		}
		return k.cfg.Alone()
	}
	pid, held, err := lockHeld(k.cfg.RunDir, name)
	if err != nil {
		return err
	}
	if !held {
		return dropLock(k.cfg.RunDir, name)
	}
	if k.idle = k.found.Build == k.next.Build; k.idle {
		return nil
	}
	return otherRun(k.t, pid)
}

func otherRun(t tree, pid string) error {
	return &exit.Error{Code: exit.Locked, Step: "up", Object: t.root(),
		Err: fmt.Errorf("run of another build: %w", errHeld{pid}), Remedy: "stop that process first"}
}

// identity tells builds apart: the objects, by name and content, and the rows
// that are loaded of them.
func identity(m Mode, src fs.FS, rows []program) (string, error) {
	h := sha256.New()
	for _, name := range objects(m, rows) {
		data, err := fs.ReadFile(src, name+".bpf.o")
		if err != nil {
			return "", loadError("read object", name, err, "build kmesh-node again")
		}
		sum := sha256.Sum256(data)
		fmt.Fprintf(h, "%s %x\n", name, sum)
	}
	for _, r := range rows {
		fmt.Fprintln(h, r.name)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func (k *node) change(what string) {
	k.changed = append(k.changed, what)
	k.log.Log(k.level(), what)
}

// outcome says in a few words what this `up` did.
func (k *node) outcome() string {
	switch {
	case k.idle:
		return "nothing to change beside a live run"
	case len(k.changed) == 0:
		return "nothing to change"
	case k.found.Build == "":
		return "started"
	case k.found.Build != k.next.Build:
		return "updated"
	}
	return fmt.Sprintf("adopted, %d changes", len(k.changed))
}

func (k *node) unlock() error {
	pods, l := k.pods, k.lock
	k.pods, k.lock = nil, nil
	return errors.Join(k.unlockStore(), pods.release(), l.release())
}

// Close frees the descriptors that k holds. What is pinned stays.
func (k *node) Close() {
	if k.writer != nil {
		if err := k.writer.Close(); err != nil {
			k.log.Warnf("close the writer: %v", err)
		}
		k.writer = nil
	}
	k.Handles.Close()
	for _, o := range k.objs {
		o.close()
	}
	k.objs = nil
	for _, fd := range append(k.held, k.recordFd) {
		closeFd(k.log, fd)
	}
	k.held, k.recordFd = nil, -1
	for _, o := range waitGone(k.drop) {
		k.log.Debugf("%s %d is still held", o.dir, o.id)
	}
	k.drop = nil
	if err := k.run.release(); err != nil {
		k.log.Warnf("release lock of run: %v", err)
	}
	k.run = nil
}

func closeFd(log *logrus.Logger, fd int) {
	if fd < 0 {
		return
	}
	if err := unix.Close(fd); err != nil {
		log.Warnf("close descriptor %d: %v", fd, err)
	}
}

func sorted[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
