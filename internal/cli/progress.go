// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/top"
)

const (
	// progressAfter is how long a command works before it says what it is at.
	progressAfter = time.Second
	progressEvery = time.Second
	// eraseLine goes to the beginning of the line and clears it.
	eraseLine = "\r\033[K"
)

// progress is the last line of a terminal: what a command that works for more than a
// moment is at. It is on standard error and goes when the command has ended; there is
// none where that is no terminal.
type progress struct {
	w     io.Writer
	width func() int // columns; 0: unknown

	mu    sync.Mutex
	timer *time.Timer // nil: there is no line
	what  string
	begin time.Time
	drawn bool
}

// newProgress returns the line of w, or nil where w is no terminal that has one.
func newProgress(w io.Writer) *progress {
	f, is := w.(*os.File)
	if !is || os.Getenv("TERM") == "dumb" || os.Getenv("TERM") == "" || !top.IsTerminal(f) {
		return nil
	}
	return &progress{w: w, width: func() int {
		size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
		if err != nil {
			return 0
		}
		return int(size.Col)
	}}
}

// start has the line appear after a moment.
func (p *progress) start(what string) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer != nil {
		return
	}
	p.what, p.begin = what, time.Now()
	p.timer = time.AfterFunc(progressAfter, p.tick)
}

// at says what is done now.
func (p *progress) at(what string) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.what = what
	if p.drawn {
		p.draw()
	}
}

// stop takes the line away.
func (p *progress) stop() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer == nil {
		return
	}
	p.timer.Stop()
	p.timer = nil
	p.erase()
}

func (p *progress) tick() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer == nil { // it was stopped meanwhile
		return
	}
	p.draw()
	p.timer.Reset(progressEvery)
}

// What the terminal does not take is lost to nobody.
func (p *progress) draw() {
	line := fmt.Sprintf("%s (%d s)", p.what, int(time.Since(p.begin).Seconds()))
	if width := p.width(); width > 1 && len(line) >= width {
		line = line[:width-1] // one that wraps could not be erased
	}
	fmt.Fprint(p.w, eraseLine+line)
	p.drawn = true
}

func (p *progress) erase() {
	if p.drawn {
		fmt.Fprint(p.w, eraseLine)
		p.drawn = false
	}
}

// Write writes lines above the line.
func (p *progress) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	shown := p.drawn
	p.erase()
	n, err := p.w.Write(b)
	if shown {
		p.draw()
	}
	return n, err
}

// silent are the commands that wait for something, or that end before anybody looks.
var silent = []string{"run", "events", "top", "exec", "version", "man", "completion", "help", "env"}

// withProgress shows what cmd is at until it prints or ends.
func (c *command) withProgress(cmd *cli.Command) {
	do := cmd.Action
	if do == nil || slices.Contains(silent, cmd.Name) {
		return
	}
	cmd.Action = func(ctx *cli.Context) error {
		if form, err := outputOf(ctx); err == nil && form == "table" {
			c.progress.start(cmd.Name)
			defer c.progress.stop()
		}
		return do(ctx)
	}
}

// doing is what a part of the command says that it is at.
func (c *command) doing(name string) func(what string) {
	return func(what string) { c.progress.at(name + ": " + strings.ToLower(what)) }
}
