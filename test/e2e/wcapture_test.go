// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
)

// capture returns the directory of a captured control plane's responses.
func (m *mesh) capture(name string) string {
	return repoFile(m.t, "internal", "workload", "testdata", name)
}

func TestCaptureAmbientReal(t *testing.T) {
	for _, ending := range []string{"", ".pb", ".json"} {
		t.Run("files"+ending, func(t *testing.T) {
			m := newMesh(t)
			server := m.pod()
			c := m.enrolled("10.244.1.99").client(0)
			stranger := m.pod("10.244.2.77").client(0)
			a := []string{"10.244.1.11:8080", "10.244.1.12:8080", "10.244.2.13:8080"}
			server.serve(a...)
			server.serve("10.244.1.50:15019", "10.244.1.50:15008", "10.96.0.1:443", "10.244.1.21:9090")
			dir := m.capture("ambient-real")
			if ending != "" {
				dir = only(t, dir, ending)
			}
			m.want(exitDone, "apply", "-f", dir)
			wantSpread(t, c, "10.96.1.1:80", counts{a[0]: 10, a[1]: 10, a[2]: 10})
			reaches(t, c, map[string]string{"10.96.1.2:90": "10.244.1.50:15019", "10.96.1.50:15008": "10.244.1.50:15008",
				"10.96.0.1:443": "10.96.0.1:443", "10.244.1.21:9090": "10.244.1.21:9090"})
			m.wantNames("services", "name", "default/kubernetes.default.svc.cluster.local", "ns/echo-a.ns.svc.cluster.local",
				"ns/echo-b.ns.svc.cluster.local", "ns/waypoint.ns.svc.cluster.local")
			m.wantNames("workloads", "uid", pods("echo-a-1", "echo-a-2", "echo-a-3", "echo-b-1", "echo-b-2", "echo-b-3", "waypoint-1")...)
			m.wantView("services", "ns/echo-a.ns.svc.cluster.local", `"addresses":["10.96.1.1"]`, `"healthy":3`, `"total":3`, `"waypoint":""`,
				`"address":"10.244.1.11:8080"`, `"address":"10.244.1.12:8080"`, `"address":"10.244.2.13:8080"`)
			m.wantView("services", "ns/echo-b.ns.svc.cluster.local", `"waypoint":"ns/waypoint.ns.svc.cluster.local:15019"`,
				`"via":[{"address":"10.244.1.50:15019","share":1,"workload":"Kubernetes//Pod/ns/waypoint-1"}]`)
			m.wantView("services", "default/kubernetes.default.svc.cluster.local", `"service_port":443,"target_port":16443`, `"total":0`)
			m.wantView("workloads", "Kubernetes//Pod/ns/echo-b-3", `"addresses":["10.244.2.23"]`, `"identity":"cluster.local/ns/ns/sa/echo-b"`,
				`"node":"node2"`, `"locality":"region1/zone2/sub2"`, `"policies":["istio-system/istio_converted_static_strict","ns/deny-cidr"]`, `"status":"healthy"`)
			m.wantView("workloads", "Kubernetes//Pod/ns/echo-a-1", `"policies":["ns/allow-a","ns/deny-cidr"]`)
			m.wantView("policies", "ns/deny-cidr", `"scope":"namespace"`, `"action":"deny"`, `"groups":1`)
			m.wantNames("policies", "name", "istio-system/istio_converted_static_strict", "ns/allow-a", "ns/deny-cidr")
			// deny-cidr wants all four of its rules to hold: the last never do here;
			// STRICT is for echo-b: a stranger has no identity, whoever calls.
			b := m.net.pod(t, "10.244.1.22")
			m.enroll(b)
			b.serve("10.244.1.22:9090")
			if !denied(stranger, "10.244.1.22:9090") {
				t.Error("a stranger was let in to echo-b in spite of STRICT")
			}
		})
	}
}

func pods(names ...string) []string {
	for i, n := range names {
		names[i] = "Kubernetes//Pod/ns/" + n
	}
	return names
}

// wantView asks for these parts of the one resource that `get KIND NAME` shows.
func (m *mesh) wantView(kind, name string, parts ...string) {
	m.t.Helper()
	var list []any
	m.query(&list, "get", kind, name)
	data, err := json.Marshal(list) // without spaces, members sorted
	if err != nil || len(list) != 1 {
		m.t.Fatalf("get %s %s shows %v, %v", kind, name, list, err)
	}
	for _, part := range parts {
		if !contains(string(data), part) {
			m.t.Errorf("get %s %s shows %s, without %s", kind, name, data, part)
		}
	}
}

// wantNames asks what `get KIND` shows, by name.
func (m *mesh) wantNames(kind, member string, want ...string) {
	m.t.Helper()
	var list []map[string]any
	m.query(&list, "get", kind)
	var got []string
	for _, v := range list {
		got = append(got, fmt.Sprint(v[member]))
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		m.t.Errorf("get %s shows %q, want %q", kind, got, want)
	}
}

// The live capture's third response adds a service and a pod, the fourth takes both
// away while it updates others.
func TestCaptureAmbientRealLive(t *testing.T) {
	for _, ending := range []string{".pb", ".json"} {
		t.Run("files"+ending, func(t *testing.T) {
			m := newMesh(t)
			c := m.enrolled("10.244.1.99").client(0)
			a := []string{"10.244.1.11:8080", "10.244.1.12:8080", "10.244.2.13:8080", "10.244.2.14:8080"}
			m.pod().serve(append(a, "10.96.1.9:81")...)
			dir := m.capture("ambient-real-live")
			step := func(names ...string) {
				for _, n := range names {
					m.want(exitDone, "apply", "-f", filepath.Join(dir, n+ending))
				}
			}
			step("01-Address", "02-Authorization")
			wantReach(t, c, "10.96.1.9:81", "10.96.1.9:81")
			before := m.views()
			step("03-Address")
			wantSpread(t, c, "10.96.1.9:81", counts{a[0]: 5, a[1]: 5, a[2]: 5, a[3]: 5})
			wantSpread(t, c, "10.96.1.1:80", counts{a[0]: 5, a[1]: 5, a[2]: 5, a[3]: 5})
			step("04-Address")
			wantReach(t, c, "10.96.1.9:81", "10.96.1.9:81")
			wantSpread(t, c, "10.96.1.1:80", counts{a[0]: 5, a[1]: 5, a[2]: 5})
			if after := m.views(); !reflect.DeepEqual(before, after) {
				t.Errorf("get shows\n%v, then\n%v", before, after)
			}
		})
	}
}

// The generated capture: 1000 services and 10 000 workloads in one response.
func TestCaptureScale10000Pods(t *testing.T) {
	m := newMesh(t)
	m.want(exitDone, "apply", "-f", m.capture("ambient-scale-10000pods"))
	for kind, want := range map[string]int{"services": 1000, "workloads": 10000} {
		var list []any
		m.query(&list, "get", kind)
		if len(list) < want {
			t.Errorf("get %s shows %d, want %d", kind, len(list), want)
		}
	}
}
