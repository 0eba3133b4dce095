// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/exit"
)

// Down detaches and removes all that kmesh-node made where cfg says, in cfg.Mode or,
// where that is empty, in every mode, and nothing else; nothing there is no error. It
// returns what it removed, for people. What is not of kmesh-node in its tree is left,
// the rest is removed all the same, and the error names it.
func Down(cfg *Config) (removed []string, err error) {
	if err := capable(); err != nil {
		return nil, err
	}
	l, err := takeLock(cfg.RunDir, lockName(cfg.BpfFsPath, ".lock"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.release()) }()
	// Taken, and not only looked at, so that what a killed `run` left of it goes too.
	run, err := takeLock(cfg.RunDir, lockName(cfg.BpfFsPath, runLock))
	if holder := (errHeld{}); errors.As(err, &holder) {
		return nil, &exit.Error{Code: exit.Locked, Step: "down", Object: tree{fs: cfg.BpfFsPath}.top(), Err: holder,
			Remedy: "stop that process first"}
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, run.release()) }()
	if err := fault("down"); err != nil {
		return nil, attachError("down", tree{fs: cfg.BpfFsPath}.top(), err, "")
	}
	pods, err := takePodsLock(cfg, "down")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, pods.release()) }()
	which := modes
	if cfg.Mode != "" {
		which = []Mode{cfg.Mode}
	}
	var errs []error
	downers := make([]*downer, len(which))
	for i, m := range which {
		downers[i] = &downer{cfg: cfg.withMode(m)}
		downers[i].pins()
	}
	for _, d := range downers {
		d.mounts()
		errs = append(errs, d.result())
		removed = append(removed, d.removed...)
	}
	if len(ModesUp(cfg)) == 0 {
		if err := dropRecords(cfg); err != nil {
			errs = append(errs, downError("remove", "records of pods", err))
		}
	}
	return removed, errors.Join(errs...)
}

type downer struct {
	cfg     *Config
	t       tree
	rec     *record
	removed []string
	freed   []kernelObject // what was pinned
	foreign []string
	errs    []error
}

// mounts takes away those that nothing of kmesh-node is in any more.
func (d *downer) mounts() {
	for _, path := range []string{d.cfg.Cgroup2Path, d.rec.Cgroup} {
		if err := sweepScratchCgroups(path); err != nil {
			d.errs = append(d.errs, downError("remove", "what a self-test left that was killed", err))
		}
	}
	if len(ModesUp(d.cfg)) == 0 {
		d.unmount(cgroup2, d.cfg.Cgroup2Path)
	}
	if d.rec.Cgroup != "" && d.rec.Cgroup != d.cfg.Cgroup2Path {
		d.unmount(cgroup2, d.rec.Cgroup)
	}
	d.unmount(bpffs, d.cfg.BpfFsPath)
}

// pins removes the mode's tree, and its files under the run directory.
func (d *downer) pins() {
	var err error
	d.t = d.cfg.tree()
	if d.rec, err = d.t.load(); err != nil {
		// No record, or one that cannot be read: the table tells what is ours.
		d.rec = &record{}
	}
	store := d.storeID()
	d.detachOldWay()
	// What redirects goes first, what counts results next, then what they use.
	rows := programsOf(d.cfg.Mode)
	for i := len(rows) - 1; i >= 0; i-- {
		d.unpin(linkDir, rows[i].name)
	}
	for _, dir := range []dir{linkDir, progDir, mapDir} {
		d.empty(dir)
	}
	// It is what the next `down` goes by.
	if len(d.foreign)+len(d.errs) == 0 {
		d.remove(d.t.meta())
	}
	for _, o := range waitGone(d.freed) {
		d.cfg.Log.Infof("%s %d is held by another process and goes with it", o.dir, o.id)
	}
	dirs := d.t.directories()
	slices.Reverse(dirs)
	for _, p := range dirs {
		d.removeDir(p)
	}
	d.runFiles(store)
}

// result is the error of all that went wrong.
func (d *downer) result() error {
	if len(d.foreign) > 0 {
		d.errs = append(d.errs, &exit.Error{Code: exit.NotReady, Step: "down", Object: strings.Join(d.foreign, ", "),
			Err:    errors.New("not of kmesh-node, so it is left, and the directories and mount around it"),
			Remedy: "remove it by hand, then run down again"})
	}
	return errors.Join(d.errs...)
}

// downError is of something that could not be taken away; the rest is.
func downError(step, object string, err error) error {
	return notReady(step, object, err, "run down again")
}

// detachOldWay takes programs off that are attached without a link: the map that
// they are on may be held by another process.
func (d *downer) detachOldWay() {
	for name := range d.rec.Unlinked {
		i := slices.IndexFunc(programs, func(p program) bool { return p.mode == d.cfg.Mode && p.name == name })
		target, mapErr := pinGet(d.t.pin(mapDir, programs[max(i, 0)].hook.target))
		prog, progErr := byID(progDir, d.rec.Unlinked[name])
		var err error
		if i >= 0 && mapErr == nil && progErr == nil {
			err = progDetach(prog, target, programs[i].hook.attachType)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			d.errs = append(d.errs, downError("detach", name, err))
		}
		closeFd(d.cfg.Log, target)
		closeFd(d.cfg.Log, prog)
	}
}

