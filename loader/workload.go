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
	w := &WorkloadBpf{k}
	k.mapsReady, k.beside = w.prepareWriter, w.bringUpToDate
	k.timed(begin).Log(k.level(), "phase NewWorkloadBpf")
	if cfg.Settings.ManageAll && cfg.kept == nil {
		k.log.Warn("--manage all is about connects: policies hold for what comes in to enrolled pods, and there alone")
	}
	return w, nil
}

// prepareWriter writes the settings that the writer of the configuration goes by.
func (w *WorkloadBpf) prepareWriter() error {
	if w.found.Build == "" {
		w.undo.push("remove lock of the store", func() error { return removeFile(w.cfg.StoreLock()) })
	}
	return w.writeNode()
}
