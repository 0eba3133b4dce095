// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/store"
	"github.com/kmesh-net/kmesh-node/proto/admin"
	"github.com/kmesh-net/kmesh-node/proto/core"
)

// push is the side of a pusher in ads mode: it opens the store from its environment,
// as any program under `kmesh-node exec` can.
func push(in io.Reader, out io.Writer) (err error) {
	s, err := store.Open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close(true)) }()
	return obey(in, out, func(file string) (func() error, error) {
		batch, err := readBatch(file)
		return func() error { return s.Publish(batch) }, err
	})
}

// obey does what the lines of in say, each answered with a line:
//
//	publish FILE   publish the batch once
//	loop FILE...   publish them in turn, without pause, until the next line
//
// read returns what publishes the batch of a file.
func obey(in io.Reader, out io.Writer, read func(file string) (func() error, error)) error {
	lines := make(chan string)
	go func() {
		defer close(lines)
		for scan := bufio.NewScanner(in); scan.Scan(); {
			lines <- scan.Text()
		}
	}()
	for line := range lines {
		for line != "" {
			verb, files, _ := strings.Cut(line, " ")
			var batches []func() error
			for _, file := range strings.Fields(files) {
				publish, err := read(file)
				if err != nil {
					return err
				}
				batches = append(batches, publish)
			}
			if len(batches) == 0 {
				return errors.New("no batch is named")
			}
			answer, err := "published", error(nil)
			if line = ""; verb == "loop" {
				answer, line, err = loop(batches, lines)
			} else {
				err = batches[0]()
			}
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintln(out, answer); err != nil {
				return err
			}
		}
	}
	return nil
}

// loop returns how often it published and the line that ended it.
func loop(batches []func() error, lines <-chan string) (string, string, error) {
	for n := 0; ; n++ {
		select {
		case line := <-lines:
			return fmt.Sprint(n), line, nil
		default:
		}
		if err := batches[n%len(batches)](); err != nil {
			return "", "", err
		}
	}
}

// readBatch reads a file of admin.ConfigDump; a resource that is marked DELETE is
// deleted.
func readBatch(file string) ([]store.Op, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var dump admin.ConfigDump
	if err := proto.Unmarshal(data, &dump); err != nil {
		return nil, fmt.Errorf("read batch %s: %w", file, err)
	}
	var batch []store.Op
	add := func(m proto.Message, s core.ApiStatus) {
		batch = append(batch, store.Op{Delete: s == core.ApiStatus_DELETE, Message: m})
	}
	for _, m := range dump.GetDynamicResources().GetClusterConfigs() {
		add(m, m.GetApiStatus())
	}
	for _, m := range dump.GetDynamicResources().GetRouteConfigs() {
		add(m, m.GetApiStatus())
	}
	for _, m := range dump.GetDynamicResources().GetListenerConfigs() {
		add(m, m.GetApiStatus())
	}
	return batch, nil
}

// pusher is the test's side.
type pusher struct {
	t   testing.TB
	dir string
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// pusher starts another process of this binary as a writer of the store.
func (n *node) pusher() *pusher {
	n.t.Helper()
	return n.startPusher(n.command("exec", "--", executable(n.t)), rolePusher)
}

func (n *node) startPusher(cmd *exec.Cmd, role string) *pusher {
	n.t.Helper()
	cmd.Env = append(os.Environ(), roleEnv+"="+role)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		n.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		n.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	p := &pusher{n.t, n.dir, cmd, in, bufio.NewReader(out)}
	n.t.Cleanup(p.stop)
	return p
}

// batch writes a batch for the pusher and returns its file.
func (n *node) batch(resources ...proto.Message) string {
	n.t.Helper()
	data, err := proto.Marshal(dumpOf(resources))
	if err != nil {
		n.t.Fatal(err)
	}
	f, err := os.CreateTemp(n.dir, "batch-")
	if err != nil {
		n.t.Fatal(err)
	}
	if _, err = f.Write(data); err == nil {
		err = f.Close()
	}
	if err != nil {
		n.t.Fatal(err)
	}
	return filepath.Clean(f.Name())
}

// say sends a line without waiting for its answer.
func (p *pusher) say(verb string, files ...string) {
	p.t.Helper()
	if _, err := fmt.Fprintln(p.in, verb, strings.Join(files, " ")); err != nil {
		p.t.Fatalf("tell the pusher: %v", err)
	}
}

// answer waits for the answer to the oldest line that has none.
func (p *pusher) answer() string {
	p.t.Helper()
	line, err := p.out.ReadString('\n')
	if err != nil {
		p.t.Fatalf("the pusher's answer: %v", err)
	}
	return strings.TrimSpace(line)
}

func (p *pusher) publish(file string) {
	p.t.Helper()
	p.say("publish", file)
	p.answer()
}

// loopWhile publishes the files in turn, beginning before fn and ending with the
// first, while fn runs. It returns how often.
func (p *pusher) loopWhile(fn func(), files ...string) (published int) {
	p.t.Helper()
	p.publish(files[0])
	p.say("loop", files...)
	fn()
	p.say("publish", files[0])
	if _, err := fmt.Sscan(p.answer(), &published); err != nil {
		p.t.Fatal(err)
	}
	p.answer()
	return published
}

// stop lets the pusher end by itself.
func (p *pusher) stop() {
	if p.cmd.ProcessState != nil {
		return
	}
	kill := time.AfterFunc(patience, func() { p.cmd.Process.Kill() })
	defer kill.Stop()
	if err := p.in.Close(); err != nil {
		p.t.Error(err)
	}
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("pusher: %v", err)
	}
}

// kill ends the pusher in the middle of whatever it does.
func (p *pusher) kill() {
	p.t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Wait(); err == nil {
		p.t.Fatal("the pusher ended well before it was killed")
	}
}
