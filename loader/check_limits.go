// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/exit"
)

// limits compares what the configuration takes with what this process may have.
func (r *Report) limits(cfg *Config) {
	all, err := memoryFor(cfg, true)
	more, moreErr := memoryFor(cfg, false)
	if err := errors.Join(err, moreErr); err != nil {
		f := Finding{Name: "memory of maps", Detail: err.Error(), Remedy: "build kmesh-node again"}
		var e *exit.Error
		if errors.As(err, &e) {
			f.Detail, f.Remedy = e.Err.Error(), e.Remedy
		}
		r.add(f)
		return
	}
	r.memlock(all)
	r.memory(cfg, more)
	r.descriptors(cfg)
}

// memoryFor is about what the maps of cfg's mode take when they are made, in bytes. all
// counts those that are there already too.
func memoryFor(cfg *Config, all bool) (sum uint64, err error) {
	l, err := layouts(cfg)
	if err != nil {
		return 0, err
	}
	cpus, err := possibleCPUs()
	if err != nil {
		return 0, fmt.Errorf("count CPUs: %w", err)
	}
	there := map[string]uint32{}
	if s, err := GetStatus(cfg); err == nil && !all {
		for _, m := range s.Maps {
			there[m.Name] = m.Entries
		}
	}
	for name, m := range l {
		if n, ok := there[name]; !ok || n != m.MaxEntries {
			sum += m.footprint(cpus)
		}
	}
	return sum, nil
}

// memlock is about kernels that limit maps by RLIMIT_MEMLOCK, which libbpf raises.
func (r *Report) memlock(need uint64) {
	f := Finding{Name: "RLIMIT_MEMLOCK", OK: true, Detail: "not asked for: maps count as memory of the cgroup", For: "maps and programs"}
	if !accountsToCgroups() {
		var l unix.Rlimit
		have, err := effectiveCaps()
		if err := errors.Join(err, unix.Getrlimit(unix.RLIMIT_MEMLOCK, &l)); err != nil {
			f.OK, f.Detail, f.Remedy = false, err.Error(), "mount /proc"
			r.add(f)
			return
		}
		f.Detail = "raised by kmesh-node: CAP_SYS_RESOURCE allows it"
		if have&(1<<unix.CAP_SYS_RESOURCE) == 0 {
			f.Required = l.Max < need
			f.OK, f.Detail = !f.Required, fmt.Sprintf("%s of %s that the maps take (Linux 5.11 has no such limit)", bytesOf(l.Max), bytesOf(need))
		}
		if !f.OK {
			f.Remedy = "run: ulimit -l unlimited (in a unit LimitMEMLOCK=infinity), or give the process CAP_SYS_RESOURCE"
		}
	}
	r.add(f)
}

// memory compares with what is free, of the machine and of this process's cgroup.
func (r *Report) memory(cfg *Config, need uint64) {
	f := Finding{Name: "memory", OK: true, For: "maps of " + string(cfg.Mode) + " mode as configured"}
	f.Detail = "about " + bytesOf(need) + " more"
	free, err := memAvailable()
	if err != nil {
		f.Detail += "; what is free is not told: " + err.Error()
	} else {
		f.Detail += ", free are " + bytesOf(free)
		f.OK = need < free
	}
	f.Remedy = "free memory, or lower --flow-entries, --policy-slots and --workloads"
	for _, l := range cgroupLimits() {
		if room := l.most - min(l.most, l.used); room < free || err != nil {
			free, err = room, nil
			f.Detail += "; " + l.file + " leaves " + bytesOf(room)
			if need >= room {
				f.OK, f.Remedy = false, "raise "+l.file+" (in a unit MemoryMax=), or lower --flow-entries, --policy-slots and --workloads"
			}
		}
	}
	if f.OK {
		f.Remedy = ""
	}
	r.add(f)
}

func memAvailable() (uint64, error) {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	for s.Scan() {
		if v, ok := strings.CutPrefix(s.Text(), "MemAvailable:"); ok {
			n, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(v, "kB")), 10, 64)
			return n << 10, err
		}
	}
	return 0, errors.Join(errors.New("/proc/meminfo has no MemAvailable"), s.Err())
}

// cgroupLimit is a limit of memory that a cgroup puts on this process.
type cgroupLimit struct {
	file       string
	most, used uint64
}

// cgroupLimits are those of the cgroup of this process and of those above it, where a
// hierarchy with memory is mounted.
func cgroupLimits() (l []cgroupLimit) {
	for _, v := range []struct{ line, fstype, option, most, used string }{
		{"0::", "cgroup2", "", "memory.max", "memory.current"},
		{":memory:", "cgroup", "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"},
	} {
		at, ok := ownCgroup(v.line)
		if !ok {
			continue
		}
		m, err := readMounts(func(m *mountPoint) bool {
			return m.fstype == v.fstype && (v.option == "" || strings.Contains(","+m.options+",", ","+v.option+","))
		})
		if err != nil || m == nil {
			continue
		}
		rel, err := filepath.Rel(m.fsRoot, at)
		if err != nil || strings.HasPrefix(rel, "..") {
			continue // not in sight from here
		}
		for dir := filepath.Join(m.path, rel); isBelow(dir, m.path); dir = filepath.Dir(dir) {
			most, mostErr := readNumber(filepath.Join(dir, v.most))
			used, usedErr := readNumber(filepath.Join(dir, v.used))
			if mostErr == nil && usedErr == nil && most < 1<<62 {
				l = append(l, cgroupLimit{filepath.Join(dir, v.most), most, used})
			}
		}
	}
	return l
}

// ownCgroup finds this process's path in the hierarchy of that line of /proc/self/cgroup.
func ownCgroup(mark string) (string, bool) {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", false
	}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if at, ok := strings.CutPrefix(line, mark); ok {
			return at, true
		}
		if _, at, ok := strings.Cut(line, mark); ok && mark != "0::" {
			return at, true
		}
	}
	return "", false
}

func readNumber(path string) (uint64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64) // "max" is none
}

// descriptors compares the limit of open files with what `up` opens at once.
func (r *Report) descriptors(cfg *Config) {
	var l unix.Rlimit
	f := Finding{Name: "RLIMIT_NOFILE", OK: true, For: "what up opens at once"}
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		f.OK, f.Detail, f.Remedy = false, err.Error(), "see: ulimit -n"
		r.add(f)
		return
	}
	need := descriptorsFor(cfg)
	f.Detail = fmt.Sprintf("%d; up opens about %d", l.Max, need)
	if f.OK = l.Max >= need; !f.OK {
		f.Required = true
		f.Remedy = fmt.Sprintf("run: ulimit -n %d (in a unit LimitNOFILE=)", need)
	}
	r.add(f)
}

// descriptorsFor is about how many descriptors `up` has open at the most: maps and
// programs of the build that goes and of the one that comes, by libbpf, by kmesh-node, by
// the store and by the self-test, and two for each device of a pod.
func descriptorsFor(cfg *Config) uint64 {
	const own = 64 // the standard ones, locks, the runtime's, what is open for a moment
	n := own + 8*len(mapsOf(cfg.Mode)) + 4*len(programsOf(cfg.Mode))
	if links, err := cfg.tree().nicLinks(); err == nil {
		for _, l := range links {
			n += 2 * len(l)
		}
	}
	return uint64(n)
}

// bytesOf is a number of bytes for people.
func bytesOf(n uint64) string {
	switch {
	case n >= 1<<62:
		return "no limit"
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}
