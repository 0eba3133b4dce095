// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/kmesh-net/kmesh-node/internal/exit"
)

// Ports times workloads that no map has room for are refused before they fill the memory.
func TestPortsTimesWorkloads(t *testing.T) {
	s := newKernel(t).open(Options{})
	var ports strings.Builder
	for i := range 30000 {
		fmt.Fprintf(&ports, "ports { service_port: %d target_port: %d } ", i+1, i+1)
	}
	m := list(svc("s", "10.0.0.1", ports.String()))
	for i := range 2000 {
		m = append(m, pod(fmt.Sprintf("p%d", i), fmt.Sprintf("10.1.%d.%d", i/250, i%250+1), in("s")))
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := s.Apply(delta(m), false)
	runtime.ReadMemStats(&after)
	var e *exit.Error
	if !errors.As(err, &e) || e.Code != exit.Rejected || e.Object != "km_block" {
		t.Errorf("%v", err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 1<<30 {
		t.Errorf("%d MB for what is refused", used>>20)
	}
	apply(t, s, delta(list(svc("s", "10.0.0.1", "ports { service_port: 80 target_port: 80 }"))))
}
