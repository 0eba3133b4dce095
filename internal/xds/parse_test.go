// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ name, input, want string }{
		{"nothing", " \n", "it is empty"},
		{"junk bytes", "\x00\x01\x02\xff", "neither an Envoy response nor JSON nor YAML: byte 0"},
		{"truncated binary", "\x0a\x05ab\x00", "neither an Envoy response"},
		{"cut JSON", "{\"typeUrl\":\n \"x/y\",", "line 2, column"},
		{"no type", `{"resources":[]}`, "names no type"},
		{"type without a slash", `{"typeUrl":"Cluster"}`, `"Cluster" is not a type URL`},
		{"foreign type", `{"typeUrl":"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"}`, "Secret is none of Cluster"},
		{"foreign workload type", `{"typeUrl":"type.googleapis.com/istio.workload.Scope"}`, "is none of Cluster"},
		{"mixed types", `{"typeUrl":"` + typeCluster + `","resources":[{"@type":"` + typeRoute + `","name":"r"}]}`, "resource 0: a RouteConfiguration in a response of Cluster"},
		{"bad field", sotw(typeCluster, `"name":"c"`, "\"name\":\"d\",\n\"lbPolicy\":\"NO\""), "resource 1 d: (line 2:12): invalid value for enum field lbPolicy"},
		{"resources no list", `{"typeUrl":"` + typeCluster + `","resources":{}}`, "resources: "},
		{"resource outside a response", `{"@type":"` + typeCluster + `","name":"c"}`, "envoy.config.cluster.v3.Cluster outside a response"},
		{"plain object", `{"a":1}`, `(no "kind")`},
		{"unknown kind", `{"kind":"Pod"}`, `kind "Pod" is none of Cluster`},
		{"unknown field of own", `{"kind":"Cluster","name":"c","lbPolice":"RANDOM"}`, `Cluster c: unknown field "lbPolice"`},
		{"bad address of own", `{"kind":"Listener","name":"l","address":"10.0.0.1:70000"}`, `Listener l: address: "10.0.0.1:70000" is not an address`},
		{"two messages in JSON", `{"kind":"Cluster","name":"c"} {"kind":"Cluster","name":"d"}`, "line 1, column"},
		{"number", "42", "neither an Envoy response nor JSON nor YAML of"},
		{"duplicate key in YAML", "kind: Cluster\nname: a\nname: b\n", "already set"},
		{"broken YAML", "kind: Cluster\n  name: [\n", "document 0"},
		{"only separators", "---\n---\n", "it is empty"},
		{"list of numbers", "[1]", "item 0: not an object"},
	} {
		docs, err := Parse("dir/file", []byte(c.input))
		if err == nil {
			t.Errorf("%s: got %v, want an error", c.name, docs)
			continue
		}
		checkRejection(t, err)
		if !strings.HasPrefix(err.Error(), "read configuration: dir/file: ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %q, want dir/file and %q", c.name, err, c.want)
		}
	}
}

func TestParseForms(t *testing.T) {
	for _, c := range []struct {
		name, input string
		kind        Kind
		complete    bool
		n           int
		removed     string
	}{
		{"CDS", sotw(typeCluster, `"name":"a"`), KindCluster, true, 1, ""},
		{"LDS", sotw(typeListener), KindListener, true, 0, ""},
		{"EDS", sotw(typeEndpoint, `"clusterName":"a"`), KindAssignment, false, 1, ""},
		{"RDS", sotw(typeRoute, `"name":"a"`), KindRoute, false, 1, ""},
		{"snake case", `{"type_url":"` + typeCluster + `","version_info":"1"}`, KindCluster, true, 0, ""},
		{"type from the resources", `{"resources":[{"@type":"` + typeRoute + `","name":"a"}]}`, KindRoute, false, 1, ""},
		{"delta", delta(typeCluster, "x y", `"name":"a"`), KindCluster, false, 1, "x y"},
		{"delta by version", `{"typeUrl":"` + typeCluster + `","systemVersionInfo":"1"}`, KindCluster, false, 0, ""},
		{"delta by names", `{"typeUrl":"` + typeCluster + `","removedResourceNames":[{"name":"x"}]}`, KindCluster, false, 0, "x"},
		{"delta of a lease", `{"typeUrl":"` + typeCluster + `","resources":[{"name":"x","ttl":"1s"}]}`, KindCluster, false, 0, ""},
		{"a response in YAML", "typeUrl: " + typeCluster + "\nresources:\n- \"@type\": " + typeCluster + "\n  name: a\n", KindCluster, true, 1, ""},
		{"byte order mark", "\xef\xbb\xbf" + sotw(typeCluster), KindCluster, true, 0, ""},
		{"own", `{"kind":"Cluster","name":"a"}`, KindCluster, false, 1, ""},
		{"own dump", `{"static_resources":{"cluster_configs":[{"name":"a"}],"route_configs":[{"name":"r"}]}}`, KindConfigDump, false, 2, ""},
		{"own dump by kind", `{"kind":"ConfigDump","dynamicResources":{"listenerConfigs":[{"name":"l","address":"1.2.3.4:5"}]}}`, KindConfigDump, false, 1, ""},
	} {
		docs := mustParse(t, c.input)
		if len(docs) != 1 {
			t.Errorf("%s: %d documents", c.name, len(docs))
			continue
		}
		d := docs[0]
		if d.Kind != c.kind || d.Complete != c.complete || len(d.Resources) != c.n || strings.Join(d.Removed, " ") != c.removed {
			t.Errorf("%s: %+v", c.name, d)
		}
	}
}

