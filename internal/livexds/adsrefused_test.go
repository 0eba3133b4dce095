// SPDX-License-Identifier: Apache-2.0

package livexds

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
)

// A NACK names each resource once, also where it ends in all being refused.
func TestEachIsRefusedOnce(t *testing.T) {
	b := newBench(t)
	var all, ends []proto.Message
	for i := range mostBlamed + 1 {
		name := fmt.Sprintf("c%d", i)
		all, ends = append(all, eds(name, name)), append(ends, endpoints(name, 1))
	}
	b.send(cds, all...)
	b.store.refuseAll = "c"
	b.want("refused", strings.Join(b.send(edt, ends...), " "), "c0 c1 c2 c3 c4 c5 c6 c7 c8")
}
