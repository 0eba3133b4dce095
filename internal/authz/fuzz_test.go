// SPDX-License-Identifier: Apache-2.0

package authz

import (
	"errors"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/proto/security"
)

// Whatever a policy holds: it is refused by name, or the image decides as it reads.
func FuzzCompile(f *testing.F) {
	d := newDice(5)
	for range 50 {
		b, err := proto.Marshal(d.policy("p"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, uint64(1))
	}
	f.Fuzz(func(t *testing.T, b []byte, seed uint64) {
		a := &security.Authorization{}
		if proto.Unmarshal(b, a) != nil {
			return
		}
		d := newDice(seed)
		in := d.input()
		in.Policies = append(in.Policies, Policy{100, a})
		for i := range in.Sets {
			if s := &in.Sets[i]; s.Known && d.one(2) {
				s.Selected = append(s.Selected, a.GetNamespace()+"/"+a.GetName())
			}
		}
		start := time.Now()
		img, err := Compile(in)
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("took %v", took)
		}
		var e *TooLarge
		switch {
		case errors.As(err, &e):
			return
		case err != nil:
			if Validate(a) == nil {
				t.Fatalf("valid, but %v", err)
			}
			return
		}
		for range 30 {
			set, identity, p := d.packet(in)
			if want, got := Evaluate(in, set, p), img.Decide(identity, uint32(set), p); want != got {
				t.Fatalf("set %+v, packet %+v: image says %+v, want %+v\n%s", in.Sets[set], p, got, want, dump(in))
			}
		}
	})
}
