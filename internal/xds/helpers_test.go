// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/config"
	"github.com/kmesh-net/kmesh-node/internal/exit"
	"github.com/kmesh-net/kmesh-node/proto/cluster"
	"github.com/kmesh-net/kmesh-node/proto/listener"
	"github.com/kmesh-net/kmesh-node/proto/route"
)

// fakeStore holds resources by kind and key, as the store does.
type fakeStore map[config.Kind]map[string]proto.Message

func (s fakeStore) List(k config.Kind) ([]proto.Message, error) {
	var list []proto.Message
	for _, key := range slices.Sorted(maps.Keys(s[k])) {
		list = append(list, s[k][key])
	}
	return list, nil
}

// publish does what the store does with a batch.
func (s fakeStore) publish(ops []config.Op) {
	for _, op := range ops {
		k := config.KindOf(op.Message)
		if s[k] == nil {
			s[k] = map[string]proto.Message{}
		}
		if op.Delete {
			delete(s[k], config.KeyOf(op.Message))
		} else {
			s[k][config.KeyOf(op.Message)] = proto.Clone(op.Message)
		}
	}
}

func (s fakeStore) keys(k config.Kind) string {
	return strings.Join(slices.Sorted(maps.Keys(s[k])), " ")
}

func (s fakeStore) cluster(t *testing.T, name string) *cluster.Cluster {
	t.Helper()
	c, ok := s[config.Cluster][name].(*cluster.Cluster)
	if !ok {
		t.Fatalf("no cluster %s among %s", name, s.keys(config.Cluster))
	}
	return c
}

func (s fakeStore) listener(t *testing.T, key string) *listener.Listener {
	t.Helper()
	l, ok := s[config.Listener][key].(*listener.Listener)
	if !ok {
		t.Fatalf("no listener %s among %s", key, s.keys(config.Listener))
	}
	return l
}

func (s fakeStore) route(t *testing.T, name string) *route.RouteConfiguration {
	t.Helper()
	r, ok := s[config.Route][name].(*route.RouteConfiguration)
	if !ok {
		t.Fatalf("no route configuration %s among %s", name, s.keys(config.Route))
	}
	return r
}

// mustParse parses texts, one document each.
func mustParse(t *testing.T, texts ...string) []Document {
	t.Helper()
	var docs []Document
	for i, text := range texts {
		more, err := Parse(fmt.Sprintf("input%d", i), []byte(text))
		if err != nil {
			t.Fatalf("parse %s: %v", text, err)
		}
		docs = append(docs, more...)
	}
	return docs
}

// wire is all that s holds, as bytes.
func (s fakeStore) wire(t *testing.T) string {
	t.Helper()
	all := ""
	for _, k := range config.Kinds() {
		for _, key := range slices.Sorted(maps.Keys(s[k])) {
			all += wire(t, s[k][key])
		}
	}
	return all
}

// apply translates texts as one batch and publishes it to s.
func (s fakeStore) apply(t *testing.T, texts ...string) *Result {
	t.Helper()
	before := s.wire(t)
	r, err := Translate(mustParse(t, texts...), s, Options{})
	if err != nil {
		t.Fatalf("translate: %v", err)
	}
	if s.wire(t) != before {
		t.Error("Translate changed what the store holds")
	}
	s.publish(r.Ops)
	return r
}

// rejected translates texts and returns the error, which it checks for its form.
func rejected(t *testing.T, s fakeStore, texts ...string) string {
	t.Helper()
	r, err := Translate(mustParse(t, texts...), s, Options{})
	if err == nil {
		t.Fatalf("translated to %d operations; want an error", len(r.Ops))
	}
	checkRejection(t, err)
	return err.Error()
}

func checkRejection(t *testing.T, err error) {
	t.Helper()
	var e *exit.Error
	if !errors.As(err, &e) || exit.Code(err) != exit.Rejected {
		t.Errorf("%v: code %d, want an *exit.Error of %d", err, exit.Code(err), exit.Rejected)
	}
	if strings.ContainsAny(err.Error(), "\n\r\u00a0") {
		t.Errorf("%q is not one clean line", err)
	}
}