func TestParseStreamOfYAML(t *testing.T) {
	docs := mustParse(t, "---\nkind: Cluster\nname: a\n--- # next\n- kind: Cluster\n  name: b\n- kind: RouteConfiguration\n  name: r\n---\n")
	var got []string
	for _, d := range docs {
		got = append(got, string(d.Kind)+" "+d.Path)
	}
	wantLines(t, got, "Cluster input0#1", "Cluster input0#2#0", "RouteConfiguration input0#2#1")
}

// deltaBytes is a DeltaDiscoveryResponse in wire form.
func deltaBytes(t *testing.T, removed []string, names ...string) []byte {
	t.Helper()
	var b []byte
	for _, n := range names {
		value, err := proto.Marshal(&clusterv3.Cluster{Name: n})
		if err != nil {
			t.Fatal(err)
		}
		any := protowire.AppendTag(nil, fieldAnyURL, protowire.BytesType)
		any = protowire.AppendString(any, typeCluster)
		any = protowire.AppendTag(any, fieldAnyValue, protowire.BytesType)
		any = protowire.AppendBytes(any, value)
		res := protowire.AppendTag(nil, 1, protowire.BytesType)
		res = protowire.AppendString(res, "7")
		res = protowire.AppendTag(res, fieldResourceAny, protowire.BytesType)
		res = protowire.AppendBytes(res, any)
		res = protowire.AppendTag(res, 3, protowire.BytesType)
		res = protowire.AppendString(res, n)
		b = protowire.AppendTag(b, fieldResources, protowire.BytesType)
		b = protowire.AppendBytes(b, res)
	}
	b = protowire.AppendTag(b, fieldTypeURL, protowire.BytesType)
	b = protowire.AppendString(b, typeCluster)
	for _, r := range removed {
		b = protowire.AppendTag(b, fieldControl, protowire.BytesType)
		b = protowire.AppendString(b, r)
	}
	return b
}

// The two responses share numbers; names such as "80" are well formed messages.
func TestParseBinaryDelta(t *testing.T) {
	for _, c := range []struct {
		removed, names []string
		complete       bool
	}{
		{[]string{"80", "outbound|80||x"}, []string{"a", "b"}, false},
		{[]string{"80"}, nil, false},
		{nil, []string{"a"}, false},
		{nil, nil, true}, // the same bytes in either: taken as complete
	} {
		docs, err := Parse("f", deltaBytes(t, c.removed, c.names...))
		if err != nil {
			t.Fatal(err)
		}
		d := docs[0]
		if d.Complete != c.complete || len(d.Resources) != len(c.names) || strings.Join(d.Removed, " ") != strings.Join(c.removed, " ") {
			t.Errorf("removed %q, names %q: got %+v", c.removed, c.names, d)
		}
	}
}

func TestParseControlPlaneIsNoRemoval(t *testing.T) {
	b := protowire.AppendTag(nil, fieldTypeURL, protowire.BytesType)
	b = protowire.AppendString(b, typeCluster)
	b = protowire.AppendTag(b, fieldControl, protowire.BytesType)
	b = protowire.AppendBytes(b, protowire.AppendString(protowire.AppendTag(nil, fieldIdentifier, protowire.BytesType), "cp"))
	docs, err := Parse("f", b)
	if err != nil || !docs[0].Complete || docs[0].Removed != nil {
		t.Errorf("%+v, %v; want a complete response", docs, err)
	}
}

