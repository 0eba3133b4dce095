// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/sirupsen/logrus"

	"github.com/kmesh-net/kmesh-node/internal/workload"
	"github.com/kmesh-net/kmesh-node/internal/xds"
	"github.com/kmesh-net/kmesh-node/loader"
)

// pushWorkload is the side of a pusher in workload mode, at the bpffs that its first
// argument names.
func pushWorkload(in io.Reader, out io.Writer) (err error) {
	cfg := loader.Default()
	cfg.BpfFsPath, cfg.Mode = os.Args[1], "workload"
	h, err := loader.OpenPinned(&cfg)
	if err != nil {
		return err
	}
	defer h.Close()
	log := logrus.New()
	log.SetOutput(io.Discard)
	s, err := workload.Open(h.FD, workload.Options{LockFile: cfg.StoreLock(), LockTimeout: patience, HostAddresses: loader.HostAddresses, Log: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return obey(in, out, func(dir string) (func() error, error) {
		docs, err := xds.Load([]string{dir}, nil)
		return func() error {
			_, err := s.Apply(docs, false)
			return err
		}, err
	})
}

// workloadPusher starts another process of this binary as a writer of workload mode's
// maps. Its batches are the directories that write makes.
func (m *mesh) workloadPusher() *pusher {
	m.t.Helper()
	return m.startPusher(exec.Command(executable(m.t), m.bpf), roleWorkloadPusher)
}

// batch writes the documents of one publication.
func (m *mesh) batch(docs ...doc) string { return filepath.Clean(m.write(docs...)) }
