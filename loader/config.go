// SPDX-License-Identifier: Apache-2.0

// Package loader brings the eBPF data plane up and takes it down again: it
// mounts what is missing, loads the programs, attaches and pins them, and hands
// the maps over to the store. Programs and maps are rows of a table; a first
// start, a restart, an update to another build and a repair are one path over it.
package loader

import (
	"io/fs"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/kmesh-net/kmesh-node/internal/exit"
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

// Config is what a kmesh-node is told. Default fills in the contract's defaults.
type Config struct {
	Mode        Mode
	BpfFsPath   string
	Cgroup2Path string
	RunDir      string // locks and verifier logs
	ConnectRet  string
	Settings    Settings
	// LockTimeout is how long a writer of the store waits for another.
	LockTimeout time.Duration
	// Release is what people call this build.
	Release string
	// Stay makes Start hold the lock of a live `run` until Stop.
	Stay bool
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
		LockTimeout: 5 * time.Second,
		Log:         logrus.StandardLogger(),
	}
}

func (c *Config) tree() tree { return tree{c.BpfFsPath, string(c.Mode)} }

func (c *Config) adsOnly(step string) error {
	if c.Mode == Ads {
		return nil
	}
	return &exit.Error{Code: exit.Usage, Step: step, Object: "mode " + string(c.Mode),
		Err: errNoWorkload, Remedy: "use --mode ads"}
}
