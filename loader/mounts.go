// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mountSource begins the source that mounts of ours show in /proc/self/mountinfo:
// it tells them from all others, also after a crash, with no state file. "+N" behind
// it says that the last N directories of the path were made for the mount.
const mountSource = "kmesh-node"

func sourceFor(made int) string {
	if made == 0 {
		return mountSource
	}
	return mountSource + "+" + strconv.Itoa(made)
}

// filesystem is one of the two that kmesh-node mounts where they are missing.
type filesystem struct {
	name  string // of the kernel
	magic int64
	flag  string // that moves the path
}

var (
	bpffs   = filesystem{"bpf", unix.BPF_FS_MAGIC, "--bpf-fs-path"}
	cgroup2 = filesystem{"cgroup2", unix.CGROUP2_SUPER_MAGIC, "--cgroup2-path"}
)

// mounts are what has to be mounted for c, and where.
func (c *Config) mounts() []mountWanted {
	return []mountWanted{{bpffs, c.BpfFsPath}, {cgroup2, c.Cgroup2Path}}
}

type mountWanted struct {
	fs   filesystem
	path string
}

// check says whether path already is on the filesystem; false without an error
// means that it can be mounted there. A directory inside of a mount counts: a
// child cgroup is as good as the root.
func (f filesystem) check(path string) (bool, error) {
	var st unix.Statfs_t
	var fi unix.Stat_t
	if !filepath.IsAbs(path) {
		return false, notReady("mount "+f.name, path, errors.New("not an absolute path"), "give "+f.flag+" an absolute path")
	}
	err := unix.Stat(path, &fi)
	switch {
	case errors.Is(err, unix.ENOENT):
		return false, f.notInside(path)
	case errors.Is(err, unix.ENOTDIR):
		return false, notReady("mount "+f.name, path, errors.New("a part of the path is not a directory"),
			"remove that file, or give "+f.flag+" another path")
	case err != nil:
		return false, notReady("mount "+f.name, path, err, "make the path readable, or give "+f.flag+" another one")
	case fi.Mode&unix.S_IFMT != unix.S_IFDIR:
		return false, notReady("mount "+f.name, path, errors.New("not a directory"),
			"remove that file, or give "+f.flag+" another path")
	}
	if err := unix.Statfs(path, &st); err != nil {
		return false, notReady("mount "+f.name, path, err, "give "+f.flag+" another path")
	}
	if st.Type == f.magic {
		return true, nil
	}
	if st.Type == unix.CGROUP_SUPER_MAGIC {
		return false, notReady("mount "+f.name, path, errors.New("cgroup v1 is mounted there"),
			"give "+f.flag+" a path of cgroup2, or one that does not exist")
	}
	m, err := mountAt(path)
	if err != nil {
		return false, notReady("mount "+f.name, path, err, "mount /proc")
	}
	if m != nil {
		return false, notReady("mount "+f.name, path, fmt.Errorf("another filesystem is mounted there: %s", m.fstype),
			"unmount it, or give "+f.flag+" another path")
	}
	return false, f.hidesNothing(path)
}

// hidesNothing refuses a directory with something in it, which a mount would hide
// from the whole host: a wrong path, such as /etc, rather than a mount point.
func (f filesystem) hidesNothing(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return notReady("mount "+f.name, path, err, "make the path readable, or give "+f.flag+" another one")
	}
	names, err := d.Readdirnames(1)
	if err = errors.Join(err, d.Close()); errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("it is not empty: %s is in it, and a mount would hide that", names[0])
	}
	return notReady("mount "+f.name, path, err, "empty it, or give "+f.flag+" another path")
}

// notInside refuses a path in such a filesystem that is not there: what one would be
// mounted on there is a cgroup of its own, or a directory that is not ours to make.
func (f filesystem) notInside(path string) error {
	var st unix.Statfs_t
	parent := path
	err := error(unix.ENOENT)
	for errors.Is(err, unix.ENOENT) && parent != "/" {
		parent = filepath.Dir(parent)
		err = unix.Statfs(parent, &st)
	}
	if err == nil && st.Type == f.magic {
		return notReady("mount "+f.name, path, fmt.Errorf("it is not there, and %s is on a %s", parent, f.name),
			"mkdir it, or give "+f.flag+" another path")
	}
	return nil
}

