// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	cniPods   = 10
	cniRounds = 25 // each of the pods comes that often
)

// cniPod is a pod as a container runtime has it: a namespace with a NIC.
type cniPod struct {
	name string
	ip   netip.Addr
}

// measureCNI adds how long a container runtime waits for kmesh-node when a pod comes, beside
// a run that a control plane configures, on a node that has a pod: the kernel rewrites its
// code of receiving when the first generic XDP program comes, and when the last one goes.
func (b *bench) measureCNI() (err error) {
	f, err := newFleet(b.mode, smallFleet)
	if err != nil {
		return err
	}
	l, err := b.startLive(f, "delta")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.stop()) }()
	if err := l.play(f.all); err != nil {
		return err
	}
	if err := l.ready(); err != nil {
		return err
	}
	plugin := filepath.Join(b.stateDir, "kmesh-cni")
	if err := os.Symlink(filepath.Join(b.build, "kmesh-node"), plugin); err != nil {
		return err
	}
	first, err := b.addPods(plugin, 1, func(int) netip.Addr { return netip.AddrFrom4([4]byte{172, 31, 1, 1}) })
	if err != nil {
		return err
	}
	resident := cniPod{"resident", netip.AddrFrom4([4]byte{172, 31, 1, 2})}
	if err := resident.make(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, resident.remove()) }()
	if _, err := b.call(plugin, "ADD", resident); err != nil {
		return err
	}
	for _, kind := range []struct {
		what string
		ip   func(i int) netip.Addr
	}{
		{"not known to the control plane yet", func(i int) netip.Addr { return netip.AddrFrom4([4]byte{172, 31, 0, byte(1 + i)}) }},
		{"known to the control plane", func(i int) netip.Addr { return f.Endpoint(i, 0).Addr() }},
	} {
		r := row{Figure: "CNI ADD of a pod that is " + kind.what + ", p99", Unit: "ms", Target: some(30)}
		calls, err := b.addPods(plugin, cniPods, kind.ip)
		if err != nil {
			r.Error = err.Error()
		} else {
			took := walls(calls)
			r.Ours = some(quantile(took, 0.99))
			r.Note = fmt.Sprintf("start to exit of the plugin, %d calls, 1 000 services of 10 endpoints; median %.1f ms, p90 %.1f ms; %.1f ms of CPU time; median of a node's first pod %.1f ms",
				len(took), median(took), quantile(took, 0.9), median(cpus(calls)), median(walls(first)))
		}
		b.report.add(r)
	}
	return nil
}

// addPods has n pods come and go, one after the other, and returns what it took for each to come.
func (b *bench) addPods(plugin string, n int, ip func(i int) netip.Addr) (calls []ran, err error) {
	for i := range n {
		p := cniPod{fmt.Sprintf("cni%d", i), ip(i)}
		if err := p.make(); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, p.remove()) }()
		for range cniRounds {
			r, err := b.call(plugin, "ADD", p)
			if err != nil {
				return nil, err
			}
			calls = append(calls, r)
			if _, err := b.call(plugin, "DEL", p); err != nil {
				return nil, err
			}
		}
	}
	return calls, nil
}

// call is what a container runtime does. Policy closed fails a pod that is not enrolled.
func (b *bench) call(plugin, command string, p cniPod) (ran, error) {
	cmd := exec.Command(plugin)
	cmd.Env = append(os.Environ(), "CNI_COMMAND="+command, "CNI_CONTAINERID="+p.name, "CNI_IFNAME=eth0", "CNI_PATH="+b.stateDir,
		"CNI_NETNS=/run/netns/"+p.name, "CNI_ARGS=K8S_POD_NAMESPACE=ns;K8S_POD_NAME="+p.name)
	cmd.Stdin = strings.NewReader(fmt.Sprintf(`{"cniVersion": "1.0.0", "name": "bench", "type": "kmesh-cni", "bpfFsPath": %q,
"failurePolicy": "closed", "prevResult": {"cniVersion": "1.0.0", "interfaces": [{"name": "eth0", "sandbox": "/run/netns/%s"}],
"ips": [{"address": "%s/32", "interface": 0}]}}`, b.bpffs, p.name, p.ip))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return runCommand(cmd)
}

func (p cniPod) make() error {
	return ip("netns add "+p.name,
		"link add "+p.name+" type veth peer name eth0 netns "+p.name,
		"-n "+p.name+" addr add "+p.ip.String()+"/32 dev eth0",
		"-n "+p.name+" link set eth0 up",
		"link set "+p.name+" up")
}

// remove takes the NIC first: a namespace goes in the kernel's own time.
func (p cniPod) remove() error {
	return ip("link del "+p.name, "netns del "+p.name)
}

// ip runs the command of that name for each line of words.
func ip(lines ...string) error {
	for _, l := range lines {
		if _, err := runCommand(exec.Command("ip", strings.Fields(l)...)); err != nil {
			return err
		}
	}
	return nil
}
