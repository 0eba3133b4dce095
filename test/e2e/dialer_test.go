// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
)

// roleDialer is a process that connects without pause, in a pod; its addresses and the
// pod are in dialEnv.
const (
	roleDialer = "dialer"
	dialEnv    = "KMESH_E2E_DIAL"
)

// dialWithoutPause connects to each of the addresses in turn until in ends. For each line of it the
// number of connections so far is printed, in the end how many went where.
func dialWithoutPause(in io.Reader, out io.Writer) error {
	words := strings.Fields(os.Getenv(dialEnv))
	if err := enterNamespace(words[0]); err != nil {
		return err
	}
	var to []netip.AddrPort
	for _, w := range words[1:] {
		to = append(to, netip.MustParseAddrPort(w))
	}
	var made atomic.Int64
	var end atomic.Bool
	go func() {
		for lines := bufio.NewScanner(in); lines.Scan(); {
			fmt.Fprintln(out, made.Load())
		}
		end.Store(true)
	}()
	got := map[target]int{}
	for i := 0; !end.Load(); i++ {
		got[connect(to[i%len(to)])]++
		made.Add(1)
	}
	return json.NewEncoder(out).Encode(name(got))
}

// dialer is such a process.
type dialer struct {
	t   testing.TB
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// dialer starts one in the pod.
func (p *pod) dialer(to ...string) *dialer {
	p.t.Helper()
	d := &dialer{t: p.t, cmd: exec.Command("/proc/self/exe")}
	d.cmd.Env = append(os.Environ(), roleEnv+"="+roleDialer, dialEnv+"="+p.path+" "+strings.Join(to, " "))
	d.cmd.Stderr = os.Stderr
	var err error
	if d.in, err = d.cmd.StdinPipe(); err != nil {
		p.t.Fatal(err)
	}
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	d.out = bufio.NewReader(out)
	if err := d.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		if d.cmd.ProcessState != nil {
			return
		}
		if err := d.cmd.Process.Kill(); err != nil {
			p.t.Error(err)
		}
		if err := d.cmd.Wait(); err == nil {
			p.t.Error("a killed dialer ended well")
		}
	})
	return d
}

// made is how many connections it has made so far.
func (d *dialer) made() (n int) {
	d.t.Helper()
	if _, err := io.WriteString(d.in, "\n"); err != nil {
		d.t.Fatal(err)
	}
	if _, err := fmt.Fscanln(d.out, &n); err != nil {
		d.t.Fatalf("the dialer says nothing: %v", err)
	}
	return n
}

// stop ends it and says where its connections went.
func (d *dialer) stop() counts {
	d.t.Helper()
	if err := d.in.Close(); err != nil {
		d.t.Fatal(err)
	}
	var got counts
	if err := json.NewDecoder(d.out).Decode(&got); err != nil {
		d.t.Fatalf("the dialer does not say where its connections went: %v", err)
	}
	if err := d.cmd.Wait(); err != nil {
		d.t.Errorf("dialer: %v", err)
	}
	return got
}

// dialers are several at once.
type dialers []*dialer

func (l dialers) made() (n int) {
	for _, d := range l {
		n += d.made()
	}
	return n
}

func (l dialers) stop() counts {
	all := counts{}
	for _, d := range l {
		for to, n := range d.stop() {
			all[to] += n
		}
	}
	return all
}

func (c counts) sum() (n int) {
	for _, k := range c {
		n += k
	}
	return n
}
