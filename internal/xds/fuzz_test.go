// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/config"
	"github.com/kmesh-net/kmesh-node/internal/exit"
)

// seed adds the captures, which are small, and own messages.
func seed(f *testing.F) {
	for _, dir := range []string{"sidecar-file", "sidecar-kube-nohbone", "ambient"} {
		files, err := filepath.Glob(filepath.Join("testdata", dir, "*"))
		if err != nil || len(files) == 0 {
			f.Fatalf("no captures in %s: %v", dir, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
			if e, err := readEnvelope(data); err == nil {
				for _, r := range e.resources[:min(3, len(e.resources))] {
					f.Add(oneResource(r))
				}
			}
		}
	}
	f.Add([]byte(ownService))
	f.Add([]byte(sotw(typeListener, tcpListener("l", "10.0.0.1:80", "c"))))
	f.Add([]byte(delta(typeCluster, "a b", edsCluster("c"))))
	f.Add([]byte(`{"static_resources":{"listener_configs":[{"name":"l","address":{"port":20480,"ipv4":16777226}}]}}`))
}

// oneResource is a response of r alone: what is small is mutated to better effect.
func oneResource(r wireAny) []byte {
	a := protowire.AppendTag(nil, fieldAnyURL, protowire.BytesType)
	a = protowire.AppendString(a, r.url)
	a = protowire.AppendTag(a, fieldAnyValue, protowire.BytesType)
	a = protowire.AppendBytes(a, r.value)
	return protowire.AppendBytes(protowire.AppendTag(nil, fieldResources, protowire.BytesType), a)
}

// FuzzParse checks that any input is either refused as rejected configuration, or
// read the same each time.
func FuzzParse(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		docs, err := Parse("input", data)
		if err != nil {
			checkFuzzed(t, err)
			return
		}
		again, err := Parse("input", data)
		if err != nil || len(again) != len(docs) {
			t.Fatalf("read %d documents, then %d: %v", len(docs), len(again), err)
		}
		for i := range docs {
			for j := range docs[i].Resources {
				if !proto.Equal(docs[i].Resources[j], again[i].Resources[j]) {
					t.Fatalf("document %d, resource %d differs", i, j)
				}
			}
		}
	})
}

// FuzzTranslate checks what the store relies on: operations are valid, each key has
// one, they are the same each time, and applying them again changes nothing.
func FuzzTranslate(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		docs, err := Parse("input", data)
		if err != nil || slices.ContainsFunc(docs, func(d Document) bool { return NeedsMode(d.Kind, "ads") != nil }) {
			return
		}
		if _, err := Translate(docs, fakeStore{}, Options{}); err != nil {
			checkFuzzed(t, err)
		}
		s := fakeStore{}
		first := checkBatch(t, docs, s)
		second := checkBatch(t, docs, s)
		if len(first.Ops) != len(second.Ops) {
			t.Fatalf("%d operations, then %d", len(first.Ops), len(second.Ops))
		}
		for k, c := range second.Counts {
			if c.Updated+c.Deleted > 0 {
				t.Fatalf("%s: applied again: %+v", k, c)
			}
		}
	})
}

// checkBatch translates docs against s, checks the batch and publishes it.
func checkBatch(t *testing.T, docs []Document, s fakeStore) *Result {
	t.Helper()
	r, err := Translate(docs, s, Options{SkipInvalid: true})
	if err != nil {
		t.Fatalf("skip what is invalid: %v", err)
	}
	again, err := Translate(docs, s, Options{SkipInvalid: true})
	if err != nil || len(again.Ops) != len(r.Ops) {
		t.Fatalf("not the same again: %v", err)
	}
	seen := map[string]bool{}
	for i, op := range r.Ops {
		key := config.KindOf(op.Message).String() + " " + config.KeyOf(op.Message)
		if seen[key] || config.KeyOf(op.Message) == "" {
			t.Fatalf("two operations on %q", key)
		}
		seen[key] = true
		if wire(t, op.Message) != wire(t, again.Ops[i].Message) {
			t.Fatalf("%s differs from run to run", key)
		}
		if op.Delete {
			continue
		}
		if err := validate(op.Message); err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		if _, err := Render(op.Message); err != nil {
			t.Fatalf("%s: %v", key, err)
		}
	}
	s.publish(r.Ops)
	return r
}

func checkFuzzed(t *testing.T, err error) {
	t.Helper()
	if exit.Code(err) != exit.Rejected {
		t.Fatalf("%v: code %d, want %d", err, exit.Code(err), exit.Rejected)
	}
}
