// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/ns"
	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/exit"
	"github.com/kmesh-net/kmesh-node/internal/podline"
	"github.com/kmesh-net/kmesh-node/internal/podrecord"
	"github.com/kmesh-net/kmesh-node/loader"
)

// add records the pod, then enrols it. The record comes first: an `up` that is under way
// finds it, or is over by the time that this looks.
func (p *plugin) add(args *skel.CmdArgs) error {
	c, err := p.begin(args)
	if err != nil {
		return err
	}
	prev, err := c.cfg.previous()
	if err != nil {
		return err
	}
	c.succeed(prev.out) // of every success there is
	if err := c.checkNetns(); err != nil {
		return err
	}
	pod := podOf(args.Args)
	rec, err := c.record(pod, prev)
	if c.excluded(pod) {
		c.letAlone(rec, err)
		return nil
	}
	if err == nil {
		rec.Cookie, err = c.cookie()
	}
	if err == nil {
		err = c.dir.Write(rec)
	}
	if err == nil {
		c.lateAdd(rec)
		err = c.insist(func(h *loader.Handles) error { return c.enrol(h, rec) })
	}
	return c.decide(rec, err)
}

// enrol enrols the pod in one mode, and writes down in which map.
func (c *call) enrol(h *loader.Handles, rec *podrecord.Record) error {
	if err := h.EnrollRecorded(rec, c.askRun); err != nil {
		return err
	}
	id, err := h.NetnsMap()
	if err != nil {
		return err
	}
	rec.Map = id
	return c.dir.Write(rec)
}

// askRun has a live `run` bring the configuration up to date. One that does not answer is
// not waited for long.
func (c *call) askRun() bool {
	err := podline.Ask(c.data.PodSocket(), max(c.remaining()/3, 10*time.Millisecond))
	if err != nil && !errors.Is(err, podline.ErrNobody) {
		c.data.Log.Warnf("%s: %v; the configuration is read here", Name, err)
	}
	return err == nil
}

// decide is the failure policy: where kmesh-node is not there the pod is let through, to be
// enrolled when it is, or fails and leaves nothing. One that cannot be enrolled fails.
func (c *call) decide(rec *podrecord.Record, err error) error {
	if err == nil {
		return nil
	}
	known := rec.Cookie != 0
	leaves := "the pod of container " + c.args.ContainerID + " is not managed"
	if known {
		leaves += " until kmesh-node comes up"
	}
	if c.passAbsent(err, leaves) {
		if !known {
			c.letAlone(rec, nil)
		}
		return nil
	}
	if known {
		err = errors.Join(err, c.release(rec)) // it may have been enrolled before, or until the last step
	}
	return failure(err)
}

// lateAdd is decide for when the time is over.
func (c *call) lateAdd(rec *podrecord.Record) {
	// What was enrolled by then DEL releases, or the next turn.
	released := *rec
	released.Released = true
	c.passLate(types.ErrTryAgainLater, "the pod of container "+c.args.ContainerID+" is not managed until the next turn of kmesh-node run, or up",
		func() error { return c.dir.Write(&released) })
}

// checkNetns refuses what is no network namespace, and that of the runtime itself, before
// anything is opened that could block.
func (c *call) checkNetns() error {
	path := c.args.Netns
	var fs unix.Statfs_t
	err := unix.Statfs(path, &fs)
	if err == nil && fs.Type != unix.NSFS_MAGIC && fs.Type != unix.PROC_SUPER_MAGIC {
		err = errors.New("not a network namespace")
	}
	if err != nil {
		return types.NewError(types.ErrInvalidNetNS, "CNI_NETNS "+path+": "+err.Error(), "")
	}
	if override := c.args.NetnsOverride; strings.EqualFold(override, "true") || override == "1" {
		return nil
	}
	own, e := ns.CheckNetNS(path)
	if e != nil {
		return e
	}
	if own {
		return types.NewError(types.ErrInvalidNetNS, "CNI_NETNS "+path+" is the runtime's own network namespace", "")
	}
	return nil
}

// k8sPod is whose pod it is, where the runtime says.
type k8sPod struct{ namespace, name string }

// podOf reads CNI_ARGS: KEY=VALUE pairs between semicolons, others' included.
func podOf(args string) (p k8sPod) {
	for pair := range strings.SplitSeq(args, ";") {
		switch key, value, _ := strings.Cut(pair, "="); key {
		case "K8S_POD_NAMESPACE":
			p.namespace = value
		case "K8S_POD_NAME":
			p.name = value
		}
	}
	return p
}

func (c *call) excluded(pod k8sPod) bool {
	return pod.namespace != "" && slices.Contains(c.cfg.ExcludeNamespaces, pod.namespace)
}

// cookie is the kernel's name of the pod's namespace.
func (c *call) cookie() (uint64, error) {
	cookie, err := loader.NamespaceCookie(c.args.Netns)
	if code := exit.Code(err); code == exit.Usage || code == exit.NotUp {
		err = types.NewError(types.ErrInvalidNetNS, "CNI_NETNS "+oneLine(err), "")
	}
	return cookie, err
}

// record is what is written of the pod, without its cookie.
func (c *call) record(pod k8sPod, prev *previous) (*podrecord.Record, error) {
	rec := &podrecord.Record{
		ContainerID: c.args.ContainerID, IfName: c.args.IfName, Network: c.cfg.network, Netns: c.args.Netns,
		Namespace: pod.namespace, Name: pod.name, IPs: prev.ips,
	}
	var err error
	if rec.Dev, rec.Ino, err = podrecord.Identify(c.args.Netns); err == nil {
		rec.Boot, err = podrecord.Boot()
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		err = fmt.Errorf("identify %s: %w", c.args.Netns, err)
	}
	return rec, err
}

// letAlone writes down that a pod is here that is never enrolled: the runtime calls the
// plugin for it once more, which `cni uninstall` has to know. No pod fails for it.
func (c *call) letAlone(rec *podrecord.Record, err error) {
	rec.Alone = true
	if err == nil {
		err = c.dir.Write(rec)
	}
	if err != nil {
		c.data.Log.Warnf("%s: %v", Name, err)
	}
}
