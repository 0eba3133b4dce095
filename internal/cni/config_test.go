// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"
)

func code(t *testing.T, err error) uint {
	t.Helper()
	var e *types.Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v is none of the specification", err)
	}
	return e.Code
}

func TestConfigIsReadWithItsDefaults(t *testing.T) {
	c, unknown, err := parse([]byte(`{"cniVersion": "1.0.0", "name": "n", "type": "kmesh-cni", "capabilities": {"ips": true},
		"runtimeConfig": {"ips": []}, "cni.dev/attachments": [], "prevResult": null}`))
	if err != nil || len(unknown) > 0 {
		t.Fatal(err, unknown)
	}
	if c.FailurePolicy != Open || c.timeout != Timeout || c.BpfFsPath != "/sys/fs/bpf" || c.prevResult != nil || c.attachments != nil {
		t.Errorf("%+v", c)
	}
	c, _, err = parse([]byte(`{"name": "n", "bpfFsPath": "/b", "failurePolicy": "closed", "timeout": "300ms", "logLevel": "debug",
		"excludeNamespaces": ["kube-system"], "cni.dev/valid-attachments": []}`))
	if err != nil {
		t.Fatal(err)
	}
	if c.FailurePolicy != Closed || c.timeout != 300*time.Millisecond || c.BpfFsPath != "/b" || c.attachments == nil || c.ExcludeNamespaces[0] != "kube-system" {
		t.Errorf("%+v", c)
	}
	if c, _, err = parse([]byte(`{"name": "n", "cni.dev/valid-attachments": null}`)); err != nil || c.attachments == nil {
		t.Errorf("no attachment is valid: %+v, %v", c, err)
	}
}

// Each error names the field, and a slip of the pen what was meant.
func TestConfigThatIsWrongIsRefused(t *testing.T) {
	for text, words := range map[string]string{
		`{"failurePolicy": "ajar"}`:             "failurePolicy: open closed",
		`{"failurePolicy": 3}`:                  "failurePolicy:",
		`{"failurepolicy": "closed"}`:           "failurepolicy: failurePolicy?",
		`{"failurePolcy": "closed"}`:            "failurePolcy: failurePolicy?",
		`{"timeouts": "3s"}`:                    "timeouts: timeout?",
		`{"timeout": "3"}`:                      "timeout: duration",
		`{"timeout": "1h"}`:                     "timeout: 1m0s",
		`{"timeout": "1ms"}`:                    "timeout: 100ms",
		`{"bpfFsPath": "sys/fs/bpf"}`:           "bpfFsPath: absolute",
		`{"logLevel": "loud"}`:                  "logLevel: warning",
		`{"excludeNamespaces": ["a", ""]}`:      "excludeNamespaces[1]:",
		`{"excludeNamespaces": ["a,b"]}`:        "excludeNamespaces[0]:",
		`{"cni.dev/valid-attachments": "none"}`: "cni.dev/valid-attachments:",
	} {
		_, _, err := parse([]byte(text))
		if err == nil || code(t, err) != types.ErrInvalidNetworkConfig {
			t.Errorf("%s: %v", text, err)
			continue
		}
		for _, w := range strings.Fields(words) {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v does not say %s", text, err, w)
			}
		}
	}
	if _, _, err := parse([]byte(`[]`)); err == nil || code(t, err) != types.ErrDecodingFailure {
		t.Errorf("an array: %v", err)
	}
	_, unknown, err := parse([]byte(`{"vendor.example/x": 1, "mtu": 2}`))
	if err != nil || !slices.Equal(unknown, []string{"mtu", "vendor.example/x"}) {
		t.Errorf("fields of others: %v, %v", unknown, err)
	}
}

const resultText = `{"cniVersion": "0.4.0", "interfaces": [{"name": "veth0"}, {"name": "eth0", "sandbox": "/run/netns/x"}],
 "ips": [{"version": "4", "address": "10.0.0.1/24", "interface": 0}, {"version": "4", "address": "10.0.0.2/24", "interface": 1}, {"version": "6", "address": "fd00::2/64", "interface": 1}],
 "big": 12345678901234567890123}`

func TestPreviousResultIsHandedOnToTheByte(t *testing.T) {
	c := &config{cniVersion: "0.4.0", prevResult: json.RawMessage(resultText)}
	p, err := c.previous()
	if err != nil {
		t.Fatal(err)
	}
	if string(p.out) != resultText+"\n" {
		t.Errorf("handed on: %s", p.out)
	}
	want := []netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fd00::2")}
	if !slices.Equal(p.ips, want) {
		t.Errorf("addresses %v, want %v", p.ips, want)
	}
	c.cniVersion = "1.0.0"
	if p, err = c.previous(); err != nil {
		t.Fatal(err)
	}
	var other struct{ CNIVersion string }
	if err := json.Unmarshal(p.out, &other); err != nil || other.CNIVersion != "1.0.0" {
		t.Errorf("of another version: %s, %v", p.out, err)
	}
}

func TestPreviousResultThatIsWrongIsRefused(t *testing.T) {
	for text, word := range map[string]string{
		``:                        "behind the one that makes the interface",
		`{}`:                      "cniVersion",
		`"x"`:                     "prevResult",
		`{"cniVersion": "7.0.0"}`: "prevResult",
		`{"cniVersion": "1.0.0", "ips": [{"address": "10.0.0.300/24"}]}`: "10.0.0.300",
		`{"cniVersion": "0.4.0", "interfaces": [null]}`:                  "null",
		`{"cniVersion": "0.4.0", "ips": [null]}`:                         "null",
	} {
		c := &config{cniVersion: "1.0.0", prevResult: json.RawMessage(text)}
		if _, err := c.previous(); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v does not say %q", text, err, word)
		}
	}
}

func TestPodIsReadFromArguments(t *testing.T) {
	if p := podOf("IgnoreUnknown=1;K8S_POD_NAMESPACE=a;K8S_POD_NAME=b=c;;x"); p != (k8sPod{"a", "b=c"}) {
		t.Errorf("%+v", p)
	}
	c := &call{cfg: &config{Settings: Settings{ExcludeNamespaces: []string{"a"}}}}
	if !c.excluded(k8sPod{"a", "b"}) || c.excluded(k8sPod{"b", "a"}) || c.excluded(k8sPod{}) {
		t.Error("what is excluded is not what was named")
	}
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte(`{"name": "n", "prevResult": ` + resultText + `}`))
	f.Add([]byte(`{"timeout": "1s", "cni.dev/valid-attachments": [{"containerID": "a"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, _, err := parse(data)
		if err != nil {
			return
		}
		c.cniVersion = "1.0.0"
		if p, err := c.previous(); err == nil && !json.Valid(p.out) {
			t.Errorf("hands on %q", p.out)
		}
	})
}
