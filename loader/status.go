// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Status is what is loaded and attached, read from the kernel.
type Status struct {
	Mode       Mode     `json:"mode"`
	Release    string   `json:"release"`
	Build      string   `json:"build"`
	Generation uint64   `json:"generation"`
	Problems   []string `json:"problems,omitempty"` // what Remedy repairs
	// Run is the process id of a live `run`; Remedy is what repairs problems.
	Run    string `json:"run,omitempty"`
	Remedy string `json:"remedy"`
	// Foreign are others' programs that run where ours do, Outside the processes whose
	// connections are not managed though they should be, Unowned the paths in kmesh-node's
	// tree that are not its own, Unpinned what runs and no pin holds.
	Foreign  []Foreign  `json:"foreign"`
	Outside  *Outside   `json:"outside,omitempty"`
	Unowned  []string   `json:"unowned"`
	Unpinned []Unpinned `json:"unpinned"`

	ConnectRet Tracepoint `json:"connect_ret,omitzero"` // ads mode
	Settings   Effective  `json:"settings"`
	Cgroup     string     `json:"cgroup"`
	Enrolled   int        `json:"enrolled"`
	Rare       Rare       `json:"rare,omitzero"` // ads mode
	// Workload is what only workload mode has.
	Workload *WorkloadStatus `json:"workload,omitempty"`

	Programs []ProgramStatus     `json:"programs"`
	Links    []LinkStatus        `json:"links"`
	Maps     []MapStatus         `json:"maps"`
	cookies  []uint64            // of what is enrolled
	own      map[uint32]bool     // ids of kmesh-node's programs, of both modes
	where    map[uint64][]string // paths of live namespaces by cookie, once they were looked for
	// Memory is what the kernel accounts for the pinned maps, in bytes; the
	// slabs that the store adds are not pinned and not in it.
	Memory uint64 `json:"memory_bytes"`
}

// Tracepoint is how the result of connect() is learnt, and why so.
type Tracepoint struct {
	Variant string `json:"variant"`
	Why     string `json:"why"`
}

// Effective are the settings that the kernel holds.
type Effective struct {
	Manage            string        `json:"manage"` // "enrolled" or "all"
	ControlAddress    bool          `json:"control_address"`
	OutlierDetection  bool          `json:"outlier_detection"`
	OutlierFailures   uint32        `json:"outlier_failures"`
	OutlierBackoff    time.Duration `json:"outlier_backoff_ns"`
	OutlierBackoffMax time.Duration `json:"outlier_backoff_max_ns"`
}

// ProgramStatus is one program. RunCount and RunTime (ns) only count while
// kernel.bpf_stats_enabled is 1; Verified is 0 before Linux 5.16.
type ProgramStatus struct {
	Mode     Mode   `json:"mode"`
	Name     string `json:"name"`
	ID       uint32 `json:"id"`
	Tag      string `json:"tag"`
	Hook     string `json:"hook"`
	RunCount uint64 `json:"run_count"`
	RunTime  uint64 `json:"run_time_ns"`
	Verified uint32 `json:"verified_insns"`
}

// LinkStatus is one attachment. Alive is false once its target is gone.
type LinkStatus struct {
	Name    string `json:"name"`
	ID      uint32 `json:"id"`
	Type    string `json:"type"`
	Target  string `json:"target"`
	Program uint32 `json:"program"`
	Alive   bool   `json:"alive"`
}

// MapStatus is one map; Memory is in bytes.
type MapStatus struct {
	Name    string `json:"name"`
	ID      uint32 `json:"id"`
	Type    string `json:"type"`
	Entries uint32 `json:"max_entries"`
	Memory  uint64 `json:"memory_bytes"`
}

// Rare sums what should be rare over the CPUs.
type Rare struct {
	Restarts   uint64 `json:"restarts"`    // a chain began again: overtaken or preempted
	Overtaken  uint64 `json:"overtaken"`   // gave up restarting: took the newest of each root
	Uncounted  uint64 `json:"uncounted"`   // no room to count: no result, no load
	AllEjected uint64 `json:"all_ejected"` // every endpoint ejected: one used all the same
}