const (
	typeCluster  = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	typeEndpoint = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
	typeListener = "type.googleapis.com/envoy.config.listener.v3.Listener"
	typeRoute    = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
	typeTCP      = "type.googleapis.com/" + tcpProxyType
	typeHTTP     = "type.googleapis.com/" + connectionManagerType
)

// response is the JSON of a DiscoveryResponse; resources lack the braces.
func sotw(url string, resources ...string) string {
	items := make([]string, len(resources))
	for i, r := range resources {
		items[i] = fmt.Sprintf(`{"@type":%q,%s}`, url, r)
	}
	return fmt.Sprintf(`{"versionInfo":"1","typeUrl":%q,"resources":[%s]}`, url, strings.Join(items, ","))
}

// delta is the JSON of a DeltaDiscoveryResponse.
func delta(url, removed string, resources ...string) string {
	items := make([]string, len(resources))
	for i, r := range resources {
		items[i] = fmt.Sprintf(`{"name":"x","resource":{"@type":%q,%s}}`, url, r)
	}
	gone := "[]"
	if removed != "" {
		gone = `["` + strings.ReplaceAll(removed, " ", `","`) + `"]`
	}
	return fmt.Sprintf(`{"typeUrl":%q,"resources":[%s],"removedResources":%s}`, url, strings.Join(items, ","), gone)
}

// edsCluster and its like are resources for sotw and delta.
func edsCluster(name string) string {
	return fmt.Sprintf(`"name":%q,"type":"EDS","edsClusterConfig":{"edsConfig":{"ads":{}}}`, name)
}

func assignmentOf(name string, addrs ...string) string {
	items := make([]string, len(addrs))
	for i, a := range addrs {
		items[i] = `{"endpoint":{"address":` + socketAddress(a) + `}}`
	}
	return fmt.Sprintf(`"clusterName":%q,"endpoints":[{"lbEndpoints":[%s]}]`, name, strings.Join(items, ","))
}

func socketAddress(hostPort string) string {
	i := strings.LastIndexByte(hostPort, ':')
	return fmt.Sprintf(`{"socketAddress":{"address":%q,"portValue":%s}}`, strings.Trim(hostPort[:i], "[]"), hostPort[i+1:])
}

// tcpListener is a listener of one chain that leads to a cluster.
func tcpListener(name, addr, cluster string) string {
	return fmt.Sprintf(`"name":%q,"address":%s,"filterChains":[{"filters":[%s]}]`, name, socketAddress(addr), tcpFilter(cluster))
}

func tcpFilter(cluster string) string {
	return fmt.Sprintf(`{"name":"tcp","typedConfig":{"@type":%q,"statPrefix":"s","cluster":%q}}`, typeTCP, cluster)
}

// endpointsOf returns the usable addresses of a cluster.
func endpointsOf(c *cluster.Cluster) string {
	var all []string
	for _, l := range c.GetLoadAssignment().GetEndpoints() {
		for _, e := range l.GetLbEndpoints() {
			if e.GetAddress() != nil && !e.GetUnhealthy() {
				all = append(all, textOf(e.GetAddress(), ""))
			}
		}
	}
	return strings.Join(all, " ")
}

// wantOne fails unless exactly one of list contains want.
func wantOne(t *testing.T, list []string, want string) {
	t.Helper()
	n := 0
	for _, s := range list {
		if strings.Contains(s, want) {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d of %q contain %q, want 1", n, list, want)
	}
}

func wantNone(t *testing.T, list []string) {
	t.Helper()
	if len(list) > 0 {
		t.Errorf("got %q, want none", list)
	}
}

func sameMessages(t *testing.T, got, want fakeStore) {
	t.Helper()
	for _, k := range config.Kinds() {
		if got.keys(k) != want.keys(k) {
			t.Errorf("%s: got %s, want %s", k, got.keys(k), want.keys(k))
			continue
		}
		for key, m := range want[k] {
			if !proto.Equal(got[k][key], m) {
				t.Errorf("%s %s: got %v, want %v", k, key, got[k][key], m)
			}
		}
	}
}