func TestParseDamagedBinary(t *testing.T) {
	data, err := os.ReadFile("testdata/sidecar-file/02-ClusterLoadAssignment.pb")
	if err != nil {
		t.Fatal(err)
	}
	_, err = Parse("f", data[:len(data)-3])
	if err == nil || !strings.Contains(err.Error(), "byte ") {
		t.Errorf("cut: %v", err)
	}
	// Damage inside a resource, whose envelope stays well formed.
	i := bytes.Index(data, []byte("outbound|9080|v2"))
	data[i-1] = 0x7f
	if _, err = Parse("f", data); err == nil || !strings.Contains(err.Error(), "resource 0 (byte ") {
		t.Errorf("damaged: %v", err)
	}
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func paths(docs []Document) []string {
	var all []string
	for _, d := range docs {
		all = append(all, filepath.Base(d.Path))
	}
	return all
}

func TestLoadDirectory(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "2.json", sotw(typeCluster))
	write(t, dir, "1.pb", string(deltaBytes(t, []string{"x"})))
	write(t, dir, "1.json", "not read, since 1.pb is the same")
	write(t, dir, "3.yaml", "kind: Cluster\nname: a\n")
	write(t, dir, ".hidden", "not read")
	docs, err := Load([]string{dir, filepath.Join(dir, "2.json")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantLines(t, paths(docs), "1.pb", "2.json", "3.yaml", "2.json")
}

func TestLoadRefuses(t *testing.T) {
	unknown := t.TempDir()
	write(t, unknown, "a.json", sotw(typeCluster))
	write(t, unknown, "notes.txt", "")
	nested := t.TempDir()
	if err := os.Mkdir(filepath.Join(nested, "sub.json"), 0o700); err != nil {
		t.Fatal(err)
	}
	empty := t.TempDir()
	for path, want := range map[string]string{
		unknown:                      "notes.txt is no .pb",
		nested:                       "sub.json is not a file",
		empty:                        "holds no configuration",
		filepath.Join(empty, "none"): "no such file",
		Stdin:                        "standard input: it is empty",
	} {
		_, err := Load([]string{path}, strings.NewReader(""))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
			continue
		}
		checkRejection(t, err)
	}
}

func TestLoadStdin(t *testing.T) {
	docs, err := Load([]string{Stdin}, strings.NewReader(sotw(typeRoute, `"name":"r"`)))
	if err != nil || len(docs) != 1 || docs[0].Path != "standard input" {
		t.Errorf("%+v, %v", docs, err)
	}
}

// What this build does not know is left out as in binary input, but not in silence;
// an unknown name of an enum is no such case.
func TestUnknownFieldsAreTold(t *testing.T) {
	s := fakeStore{}
	r := s.apply(t, sotw(typeCluster, `"name":"a","connectTimeout":"2s",
  "newField":{"x":1}`, `"name":"b","newField":1`))
	wantLines(t, r.Warnings, `input0: resource 0 a: (line 2:3): unknown field "newField": it is ignored, and so in 1 more`)
	if s.cluster(t, "a").GetConnectTimeout() != 2 {
		t.Errorf("the rest is lost: %v", s.cluster(t, "a"))
	}
}

// Extensions that are not looked into may hold anything, and do not move the lines.
func TestUnknownExtensions(t *testing.T) {
	const ext = `{"name":"x","typedConfig":{
 "a":[{"@type":"nothing","b":null}], "@type":"type.googleapis.com/some.Thing", "value":{"@type":"y/z"}}},`
	docs, err := Parse("f", []byte(sotw(typeListener, `"name":"l","address":`+socketAddress("10.0.0.1:80")+`,"filterChains":[{"filters":[`+ext+tcpFilter("c")+`]}]`)))
	if err != nil || len(docs[0].Resources) != 1 {
		t.Fatalf("%v, %v", docs, err)
	}
	_, err = Parse("f", []byte(sotw(typeListener, `"name":"l","filterChains":[{"filters":[`+ext+"\n"+`{"name":7}]}]`)))
	if err == nil || !strings.Contains(err.Error(), "(line 3:") {
		t.Errorf("%v, want line 3", err)
	}
}