// storeID is the id of km_meta, which names the C store's lock; 0 where it is gone.
func (d *downer) storeID() uint32 {
	if d.cfg.Mode != Ads {
		return 0
	}
	fd, err := pinGet(d.t.pin(mapDir, "km_meta"))
	if err != nil {
		return d.rec.Maps["km_meta"]
	}
	info, err := mapInfoOf(fd)
	if err = errors.Join(err, unix.Close(fd)); err != nil {
		d.errs = append(d.errs, downError("read map", "km_meta", err))
	}
	return info.ID
}

// empty removes the pins of ours from a directory.
func (d *downer) empty(dir dir) {
	entries, err := os.ReadDir(d.t.dir(dir))
	if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
		d.errs = append(d.errs, downError("read directory", d.t.dir(dir), err))
	}
	for _, e := range entries {
		if !ours(d.cfg.Mode, dir, e.Name(), d.rec) {
			d.foreign = append(d.foreign, d.t.pin(dir, e.Name()))
			continue
		}
		d.unpin(dir, e.Name())
	}
}

func (d *downer) unpin(dir dir, name string) {
	path := d.t.pin(dir, name)
	fd, err := pinGet(path)
	if err == nil {
		o, infoErr := objectOf(dir, fd)
		if infoErr == nil {
			d.freed = append(d.freed, o)
		}
		err = unix.Close(fd)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		d.cfg.Log.Debugf("look at %s: %v", path, err)
	}
	d.remove(path)
}

func (d *downer) remove(path string) {
	err := fault("unpin")
	if err == nil {
		err = os.Remove(path)
	}
	if err == nil {
		d.removed = append(d.removed, path)
		return
	}
	if !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
		d.errs = append(d.errs, downError("unpin", path, err))
	}
}

// removeDir removes a directory when nothing is in it.
func (d *downer) removeDir(path string) {
	err := fault("remove directory")
	if err == nil {
		err = unix.Rmdir(path)
	}
	switch {
	case err == nil:
		d.removed = append(d.removed, path)
	case errors.Is(err, unix.ENOTEMPTY), errors.Is(err, unix.EEXIST):
		d.reportOthers(path)
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.EBUSY):
	default:
		d.errs = append(d.errs, downError("remove directory", path, err))
	}
}

// reportOthers names what stands in a directory of the tree and is not of it.
// Another mode's tree beside this one is ours too.
func (d *downer) reportOthers(path string) {
	if path != d.t.top() && path != d.t.root() {
		return
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		d.errs = append(d.errs, downError("read directory", path, err))
		return
	}
	known := map[string]bool{string(Ads): path == d.t.top(), string(Workload): path == d.t.top()}
	for _, dir := range pinDirs {
		known[string(dir)] = path == d.t.root()
	}
	known["meta"] = path == d.t.root()
	for _, e := range entries {
		if !known[e.Name()] {
			d.foreign = append(d.foreign, filepath.Join(path, e.Name()))
		}
	}
}

// unmount takes away a mount that kmesh-node made and nobody else uses.
func (d *downer) unmount(f filesystem, path string) {
	m, err := mountAt(path)
	made, ours := m.ours(f)
	if err != nil || !ours {
		return // not there, or another's
	}
	if f.name == bpffs.name && holdsPins(path) {
		d.cfg.Log.Infof("%s holds others' pins: left mounted", path)
		return
	}
	if err = fault("unmount"); err == nil {
		err = unix.Unmount(path, unix.UMOUNT_NOFOLLOW)
	}
	switch {
	case err == nil:
		d.removed = append(d.removed, "mount "+path)
		for p := filepath.Clean(path); made > 0; made-- {
			d.removeDir(p)
			p = filepath.Dir(p)
		}
	case errors.Is(err, unix.EBUSY):
		d.cfg.Log.Warnf("%s is in use: left mounted", path)
	default:
		d.errs = append(d.errs, downError("unmount", path, err))
	}
}

// holdsPins says whether anything is pinned in a bpffs. A name with a dot is the
// kernel's own: it puts iterators into each new one, and lets nobody else use dots.
func holdsPins(path string) bool {
	entries, err := os.ReadDir(path)
	return err != nil || slices.ContainsFunc(entries, func(e os.DirEntry) bool { return !strings.Contains(e.Name(), ".") })
}

// runFiles removes the store's lock and the logs of rejected programs.
func (d *downer) runFiles(store uint32) {
	logs, err := filepath.Glob(filepath.Join(d.cfg.RunDir, "verifier-*.log"))
	if err != nil {
		d.errs = append(d.errs, err)
	}
	for _, p := range logs {
		d.remove(p)
	}
	for _, l := range [][2]string{d.cfg.SourceFiles(), d.cfg.ControlFiles()} {
		d.remove(l[0])
		d.remove(l[1])
	}
	d.remove(d.cfg.PodSocket())
	if d.cfg.Mode == Workload {
		d.remove(d.cfg.StoreLock())
	}
	dropStaleLocks(d.cfg.Log)
	if store == 0 {
		return
	}
	if err := removeStoreLock(store); err != nil {
		d.errs = append(d.errs, downError("remove lock", storeLock(store), err))
	}
}
