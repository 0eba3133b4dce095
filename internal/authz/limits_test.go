// SPDX-License-Identifier: Apache-2.0

package authz

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/kmesh-net/kmesh-node/proto/security"
)

func address(i uint32, length uint32) *security.Address {
	return &security.Address{Address: binary.BigEndian.AppendUint32(nil, i), Length: length}
}

// grid is n matches that share no condition with each other, so that nothing merges.
func grid(d dice, n int, dims int) []*security.Match {
	out := make([]*security.Match, n)
	for i := range out {
		out[i] = &security.Match{DestinationPorts: []uint32{uint32(i % 65536)}}
		if dims > 1 {
			out[i].SourceIps = []*security.Address{address(d.Uint32(), 32)}
		}
		if dims > 2 {
			out[i].DestinationIps = []*security.Address{address(d.Uint32(), 32)}
		}
	}
	return out
}

func manyAddresses(d dice, n int) []*security.Address {
	out := make([]*security.Address, n)
	for i := range out {
		out[i] = address(d.Uint32(), 24+uint32(d.IntN(9)))
	}
	return out
}

func denyOf(name string, groups ...*security.Group) *security.Authorization {
	return &security.Authorization{Name: name, Namespace: "ns", Action: security.Action_DENY, Groups: groups}
}

func group(rules ...[]*security.Match) *security.Group {
	g := &security.Group{}
	for _, m := range rules {
		g.Rules = append(g.Rules, &security.Rules{Matches: m})
	}
	return g
}

// hostile is policies that are small to write and large to compile.
func hostile() map[string][]*security.Authorization {
	d := newDice(2)
	// Each rule leaves out one source, one destination or one port: 3^n combinations.
	product := func(n int) *security.Group {
		var rules [][]*security.Match
		for i := range n {
			rules = append(rules, []*security.Match{
				{NotSourceIps: manyAddresses(d, 1)}, {NotDestinationIps: manyAddresses(d, 1)}, {NotDestinationPorts: []uint32{uint32(i)}},
			})
		}
		return group(rules...)
	}
	var groups []*security.Group
	for range 64 {
		groups = append(groups, group(grid(d, 1000, 3)))
	}
	var long []*security.Match
	for range 300 {
		long = append(long, &security.Match{NotSourceIps: manyAddresses(d, 1000), DestinationIps: manyAddresses(d, 5)})
	}
	var many []*security.Authorization
	for i := range 40 {
		many = append(many, denyOf(fmt.Sprint("p", i), group(grid(d, 1000, 3))))
	}
	var ranges []*security.Authorization
	for i := range 20 {
		ranges = append(ranges, denyOf(fmt.Sprint("p", i), group([]*security.Match{{SourceIps: manyAddresses(d, 5000)}})))
	}
	names := &security.Match{}
	for i := range 20000 {
		names.NotPrincipals = append(names.NotPrincipals, &security.StringMatch{
			MatchType: &security.StringMatch_Suffix{Suffix: fmt.Sprint(i)}})
	}
	return map[string][]*security.Authorization{
		"a product of rules":   {denyOf("p", product(20))},
		"a product of grids":   {denyOf("p", group(grid(d, 5000, 3), grid(d, 5000, 3)))},
		"a grid":               {denyOf("p", group(grid(d, 60000, 3)))},
		"many groups":          {denyOf("p", groups...)},
		"long negations":       {denyOf("p", group(long, long))},
		"many policies":        many,
		"many ranges":          ranges,
		"many suffixes":        {denyOf("p", group([]*security.Match{names}))},
		"all ports":            {denyOf("p", group(grid(d, 65536, 1)))},
		"a policy that is big": {denyOf("p", group(grid(d, 16000, 3)))},
	}
}

// Compile either says that a policy is too large, by name, or makes its image, and
// neither takes long nor much memory.
func TestHostile(t *testing.T) {
	says := map[string]string{ // what has no entry fits
		"a product of rules": "rows",
		"a product of grids": "groups[0].rules[1] multiplies 5000 alternatives by 5000",
		"a grid":             "more than 16384 rows",
		"many groups":        "more than 16384 rows",
		"long negations":     "too many ranges",
		"many policies":      "more than 32768 rows of all policies",
		"many ranges":        "more than 65536 ranges",
	}
	for name, policies := range hostile() {
		t.Run(name, func(t *testing.T) {
			in := cluster(0, 10000, security.Action_DENY, false)
			for i, a := range policies {
				in.Policies = append(in.Policies, Policy{uint32(i + 1), a})
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			img, err := Compile(in)
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			var e *TooLarge
			switch {
			case says[name] == "" && err != nil:
				t.Error(err)
			case says[name] != "" && !errors.As(err, &e):
				t.Errorf("error %v, want TooLarge", err)
			case e != nil && (!strings.HasPrefix(e.Error(), "ns/p") || !strings.Contains(e.Error(), says[name])):
				t.Errorf("error %q, want the policy's name and %q", e, says[name])
			}
			if took > 20*time.Second {
				t.Errorf("took %v", took)
			}
			slots := 0
			if img != nil {
				slots = len(img.Slots)
			}
			t.Logf("%v, %d MB allocated in all, %d slots: %v", took.Round(time.Millisecond), (after.TotalAlloc-before.TotalAlloc)>>20, slots, err)
		})
	}
}
