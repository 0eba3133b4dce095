// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"context"
	"errors"
	"strings"

	"github.com/kmesh-net/kmesh-node/internal/exit"
)

// Finding is one line of a Report. Remedy is set where OK is not.
type Finding struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
	Remedy string `json:"remedy,omitempty"`
	// Required: without it `up` fails.
	Required bool `json:"required"`
	// For is what of kmesh-node rests on it; empty: all.
	For string `json:"for,omitempty"`
}

// Report says what this host can do.
type Report struct {
	Findings []Finding       `json:"findings"`
	Programs []ProgramStatus `json:"programs,omitempty"` // with verify: what the verifier said
}

// Ready returns nil, or an *exit.Error that names the first required thing
// that is missing; the rest is in the findings.
func (r *Report) Ready() error {
	var missing []string
	var first *Finding
	for i := range r.Findings {
		if f := &r.Findings[i]; f.Required && !f.OK {
			missing = append(missing, f.Name)
			if first == nil {
				first = f
			}
		}
	}
	if first == nil {
		return nil
	}
	return &exit.Error{Code: exit.NotReady, Step: "check", Object: strings.Join(missing, ", "),
		Err: errors.New(first.Detail), Remedy: first.Remedy}
}

// Check looks at the host for what cfg asks of it, and changes nothing. With verify it
// also puts every program of the table, of all variants, through the verifier and
// attaches none; its error then is the first rejection.
func Check(cfg *Config, verify bool) (*Report, error) {
	r := &Report{}
	r.kernel()
	r.capabilities()
	r.lockdown(cfg)
	r.btf(cfg)
	for _, m := range cfg.mounts() {
		r.filesystem(m.fs, m.path)
	}
	r.cgroup(cfg.Cgroup2Path)
	r.jit()
	if capable() == nil {
		r.features(cfg.Mode)
		r.limits(cfg)
		r.hooks(cfg)
	}
	if err := r.Ready(); err != nil || !verify {
		return r, err
	}
	var err error
	r.Programs, err = verifyAll(cfg)
	return r, err
}

// CheckMounted is Check of a host where what is missing of bpffs and cgroup2 has been
// mounted, and stays. When it fails, what it mounted goes again.
func CheckMounted(ctx context.Context, cfg *Config, verify bool) (r *Report, err error) {
	var u undo
	defer func() {
		if err != nil {
			err = errors.Join(err, u.unwind())
		}
	}()
	for _, m := range cfg.mounts() {
		did, err := m.fs.ensure(m.path, &u)
		if err != nil {
			return nil, err
		}
		if did {
			cfg.Log.Infof("mounted %s at %s", m.fs.name, m.path)
		}
	}
	if r, err = Check(cfg, verify); err == nil && ctx.Err() != nil {
		err = interrupted("check", "")
	}
	return r, err
}

func (r *Report) add(f Finding) { r.Findings = append(r.Findings, f) }
