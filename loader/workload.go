// SPDX-License-Identifier: Apache-2.0

package loader

import "time"

// WorkloadBpf is one `up` of the workload mode.
type WorkloadBpf struct{ *node }

// NewWorkloadBpf prepares the host for workload mode; on an error everything is as
// it was.
func NewWorkloadBpf(cfg *Config) (*WorkloadBpf, error) {
	begin := time.Now()
	k, err := newNode(cfg)
	if err != nil {
		return nil, err
	}
	k.timed(begin).Info("phase NewWorkloadBpf")
	return &WorkloadBpf{k}, nil
}

// Load is that of ads mode, and the settings that only workload mode has.
func (w *WorkloadBpf) Load() error {
	if err := w.node.Load(); err != nil {
		return err
	}
	return w.writeNode()
}

// Refresh has the writer of the configuration bring up to date what follows from the
// node, before anything is attached that reads it.
func (w *WorkloadBpf) Refresh() error {
	if err := fault("store"); err != nil {
		return loadError("refresh", w.t.root(), err, "")
	}
	if w.found.Build == "" {
		w.undo.push("remove lock of the store", func() error { return removeFile(w.cfg.StoreLock()) })
	}
	if err := w.refresh(); err != nil || !w.rejudge {
		return err
	}
	return w.judgeAnew()
}
