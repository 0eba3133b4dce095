// SPDX-License-Identifier: Apache-2.0

package livexds

import (
	"fmt"
	"testing"

	"github.com/sirupsen/logrus/hooks/test"
)

// Neither one response nor the same one again and again fills the log.
func TestWarningsAreToldOnce(t *testing.T) {
	log, told := test.NewNullLogger()
	var w warned
	var texts []string
	for i := range mostTold + 5 {
		texts = append(texts, fmt.Sprint("warning ", i))
	}
	lines := func(want int, last string) {
		t.Helper()
		if n := len(told.AllEntries()); n != want || last != "" && told.LastEntry().Message != last {
			t.Errorf("%d lines, want %d with %q in the end", n, want, last)
		}
		told.Reset()
	}
	w.tell(log, "xds: ", texts)
	lines(mostTold+1, "xds: and 5 more of this response")
	w.tell(log, "xds: ", texts)
	lines(5, fmt.Sprint("xds: warning ", mostTold+4))
	w.tell(log, "xds: ", texts)
	lines(0, "")
	for i := range mostWarned {
		w.tell(log, "", []string{fmt.Sprint(i)})
	}
	if len(w) > mostWarned {
		t.Errorf("%d are remembered", len(w))
	}
	told.Reset()
	w.tell(log, "", texts[:1])
	lines(1, texts[0])
}
