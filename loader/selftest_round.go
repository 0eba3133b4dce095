// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"fmt"
	"net/netip"

	"github.com/kmesh-net/kmesh-node/internal/probe"
)

// attempt is a connection and where it must arrive.
type attempt struct {
	conn  probe.Conn
	at    netip.AddrPort
	by    string // the program to blame
	bytes string // that must arrive in front of its own byte
	// talker is the program to blame where they do not; nil: by.
	talker func() string
}

// round makes the connections; the first that goes otherwise is the error.
func (t *trial) round(l []attempt) error {
	conns := make([]probe.Conn, len(l))
	for i, a := range l {
		conns[i] = a.conn
	}
	got, err := t.probe.Round(conns...)
	if err != nil {
		return loadError("self-test", t.h.cfg.tree().root(), err, "")
	}
	for i, a := range l {
		if by, err := a.failed(got[i]); err != nil {
			return loadError("self-test", by, fmt.Errorf("a connection to %s in a scratch network namespace: %w", a.conn.To, err), "")
		}
	}
	return nil
}

// failed says what is wrong with an outcome, and which program is to blame.
func (a *attempt) failed(o probe.Outcome) (by string, err error) {
	talker := func() string { return a.by }
	if a.talker != nil {
		talker = a.talker
	}
	switch {
	case o.At.IsValid() && o.At != a.at:
		return a.by, fmt.Errorf("arrived at %s, not at %s", o.At, a.at)
	case o.Err != nil && o.At.IsValid():
		return talker(), o.Err
	case o.Err != nil:
		return a.by, o.Err
	case a.conn.Talk && string(o.Bytes[:len(o.Bytes)-1]) != a.bytes:
		return talker(), fmt.Errorf("%d bytes arrived in front of its own that are not the %d of the metadata", len(o.Bytes)-1, len(a.bytes))
	}
	return "", nil
}
