// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/sirupsen/logrus"

	"github.com/kmesh-net/kmesh-node/internal/podrecord"
	"github.com/kmesh-net/kmesh-node/loader"
)

// What ADD refused for its names can be taken away: a runtime would try for ever.
func TestDelOfNamesThatAddRefuses(t *testing.T) {
	for id, dev := range map[string]string{strings.Repeat("a", 201): "eth0", "../x": "eth0", "a": "eth0:1"} {
		p := &plugin{limit: make(chan time.Duration, 1), err: io.Discard}
		args := &skel.CmdArgs{ContainerID: id, IfName: dev, StdinData: []byte(`{"cniVersion":"1.0.0","name":"n","type":"kmesh-cni"}`)}
		if err := p.del(args); err != nil {
			t.Errorf("DEL of %s, %s: %v", id, dev, err)
		}
	}
}

// A setting that is wrong keeps no pod from being removed.
func TestDelWithSettingsThatAreWrong(t *testing.T) {
	for _, field := range []string{`"failurePolicy":"ajar"`, `"failurePolcy":"open"`, `"timeout":3`, `"timeout":"1h"`, `"bpfFsPath":"x"`, `"logLevel":"loud"`} {
		p := &plugin{limit: make(chan time.Duration, 1), err: io.Discard}
		args := &skel.CmdArgs{ContainerID: "none", IfName: "eth0", StdinData: []byte(`{"cniVersion":"1.0.0","name":"n","type":"kmesh-cni",` + field + `}`)}
		if err := p.del(args); err != nil {
			t.Errorf("%s: %v", field, err)
		}
		if d := <-p.limit; d != Timeout {
			t.Errorf("%s: the time is %v", field, d)
		}
	}
}

// newCall is one on a host where nothing is up.
func newCall(t *testing.T) *call {
	t.Helper()
	c := &call{plugin: &plugin{began: time.Now(), err: io.Discard}, cfg: &config{timeout: time.Second, Settings: Settings{FailurePolicy: Closed}}, args: &skel.CmdArgs{}, data: loader.Default()}
	c.data.RunDir, c.data.BpfFsPath = t.TempDir(), t.TempDir()
	c.data.Log = logrus.New()
	c.data.Log.SetOutput(io.Discard)
	c.dir = c.data.PodRecords()
	return c
}

// Of two attachments of a pod that are released at the same time at least one releases it.
func TestTheLastAttachmentIsOneOfThoseThatAreReleased(t *testing.T) {
	c := newCall(t)
	for range 200 {
		var pair [2]*podrecord.Record
		for i, dev := range []string{"eth0", "eth1"} {
			pair[i] = &podrecord.Record{ContainerID: "a", IfName: dev, Netns: "/x", Cookie: 1, Boot: "b"}
			if err := c.dir.Write(pair[i]); err != nil {
				t.Fatal(err)
			}
		}
		var last [2]bool
		var both sync.WaitGroup
		for i, r := range pair {
			both.Go(func() {
				var err error
				last[i], err = c.last(r)
				if err = errors.Join(err, c.dir.Remove(r.ContainerID, r.IfName)); err != nil {
					t.Error(err)
				}
			})
		}
		both.Wait()
		if last == [2]bool{} {
			t.Fatal("neither is the last one")
		}
	}
}

// An ADD that was not over in time, and failed the pod, leaves it to be released.
func TestAddThatIsLateLeavesWhatItEnrolled(t *testing.T) {
	c := newCall(t)
	rec := &podrecord.Record{ContainerID: "a", IfName: "eth0", Netns: "/x", Cookie: 1, Boot: "b"}
	if err := c.dir.Write(rec); err != nil {
		t.Fatal(err)
	}
	c.lateAdd(rec)
	if e := c.overdue(); e == nil || e.Details != "" {
		t.Errorf("the answer is %v", e)
	}
	if got, err := c.dir.Read("a", "eth0"); err != nil || !got.Released {
		t.Errorf("the record: %+v, %v", got, err)
	}
	if err := c.release(rec); err != nil {
		t.Error(err)
	}
	if _, err := c.dir.Read("a", "eth0"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after DEL: %v", err)
	}
}

// While nothing answers policy open lets pass what is late, STATUS as much as ADD.
func TestLateIsLetPassByPolicyOpen(t *testing.T) {
	c := newCall(t)
	c.passLate(types.ErrPluginNotAvailable, "new pods are not managed", nil)
	if e := c.overdue(); e == nil || e.Code != types.ErrPluginNotAvailable || !strings.Contains(e.Msg, "within 1s") {
		t.Errorf("policy closed: %v", e)
	}
	c.cfg.FailurePolicy = Open
	c.passLate(types.ErrPluginNotAvailable, "new pods are not managed", nil)
	if e := c.overdue(); e != nil {
		t.Errorf("policy open: %v", e)
	}
}
