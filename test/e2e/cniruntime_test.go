// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
)

// runtime is a container runtime: libcni, with a network whose own plugin is mainPlugin
// and behind it kmesh-node, as `cni install` put it there.
type cniRuntime struct {
	*node
	cni  *libcni.CNIConfig
	conf string // directory of networks
	bin  string // directory of plugins
	list *libcni.NetworkConfigList
	text string // of the network as it was
}

// uninstall takes the plugin out of every network, and has to print a text.
func (r *cniRuntime) uninstall(want string) {
	r.t.Helper()
	res := r.want(exitDone, "cni", "uninstall", "--cni-conf-dir", r.conf, "--cni-bin-dir", r.bin)
	if !strings.Contains(res.out, want) {
		r.t.Errorf("%v\ndoes not say %q", res, want)
	}
}

func (r *cniRuntime) network() string { return filepath.Join(r.conf, "10-fabric.conflist") }

const networkText = `{
  "cniVersion": "1.1.0",
  "name": "%s",
  "plugins": [
    {"type": "` + mainPlugin + `", "bridge": "%s", "capabilities": {"ips": true}}
  ]
}
`

// newRuntime makes one whose pods are on the fabric, with these flags of cni install.
func newRuntime(n *node, f *fabric, flags ...string) *cniRuntime {
	n.t.Helper()
	r := &cniRuntime{node: n, conf: n.t.TempDir(), bin: n.t.TempDir()}
	self, err := os.Executable()
	if err == nil {
		err = os.Symlink(self, filepath.Join(r.bin, mainPlugin))
	}
	if err == nil {
		r.text = fmt.Sprintf(networkText, "fabric", f.name)
		err = os.WriteFile(r.network(), []byte(r.text), 0o600)
	}
	if err != nil {
		n.t.Fatal(err)
	}
	r.install(flags...)
	r.cni = libcni.NewCNIConfigWithCacheDir([]string{r.bin}, n.t.TempDir(), nil)
	return r
}

// install runs cni install, and reads the network again.
func (r *cniRuntime) install(flags ...string) result {
	r.t.Helper()
	res := r.node.want(exitDone, append([]string{"cni", "install", "--cni-conf-dir", r.conf, "--cni-bin-dir", r.bin}, flags...)...)
	var err error
	if r.list, err = libcni.LoadConfList(r.conf, "fabric"); err != nil {
		r.t.Fatal(err)
	}
	return res
}

// of is what the runtime tells of a pod.
func (r *cniRuntime) of(p *pod) *libcni.RuntimeConf {
	var ips []string
	for a := range p.has {
		ips = append(ips, netip.PrefixFrom(a, a.BitLen()).String())
	}
	return &libcni.RuntimeConf{ContainerID: p.name, NetNS: p.path, IfName: "eth0",
		Args:           [][2]string{{"IgnoreUnknown", "1"}, {"K8S_POD_NAMESPACE", "default"}, {"K8S_POD_NAME", p.name}},
		CapabilityArgs: map[string]any{"ips": ips}}
}

// add starts a pod with these addresses.
func (r *cniRuntime) add(ips ...string) *pod {
	r.t.Helper()
	p, err := r.tryAdd(r.sandbox(ips...))
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

// sandbox makes a pod's namespace, which has no NIC yet.
func (r *cniRuntime) sandbox(ips ...string) *pod {
	r.t.Helper()
	p := newPod(r.t)
	p.dev = "eth0"
	for _, ip := range ips {
		p.has[netip.MustParseAddr(ip)] = true
	}
	return p
}

func (r *cniRuntime) tryAdd(p *pod) (*pod, error) {
	res, err := r.cni.AddNetworkList(context.Background(), r.list, r.of(p))
	if err != nil {
		return p, err
	}
	got, err := types100.GetResult(res)
	if err != nil {
		return p, err
	}
	if len(got.IPs) != len(p.has) || len(got.Interfaces) != 2 || got.Interfaces[1].Sandbox != p.path {
		return p, fmt.Errorf("the result is not the main plugin's: %+v", got)
	}
	return p, nil
}

func (r *cniRuntime) del(p *pod) {
	r.t.Helper()
	if err := r.cni.DelNetworkList(context.Background(), r.list, r.of(p)); err != nil {
		r.t.Fatal(err)
	}
}

func (r *cniRuntime) check(p *pod) error {
	return r.cni.CheckNetworkList(context.Background(), r.list, r.of(p))
}

func (r *cniRuntime) status() error {
	return r.cni.GetStatusNetworkList(context.Background(), r.list)
}

// records are the files of the pods.
func (r *cniRuntime) records() []string {
	r.t.Helper()
	l, err := filepath.Glob(r.runFile(".pods/*"))
	if err != nil {
		r.t.Fatal(err)
	}
	return l
}

// runFile is a file of kmesh-node's that belongs to the bpffs.
func (r *cniRuntime) runFile(suffix string) string {
	return "/run/kmesh-node/" + strings.ReplaceAll(strings.TrimPrefix(r.bpf, "/"), "/", "%2F") + suffix
}

// wantCode asks for an error of the specification with this code and these words.
func wantCode(t testing.TB, err error, code uint, words ...string) {
	t.Helper()
	var e *types.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Errorf("error %v, want one of code %d", err, code)
		return
	}
	for _, w := range words {
		if !strings.Contains(e.Msg+" "+e.Details, w) {
			t.Errorf("error %v does not say %q", err, w)
		}
	}
}

// renamed is the runtime's network under another name.
func renamed(r *cniRuntime, name string) *libcni.NetworkConfigList {
	r.t.Helper()
	text := strings.Replace(string(r.list.Bytes), `"fabric"`, `"`+name+`"`, 1)
	l, err := libcni.ConfListFromBytes([]byte(text))
	if err != nil {
		r.t.Fatal(err)
	}
	return l
}