// GetStatus reads what is up where cfg says. Nothing there: an *exit.Error of
// code NotUp.
func GetStatus(cfg *Config) (*Status, error) {
	t := cfg.tree()
	rec, err := t.load()
	switch {
	case errors.Is(err, os.ErrPermission):
		if caps := capable(); caps != nil {
			return nil, caps
		}
		return nil, notReady("read record", t.meta(), err, "run it where bpffs may be read")
	case err != nil || rec.Build == "" && !t.attached():
		return nil, notUp("status", t)
	}
	s := &Status{Foreign: []Foreign{}, Unowned: []string{}, Unpinned: []Unpinned{}, own: ownPrograms(cfg), Mode: cfg.Mode, Release: rec.Release, Build: rec.Build, Generation: rec.Generation, Cgroup: rec.Cgroup,
		ConnectRet: Tracepoint{string(rec.Variant), rec.Why}}
	if rec.Build == "" {
		s.problem("an up was killed before its end")
	}
	if len(ModesUp(cfg)) > 1 {
		s.problem("mode %s is up too: an up that changes the mode was killed", otherMode(cfg.Mode))
	}
	if cfg.Mode == Workload {
		s.Workload = &WorkloadStatus{XDPMode: rec.XDPMode}
	}
	if err := errors.Join(s.readMaps(cfg, t, rec), s.readPrograms(t, rec), s.lookAround(cfg, t, rec)); err != nil {
		return nil, err
	}
	return s, nil
}

// attached says whether any program is attached, though no record tells of it.
func (t tree) attached() bool {
	entries, err := os.ReadDir(t.dir(linkDir))
	return err == nil && len(entries) > 0
}

func (s *Status) problem(format string, args ...any) {
	s.Problems = append(s.Problems, fmt.Sprintf(format, args...))
}

// open opens a pin of the record's; -1 with a problem noted where it is lost.
func (s *Status) open(t tree, d dir, name string, id uint32) (int, error) {
	fd, err := pinGet(t.pin(d, name))
	if err == nil {
		return fd, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return -1, fmt.Errorf("open %s: %w", t.pin(d, name), err)
	}
	s.problem("%s %s (id %d) has lost its pin", d, name, id)
	return -1, nil
}

func (s *Status) readMaps(cfg *Config, t tree, rec *record) error {
	layouts, err := newKnown(cfg)
	if err != nil {
		return err
	}
	for _, m := range mapsOf(s.Mode) {
		fd, err := s.open(t, mapDir, m.name, rec.Maps[m.name])
		if err != nil {
			return err
		}
		if fd < 0 {
			continue
		}
		if err = layouts.check(m, fd); errors.Is(err, ErrLayout) {
			s.problem("%v", err)
			err = nil
		} else if err == nil {
			err = s.readMap(m.name, fd)
		}
		err = errors.Join(err, unix.Close(fd))
		if err != nil {
			return fmt.Errorf("map %s: %w", m.name, err)
		}
	}
	return nil
}

func (s *Status) readMap(name string, fd int) error {
	info, err := mapInfoOf(fd)
	if err != nil {
		return err
	}
	mem, err := memlock(fd)
	if err != nil {
		return err
	}
	s.Maps = append(s.Maps, MapStatus{name, info.ID, mapTypeName(info.Type), info.MaxEntries, mem})
	s.Memory += mem
	switch name {
	case "km_config":
		s.Settings, err = effective(fd)
	case "km_stats":
		s.Rare, err = sumStats(fd)
	case "km_netns":
		s.cookies, err = netnsKeys(fd)
		s.Enrolled = len(s.cookies)
	case "km_node", "km_wstats", "km_pstate", "km_flow", "km_policy", "km_peer":
		err = s.Workload.read(name, fd, info)
	}
	return err
}

// memlock is what the kernel accounts for a map, in bytes.
func memlock(fd int) (uint64, error) {
	b, err := os.ReadFile("/proc/self/fdinfo/" + itoa(fd))
	if err != nil {
		return 0, err
	}
	for l := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(l, "memlock:"); ok {
			return strconv.ParseUint(strings.TrimSpace(v), 10, 64)
		}
	}
	return 0, errors.New("its fdinfo has no memlock")
}
