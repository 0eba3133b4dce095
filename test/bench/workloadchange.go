// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/sirupsen/logrus"
	"google.golang.org/protobuf/proto"

	writer "github.com/kmesh-net/kmesh-node/internal/workload"
	"github.com/kmesh-net/kmesh-node/internal/xds"
	"github.com/kmesh-net/kmesh-node/proto/workload"
)

const (
	changeRounds   = 41
	commandRounds  = 9 // of those that run the whole command
	changePatience = 5 * time.Second
)

// measureChange adds how long a change of one workload among 10 000 takes until a
// connect sees it: in a process that holds the maps open, as `run` does.
func (b *bench) measureChange() error {
	large := filepath.Join(b.ambient, "ambient-scale-10000pods")
	if _, err := os.Stat(large); err != nil {
		return fmt.Errorf("capture is not there: %w; name its folder with -ambient", err)
	}
	if err := b.fresh(b.enrolled); err != nil {
		return err
	}
	if _, err := b.node("apply", "-f", large); err != nil {
		return err
	}
	w, err := oneWorkload(large)
	if err != nil {
		return err
	}
	s, err := b.openWriter()
	if err != nil {
		return err
	}
	data, err := delta(benchNamespace+"/"+benchHost, benchService())
	if err == nil {
		err = s.apply(data)
	}
	if err != nil {
		return errors.Join(err, s.Close())
	}
	c, err := b.changeInProcess(s, w)
	if err = errors.Join(err, s.Close()); err != nil {
		return err
	}
	whole, err := b.changeByCommand(w)
	if err != nil {
		return err
	}
	b.report.add(row{
		Figure: "change of one workload of 10 000, until a connect sees it", Unit: "ms", Target: some(2),
		Note: fmt.Sprintf("its address, from the response's bytes to the start of the first connect that arrives there, the maps being held open; all is done, the grace period included, after %.1f ms; by `apply` the whole command takes %.0f ms, %.0f ms of CPU time",
			median(c.done), median(walls(whole)), median(cpus(whole))),
	}.from(c.seen))
	return nil
}

// oneWorkload takes a workload out of a capture and makes it the one endpoint of the
// benchmark's service, too.
func oneWorkload(capture string) (*workload.Workload, error) {
	docs, err := xds.Load([]string{capture}, nil)
	if err != nil {
		return nil, err
	}
	for _, d := range docs {
		for _, m := range d.Resources {
			if a, ok := m.(*workload.Address); ok && len(a.GetWorkload().GetServices()) > 0 {
				return serving(proto.CloneOf(a.GetWorkload())), nil
			}
		}
	}
	return nil, fmt.Errorf("find a workload of a service in %s: there is none", capture)
}

// A workloadWriter holds the maps of workload mode open.
type workloadWriter struct {
	*writer.Store
	fds map[string]int
}

func (b *bench) openWriter() (*workloadWriter, error) {
	w := &workloadWriter{fds: map[string]int{}}
	entries, err := os.ReadDir(b.pins("map"))
	if err != nil {
		return nil, fmt.Errorf("list maps: %w", err)
	}
	for _, e := range entries {
		if w.fds[e.Name()], err = openPin(filepath.Join(b.pins("map"), e.Name())); err != nil {
			w.closeFDs()
			return nil, err
		}
	}
	log := logrus.New()
	log.SetLevel(logrus.WarnLevel)
	w.Store, err = writer.Open(w.fd, writer.Options{
		LockFile: filepath.Join(b.stateDir, "writer.lock"), LockTimeout: time.Second, Log: log,
	})
	if err != nil {
		w.closeFDs()
		return nil, err
	}
	return w, nil
}

func (w *workloadWriter) fd(name string) int {
	if fd, ok := w.fds[name]; ok {
		return fd
	}
	return -1
}

func (w *workloadWriter) closeFDs() {
	for _, fd := range w.fds {
		closeFD(fd)
	}
}

func (w *workloadWriter) Close() error {
	defer w.closeFDs()
	return w.Store.Close()
}

// apply takes a response from its bytes.
func (w *workloadWriter) apply(data []byte) error {
	docs, err := xds.Parse("response", data)
	if err != nil {
		return err
	}
	_, err = w.Apply(docs, false)
	return err
}

// changes holds times from the begin of each change, in ms.
type changes struct {
	seen []float64 // until the start of the first connect that saw it
	done []float64 // until the call returned
}

// changeInProcess moves the workload to another address, again and again.
func (b *bench) changeInProcess(s *workloadWriter, w *workload.Workload) (c changes, err error) {
	for i := range changeRounds {
		to := backends[1+i%2].Addr()
		data, err := moved(w, to)
		if err != nil {
			return c, err
		}
		var began, ended, saw time.Duration
		applied := make(chan error, 1)
		err = b.enrolled.inside(func() (err error) {
			go func() {
				time.Sleep(5 * time.Millisecond) // connections are being made by then
				var errs [3]error
				began, errs[0] = monotonic()
				errs[1] = s.apply(data)
				ended, errs[2] = monotonic()
				applied <- errors.Join(errs[:]...)
			}()
			saw, err = b.enrolled.connectUntil(service, netip.AddrPortFrom(to, service.Port()), changePatience)
			return err
		})
		if err = errors.Join(err, <-applied); err != nil {
			return c, err
		}
		if i > 0 { // the first one also made it an endpoint of the service
			c.seen, c.done = append(c.seen, millis(saw-began)), append(c.done, millis(ended-began))
		}
	}
	return c, nil
}

// changeByCommand moves the workload by commands.
func (b *bench) changeByCommand(w *workload.Workload) ([]ran, error) {
	var all []ran
	for i := range commandRounds {
		data, err := moved(w, backends[1+i%2].Addr())
		if err != nil {
			return nil, err
		}
		file := filepath.Join(b.stateDir, "change.pb")
		if err := os.WriteFile(file, data, 0o644); err != nil {
			return nil, err
		}
		r, err := b.node("apply", "-f", file)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

// moved is a response with the workload at another address.
func moved(w *workload.Workload, to netip.Addr) ([]byte, error) {
	w.Addresses = [][]byte{to.AsSlice()}
	return delta(w.Uid, asAddress(w))
}
