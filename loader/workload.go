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
