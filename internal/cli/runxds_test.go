// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/kmesh-net/kmesh-node/internal/exit"
	"github.com/kmesh-net/kmesh-node/internal/xdsclient"
	"github.com/kmesh-net/kmesh-node/loader"
)

// readRun reads the flags of run as it does, and goes no further.
func readRun(t *testing.T, words ...string) (s *xdsSettings, err error) {
	t.Helper()
	c := &command{}
	app := quietApp(c)
	app.Command("run").Action = func(ctx *cli.Context) error {
		cfg, err := c.upConfig(ctx)
		if err == nil {
			s, err = readXDS(ctx, cfg)
		}
		return err
	}
	err = app.Run(append([]string{"kmesh-node", "run"}, words...))
	return s, err
}

func TestTheFlagsOfAControlPlane(t *testing.T) {
	for _, v := range []string{"POD_NAME", "POD_NAMESPACE", "INSTANCE_IP", "NODE_NAME", "SERVICE_ACCOUNT"} {
		t.Setenv(v, "")
	}
	if s, err := readRun(t); s != nil || err != nil {
		t.Errorf("without any: %v, %v", s, err)
	}
	const here = "--xds-address=127.0.0.1:15010"
	s, err := readRun(t, here)
	if err != nil || s.timeout != 30*time.Second || s.client.Variant != xdsclient.Delta || s.client.Node.Namespace != "default" ||
		s.client.Node.Domain != "cluster.local" || s.client.Node.ClusterID != "Kubernetes" {
		t.Errorf("defaults: %+v, %v", s, err)
	}
	for _, c := range []struct {
		words string
		err   string
	}{
		{"--mode=ads --xds-variant=sotw", ""},
		{"--mode=ads --xds-variant=delta --xds-sync-timeout=0s", ""},
		{"--xds-variant=sotw", "--mode workload has delta alone"},
		{"--xds-variant=both", "it is sotw, delta"},
		{"--config=/etc/kmesh-node", "--xds-address and --config"},
		{"--xds-sync-timeout=-1s", "is negative"},
		{"--xds-node-ip=10.0.0.1,fe80::1%eth0", "--xds-node-ip"},
		{"--xds-node-ip=10.0.0.1,", `"" is no address`},
		{"--xds-pod-name=a~b", "--xds-pod-name a~b"},
		{"--xds-address=istiod", "--xds-address istiod: missing port"},
		{"--xds-plaintext --xds-ca=f", "leave out --xds-plaintext"},
	} {
		_, err := readRun(t, append([]string{here}, strings.Fields(c.words)...)...)
		if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err) || exit.Code(err) != exit.Usage) {
			t.Errorf("%s: %v, want %q", c.words, err, c.err)
		}
	}
	for _, f := range xdsFlags()[1:] {
		word := "--" + f.Names()[0]
		if _, isBool := f.(*cli.BoolFlag); !isBool {
			word += "=1s"
		}
		if _, err := readRun(t, word); err == nil || !strings.Contains(err.Error(), "give --xds-address too") {
			t.Errorf("%s alone: %v", word, err)
		}
	}
}

// Flags go before the variables of a pod, those before what is found out.
func TestWhoAsksIsSaidByFlagsAndVariables(t *testing.T) {
	for k, v := range map[string]string{"POD_NAME": "pod", "POD_NAMESPACE": "ns", "INSTANCE_IP": "10.1.1.1", "NODE_NAME": "node", "SERVICE_ACCOUNT": "sa"} {
		t.Setenv(k, v)
	}
	s, err := readRun(t, "--xds-address=127.0.0.1:15010")
	if err != nil {
		t.Fatal(err)
	}
	n := s.client.Node
	if n.Name != "pod" || n.Namespace != "ns" || n.NodeName != "node" || n.ServiceAccount != "sa" || len(n.IPs) != 1 || n.IPs[0].String() != "10.1.1.1" {
		t.Errorf("by variables: %+v", n)
	}
	s, err = readRun(t, "--xds-address=127.0.0.1:15010", "--xds-pod-name=p2", "--xds-pod-namespace=n2", "--xds-node-ip=10.2.2.2,2001:db8::2",
		"--node-name=node2", "--xds-service-account=s2", "--locality=r/z")
	if err != nil {
		t.Fatal(err)
	}
	n = s.client.Node
	if n.Name != "p2" || n.Namespace != "n2" || n.NodeName != "node2" || n.ServiceAccount != "s2" || len(n.IPs) != 2 || n.Region != "r" || n.Zone != "z" {
		t.Errorf("by flags: %+v", n)
	}
	t.Setenv("INSTANCE_IP", "nonsense")
	if _, err := readRun(t, "--xds-address=127.0.0.1:15010"); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Error(err)
	}
}

// What a live run says of its control plane is what status tells, of that run alone.
func TestStatusTellsOfTheControlPlane(t *testing.T) {
	cfg := loader.Default()
	cfg.RunDir = t.TempDir()
	me := strconv.Itoa(os.Getpid())
	if r, err := readControl(&cfg, me); r != nil || err != nil {
		t.Errorf("without a file: %+v, %v", r, err)
	}
	said := reportOf(xdsclient.State{Address: "istiod:15012", Variant: xdsclient.Delta, Connected: true, Since: time.Unix(1, 0).UTC(), ControlPlane: "istiod-1",
		Missing: "Cluster", LastError: "so long", Types: []xdsclient.TypeState{{TypeURL: xdsclient.ClusterType}, {TypeURL: xdsclient.ListenerType, LastError: "1 of 2 resources rejected"}}})
	if err := writeDown(cfg.ControlFiles(), said); err != nil {
		t.Fatal(err)
	}
	r, err := readControl(&cfg, me)
	if err != nil || !reflect.DeepEqual(*r, said) {
		t.Errorf("%+v, %v, want %+v", r, err, said)
	}
	for _, want := range []string{"not synced: Cluster missing", "connected to istiod:15012", "Listener: 1 of 2 resources rejected"} {
		if !strings.Contains(r.Text, want) {
			t.Errorf("%q does not say %q", r.Text, want)
		}
	}
	if strings.Contains(r.Text, "so long") || len(r.Rejected) != 1 {
		t.Errorf("%+v", r)
	}
	for _, pid := range []string{"", "1"} {
		if r, err := readControl(&cfg, pid); r != nil || err != nil {
			t.Errorf("run %q: %+v, %v", pid, r, err)
		}
	}
	if err := os.WriteFile(cfg.ControlFiles()[0], []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readControl(&cfg, me); err == nil {
		t.Error("half a file is taken")
	}
}
