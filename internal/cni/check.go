// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"

	"github.com/kmesh-net/kmesh-node/internal/exit"
	"github.com/kmesh-net/kmesh-node/internal/podrecord"
	"github.com/kmesh-net/kmesh-node/loader"
)

// check says whether the pod is as add left it: recorded, enrolled, judged on each of its
// devices, and with the addresses that it had.
func (p *plugin) check(args *skel.CmdArgs) error {
	c, err := p.begin(args)
	if err != nil {
		return err
	}
	c.onTime(c.overtime(types.ErrTryAgainLater, noAnswer), "", nil)
	prev, err := c.cfg.previous()
	if err != nil {
		return err
	}
	if err := c.checkNetns(); err != nil {
		return err
	}
	if c.excluded(podOf(args.Args)) {
		return nil
	}
	rec, err := c.dir.Read(args.ContainerID, args.IfName)
	if errors.Is(err, os.ErrNotExist) {
		return differs("it is not recorded", "start the pod again")
	}
	if err != nil {
		return differs(err.Error(), "")
	}
	if err := still(rec, args.Netns, prev.ips); err != nil {
		return err
	}
	return failure(c.insist(func(h *loader.Handles) error { return checkIn(h, rec) }))
}

// still says whether the record is of this namespace and these addresses.
func still(rec *podrecord.Record, netns string, ips []netip.Addr) error {
	cookie, err := loader.NamespaceCookie(netns)
	switch {
	case err != nil:
		return failure(err)
	case cookie != rec.Cookie:
		return differs(fmt.Sprintf("%s is namespace %d now, not %d", netns, cookie, rec.Cookie), "start the pod again")
	case !sameAddresses(rec.IPs, ips):
		return differs(fmt.Sprintf("prevResult has the addresses %v, ADD had %v", ips, rec.IPs), "")
	}
	return nil
}

func sameAddresses(a, b []netip.Addr) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.SortFunc(a, netip.Addr.Compare)
	slices.SortFunc(b, netip.Addr.Compare)
	return slices.Equal(a, b)
}

// checkIn looks at the pod in one mode.
func checkIn(h *loader.Handles, rec *podrecord.Record) error {
	enrolled, err := h.EnrolledNow(rec.Cookie)
	if err != nil {
		return err
	}
	if !enrolled {
		return differs(fmt.Sprintf("namespace %d is not enrolled", rec.Cookie), "run: kmesh-node enroll --netns "+rec.Netns)
	}
	found, err := h.LookRecorded(rec)
	if err != nil {
		return err
	}
	if len(found.Unjudged) > 0 {
		return differs("xdpauth is not on "+strings.Join(found.Unjudged, ", "), "run: kmesh-node enroll --netns "+rec.Netns)
	}
	for _, ip := range rec.IPs {
		if !slices.Contains(found.Addresses, ip) {
			return differs(fmt.Sprintf("the pod has no address %s any more", ip), "")
		}
	}
	return nil
}

func differs(what, remedy string) error {
	return types.NewError(codeDiffers, "kmesh-node: "+what, remedy)
}

// status says whether an ADD would succeed.
func (p *plugin) status(args *skel.CmdArgs) error {
	c, err := p.begin(args)
	if err != nil {
		return err
	}
	const unmanaged = "new pods are not managed until kmesh-node comes up"
	c.passLate(types.ErrPluginNotAvailable, unmanaged, nil)
	cfg := c.data
	cfg.LockTimeout = c.remaining() / 2
	err = loader.AwaitPods(&cfg)
	if err == nil {
		err = c.each(func(*loader.Handles) error { return nil })
	}
	if err == nil || c.passAbsent(err, unmanaged) {
		return nil
	}
	return types.NewError(types.ErrPluginNotAvailable, fmt.Sprintf("kmesh-node (exit code %d): %s", exit.Code(err), oneLine(err)), "")
}
