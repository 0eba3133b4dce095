// SPDX-License-Identifier: Apache-2.0

// Package loader brings the eBPF data plane up and takes it down again: it
// mounts what is missing, loads the programs, attaches and pins them, and hands
// the maps over to the store. Programs and maps are rows of a table; a first
// start, a restart, an update to another build and a repair are one path over it.
package loader

import (
	"io/fs"
	"path/filepath"
	"time"

	"github.com/sirupsen/logrus"
)

// Mode is which data plane is loaded.
type Mode string

// The modes of the contract.
const (
	Ads      Mode = "ads"
	Workload Mode = "workload"
)

// The values of Config.ConnectRet: how the result of connect() is learnt.
const (
	ConnectRetAuto    = "auto"             // the best that the kernel has
	ConnectRetSysExit = "sys_exit_connect" // the literal return of the system call
	ConnectRetOff     = "off"
)

// The values of Config.XDPMode: where xdpauth sees a packet.
const (
	XDPGeneric = "generic" // behind the driver: keeps the offloads of a veth
	XDPNative  = "native"  // in the driver
)

// Config is what a kmesh-node is told. Default fills in the contract's defaults.
type Config struct {
	Mode        Mode
	BpfFsPath   string
	Cgroup2Path string
	RunDir      string // locks and verifier logs
	BTF         string // a file with the kernel's BTF; empty: /sys/kernel/btf/vmlinux
	ConnectRet  string // ads mode
	Settings    Settings
	Workload    WorkloadSettings
	XDPMode     string // workload mode, as the next two
	FlowEntries uint32 // of the cache of verdicts, a power of two
	Workloads   uint32 // that there is room for, a power of two: it sizes the maps of the configuration
	PolicySlots uint32 // of 64 bytes for compiled policies, a power of two; the map has twice that
	// LockTimeout is how long a writer of the store waits for another.
	LockTimeout time.Duration
	// Release is what people call this build.
	Release string
	// Stay makes Start hold the lock of a live `run` until Stop.
	Stay bool
	// Alone is called, with Stay, when no other `run` is or can come up and before anything is
	// loaded: its error ends the start. nil: nothing is to be done then.
	Alone func() error
	// kept is what the live `run` whose repair this is holds on to.
	kept *kept
	// Configure puts the configuration into the maps of a mode that the other one gives way
	// to, before it does; nil: later. It is called on a change of mode only.
	Configure func(*Handles) error
	// Aside is called with what opens the store of this process for a moment, where one
	// who stays may have it open; nil: nobody has.
	Aside func(func() error) error
	// Doing is told what is done next, for people; never nil.
	Doing func(what string)
	// Objects holds the BPF objects as NAME.bpf.o in its root.
	Objects fs.FS
	Log     *logrus.Logger
}

// Settings are what the programs read at run time: another `up` changes them
// without a reload.
type Settings struct {
	ManageAll      bool // every process under the cgroup, not only enrolled namespaces
	ControlAddress bool // a pod may enrol or leave by connecting to it
	// OutlierFailures is the number of failed connects in a row after which an
	// endpoint is skipped; 0 turns that off.
	OutlierFailures   uint32
	OutlierBackoff    time.Duration // the first; it doubles up to OutlierBackoffMax
	OutlierBackoffMax time.Duration
}

// WorkloadSettings are those that only workload mode has.
type WorkloadSettings struct {
	WaypointPort uint16 // of connections that begin with the metadata
	JudgeNode    bool   // connections from the node's own addresses are judged too
	NodeName     string // of workloads on this node
	// Region, Zone and Subzone are where the node is; all empty: found out from the workloads.
	Region, Zone, Subzone string
}

// Default returns the configuration of the contract, without Objects.
func Default() Config {
	return Config{
		Mode:        Workload,
		BpfFsPath:   "/sys/fs/bpf",
		Cgroup2Path: "/mnt/kmesh_cgroup2",
		RunDir:      "/run/kmesh-node",
		ConnectRet:  ConnectRetAuto,
		Settings: Settings{
			OutlierFailures:   5,
			OutlierBackoff:    10 * time.Second,
			OutlierBackoffMax: 300 * time.Second,
		},
		Workload:    WorkloadSettings{WaypointPort: waypointPort},
		XDPMode:     XDPGeneric,
		FlowEntries: defaultFlows,
		PolicySlots: MinPolicySlots,
		Workloads:   defaultWorkloads,
		LockTimeout: 5 * time.Second,
		Doing:       func(string) {},
		Log:         logrus.StandardLogger(),
	}
}

// StoreLock is the file that writers of workload mode's maps lock with flock.
func (c *Config) StoreLock() string {
	return filepath.Join(c.RunDir, lockName(c.BpfFsPath, ".store.lock"))
}

// SourceFiles are where a `run` writes down which resources the files that it watches
// hold, for the next one to remove what they hold no longer, and that file half written.
func (c *Config) SourceFiles() [2]string {
	path := filepath.Join(c.RunDir, lockName(c.BpfFsPath, "."+string(c.Mode)+".source"))
	return [2]string{path, path + ".new"}
}

// ControlFiles are where a `run` writes down how it gets on with its control plane, for
// `status`, and that file half written.
func (c *Config) ControlFiles() [2]string {
	path := filepath.Join(c.RunDir, lockName(c.BpfFsPath, "."+string(c.Mode)+".control"))
	return [2]string{path, path + ".new"}
}

func (c *Config) tree() tree { return tree{c.BpfFsPath, string(c.Mode)} }
