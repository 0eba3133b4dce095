// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/kmesh-net/kmesh-node/internal/authz"
	"github.com/kmesh-net/kmesh-node/internal/exit"
)

// planDenied keeps a counter for each policy, and for none (0). Of more policies than
// there is room for, which hold all the same, those that came first have one.
func (l *live) planDenied(p *plan) {
	if !l.model.dirty.policies && !l.image && l.countersChecked {
		return
	}
	want := map[uint32]struct{}{0: {}}
	for _, r := range l.model.res[Policy] {
		want[r.num] = struct{}{}
	}
	for id := range l.denied {
		if _, wanted := want[id]; !wanted {
			p.retired.denied = append(p.retired.denied, id)
			delete(l.denied, id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(want)) {
		// Until the old ones are gone both are there.
		used := len(l.denied) + len(p.retired.denied) + len(l.retired.denied) + len(l.leaving.denied)
		if _, has := l.denied[id]; !has && l.fits("km_denied", used) {
			p.denied = append(p.denied, id)
			l.denied[id] = struct{}{}
		}
	}
}

func (l *live) planImage(p *plan, used []byte) error {
	fresh := l.identities.fresh || l.policySets.fresh
	if !l.image && !l.model.dirty.policies && (!fresh || len(l.model.res[Policy]) == 0) {
		return nil // without policies who is who makes no difference
	}
	in := authz.Input{Identities: l.identities.keys()}
	for _, key := range l.policySets.keys() {
		in.Sets = append(in.Sets, setOf(key))
	}
	list := slices.SortedFunc(maps.Values(l.model.res[Policy]), byName)
	for _, r := range list {
		in.Policies = append(in.Policies, authz.Policy{ID: r.num, Authorization: r.more.policy})
	}
	image, err := authz.Compile(&in)
	if err != nil {
		var large *authz.TooLarge
		if errors.As(err, &large) {
			return &exit.Error{Code: exit.Rejected, Step: "compile policies", Err: err, Remedy: "split the policy or leave it out"}
		}
		return fmt.Errorf("compile policies: %w", err)
	}
	b := image.Bytes()
	half := len(used)
	if n := len(b); n > half {
		slots := half / slotBytes
		need := slots
		for need*slotBytes < n {
			need *= 2
		}
		return &exit.Error{Code: exit.Rejected, Step: "compile policies", Object: "km_policy",
			Err:    fmt.Errorf("%d slots are more than the limit of %d", n/slotBytes, slots),
			Remedy: fmt.Sprintf("up --policy-slots %d makes room", need)}
	}
	if !l.image && bytes.Equal(b, used[:len(b)]) {
		return nil // no policy tells what is new from the rest
	}
	p.image = image
	l.image = false
	return nil
}