// ensure mounts the filesystem at path where it is not there yet, making the
// directory where it is missing, and records how to take back just that. It says
// whether it mounted.
func (f filesystem) ensure(path string, u *undo) (bool, error) {
	there, err := f.check(path)
	if err != nil || there {
		return false, err
	}
	made, err := makeDirs(path, u)
	if err != nil {
		return false, notReady("make directory", path, err, "make it by hand, or give "+f.flag+" another path")
	}
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_RELATIME
	options, err := f.options()
	if err == nil {
		err = unix.Mount(sourceFor(made), path, f.name, flags, options)
	}
	if err != nil {
		return false, notReady("mount "+f.name, path, err, "mount it by hand: mount -t "+f.name+" none "+path)
	}
	u.push("unmount "+path, func() error { return unix.Unmount(path, unix.UMOUNT_NOFOLLOW) })
	return true, nil
}

// cgroup2Options are those that cgroup2 has one set of for the whole host.
var cgroup2Options = []string{"nsdelegate", "favordynmods", "memory_localevents", "memory_recursiveprot",
	"memory_hugetlb_accounting", "pids_localevents"}

// options are those to mount with. A mount of cgroup2 that does not name the
// host's options turns them off, so they are carried over from the mount that is there.
func (f filesystem) options() (string, error) {
	if f.name == bpffs.name {
		return "mode=0700", nil
	}
	m, err := readMounts(func(m *mountPoint) bool { return m.fstype == cgroup2.name })
	if err != nil || m == nil {
		return "", err
	}
	var keep []string
	for _, o := range strings.Split(m.options, ",") {
		if slices.Contains(cgroup2Options, o) {
			keep = append(keep, o)
		}
	}
	return strings.Join(keep, ","), nil
}

// makeDirs makes path and those of its parents that are missing, and says how
// many directories that were.
func makeDirs(path string, u *undo) (int, error) {
	missing, err := missingDirs(path)
	if err != nil {
		return 0, err
	}
	for _, p := range missing {
		if err := os.Mkdir(p, 0o755); err != nil {
			return 0, err
		}
		u.push("remove directory "+p, func() error { return os.Remove(p) })
	}
	return len(missing), nil
}

// missingDirs lists those of path and its parents that are not there, parents first.
func missingDirs(path string) (missing []string, err error) {
	for p := filepath.Clean(path); ; p = filepath.Dir(p) {
		if _, err := os.Lstat(p); err == nil {
			return missing, nil
		} else if !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		missing = append([]string{p}, missing...)
	}
}

// mountPoint is one line of mountinfo; options are the filesystem's, not the mount's.
type mountPoint struct{ fsRoot, path, fstype, source, options string }

// ours says whether kmesh-node made the mount, and how many directories for it.
func (m *mountPoint) ours(f filesystem) (made int, ours bool) {
	if m == nil || m.fstype != f.name {
		return 0, false
	}
	n, counted := strings.CutPrefix(m.source, mountSource+"+")
	if !counted {
		return 0, m.source == mountSource
	}
	made, err := strconv.Atoi(n)
	return made, err == nil
}

// mountAt returns the topmost mount whose mount point is path, nil for none.
func mountAt(path string) (*mountPoint, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	return readMounts(func(m *mountPoint) bool { return m.path == real })
}

func readMounts(match func(*mountPoint) bool) (*mountPoint, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	m, err := findMount(f, match)
	return m, errors.Join(err, f.Close())
}

// findMount returns the last match in mountinfo: a later line covers an earlier one.
func findMount(r io.Reader, match func(*mountPoint) bool) (*mountPoint, error) {
	var found *mountPoint
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		left, right, ok := strings.Cut(s.Text(), " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if !ok || len(l) < 5 || len(r) < 3 {
			continue
		}
		m := &mountPoint{fsRoot: l[3], path: unescape(l[4]), fstype: r[0], source: unescape(r[1]), options: r[2]}
		if match(m) {
			found = m
		}
	}
	return found, s.Err()
}

// unescape undoes the kernel's \ooo for blanks and backslashes.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
