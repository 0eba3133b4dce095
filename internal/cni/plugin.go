// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/sirupsen/logrus"

	"github.com/kmesh-net/kmesh-node/internal/exit"
	"github.com/kmesh-net/kmesh-node/internal/podrecord"
	"github.com/kmesh-net/kmesh-node/loader"
)

// Codes of our own, beside those of the specification.
const (
	codeRefused = 100 // the pod cannot be enrolled, now or later
	codeDiffers = 101 // CHECK: something is not as ADD left it
)

// plugin is one call.
type plugin struct {
	objects  fs.FS
	began    time.Time
	limit    chan time.Duration // of the whole call, once it is known
	out, err io.Writer

	mu     sync.Mutex
	result []byte       // of success
	late   *types.Error // the answer when the time is over
	letIn  string       // or why the pod is let through then
	undone func() error // what has to be taken back then
}

// call is what all commands work with.
type call struct {
	*plugin
	cfg  *config
	args *skel.CmdArgs
	data loader.Config
	dir  podrecord.Dir
}

// begin reads the configuration. With an error about a field there is a call all the same.
func (p *plugin) begin(args *skel.CmdArgs) (*call, error) {
	cfg, unknown, err := parse(args.StdinData)
	if cfg == nil {
		return nil, err
	}
	p.limit <- cfg.timeout
	c := &call{plugin: p, cfg: cfg, args: args, data: loader.Default()}
	c.data.Objects, c.data.BpfFsPath = p.objects, cfg.BpfFsPath
	c.data.Log = logrus.New()
	c.data.Log.SetOutput(p.err)
	c.data.Log.SetLevel(cfg.logLevel)
	c.data.Log.SetFormatter(&logrus.TextFormatter{DisableTimestamp: true, DisableColors: true})
	c.dir = c.data.PodRecords()
	if len(unknown) > 0 {
		c.data.Log.Warnf("%s: the network configuration has fields that it does not know, and leaves alone: %s", Name, strings.Join(unknown, ", "))
	}
	return c, err
}

// remaining is what is left of the call's time, less what the end of it may take.
func (c *call) remaining() time.Duration { return c.cfg.timeout*4/5 - time.Since(c.began) }

// each opens the maps of every mode that is up and calls do with them. Where nothing is up
// the error has exit.NotUp.
func (c *call) each(do func(*loader.Handles) error) error {
	notUp := error(&exit.Error{Code: exit.NotUp, Step: "open maps", Object: c.cfg.BpfFsPath, Err: loader.ErrNotUp, Remedy: "run: kmesh-node run"})
	done := false
	for _, mode := range loader.ModesUp(&c.data) {
		cfg := c.data
		cfg.Mode = mode
		cfg.LockTimeout = max(c.remaining()/4, 10*time.Millisecond)
		err := c.with(&cfg, do)
		switch {
		case err == nil:
			done = true
		case exit.Code(err) == exit.NotUp:
			notUp = err // it comes or goes, perhaps: the other mode counts
		default:
			return err
		}
	}
	if done {
		return nil
	}
	return notUp
}

func (c *call) with(cfg *loader.Config, do func(*loader.Handles) error) error {
	h, err := loader.OpenPinned(cfg)
	if err != nil {
		return err
	}
	defer h.Close()
	return do(h)
}

// insist is each that lets others finish: who holds a lock is waited for as long as there
// is time, and an `up` that is under way once.
func (c *call) insist(do func(*loader.Handles) error) error {
	for waited := false; ; {
		err := c.each(do)
		switch code := exit.Code(err); {
		case code == exit.Locked && c.remaining() > c.cfg.timeout/4:
		case code == exit.NotUp && !waited:
			waited = true
			cfg := c.data
			cfg.LockTimeout = max(c.remaining()/2, 10*time.Millisecond)
			if err := loader.AwaitPods(&cfg); err != nil {
				return err
			}
		default:
			return err
		}
	}
}

// absent says whether an error is of a kmesh-node that is not there, or not able to answer:
// that may be over when it comes up.
func absent(err error) bool {
	return slices.Contains([]int{exit.NotUp, exit.NotReady, exit.Locked, exit.Load}, exit.Code(err))
}

// failure is an error for the runtime.
func failure(err error) error {
	var e *types.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		return err
	case absent(err):
		return types.NewError(types.ErrTryAgainLater, "kmesh-node: "+oneLine(err), "")
	}
	return types.NewError(codeRefused, "kmesh-node: "+oneLine(err), "")
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// onTime says what is answered when the time is over: an error, or with letIn that the pod
// is let through. undo takes back what must not stay then.
func (p *plugin) onTime(late *types.Error, letIn string, undo func() error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.late, p.letIn, p.undone = late, letIn, undo
}

// noAnswer says what keeps a call that hangs, in general.
const noAnswer = "kmesh-node did not answer"

// overtime is the error of a call that is late.
func (c *call) overtime(code uint, what string) *types.Error {
	return types.NewError(code, fmt.Sprintf("%s within %v", what, c.cfg.timeout), "")
}

// passLate has policy open pass when the time is over, and says what that leaves; the
// other one fails with the code, once undo is done.
func (c *call) passLate(code uint, leaves string, undo func() error) {
	late := c.overtime(code, noAnswer)
	if c.cfg.FailurePolicy == Open {
		c.onTime(nil, late.Msg+": "+leaves, nil)
		return
	}
	c.onTime(late, "", undo)
}

// passAbsent is passLate for a kmesh-node that is not there: it says whether the error is
// one that policy open passes.
func (c *call) passAbsent(err error, leaves string) bool {
	if !absent(err) || c.cfg.FailurePolicy != Open {
		return false
	}
	c.data.Log.Warnf("%s: %s (failurePolicy %s): %s", Name, leaves, Open, oneLine(err))
	return true
}

// overdue is the end of a call that hangs.
func (p *plugin) overdue() *types.Error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.letIn != "" {
		fmt.Fprintf(p.err, "%s: %s\n", Name, p.letIn)
		return nil
	}
	late := p.late
	if late == nil {
		late = types.NewError(types.ErrTryAgainLater, "no network configuration came in time on standard input", "")
	}
	if p.undone != nil {
		if err := p.undone(); err != nil {
			late.Details = err.Error()
		}
	}
	return late
}

// succeed sets the result.
func (p *plugin) succeed(result []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.result = result
}
