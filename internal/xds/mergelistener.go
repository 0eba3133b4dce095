// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"maps"
	"slices"

	"github.com/kmesh-net/kmesh-node/internal/config"
	"github.com/kmesh-net/kmesh-node/proto/listener"
)

// listenerEntry is what becomes of a listener's address: gone without a message.
// The store knows listeners by address, a control plane by name, own messages by
// address.
type listenerEntry struct {
	msg      *listener.Listener
	seq      int  // document that it came with
	released bool // whoever has the address in the store gave it up in this batch
}

// messages returns the messages of n, which may be nil.
func (n *newListener) messages() []*listener.Listener {
	if n == nil {
		return nil
	}
	return n.msgs
}

// completeListeners marks every address as gone, but for those of listeners that
// stay.
func (b *batch) completeListeners(stay map[string]bool) error {
	held, err := b.all.keys(config.Listener)
	if err != nil {
		return err
	}
	for key, e := range b.listeners {
		if e.msg != nil && !stay[e.msg.GetName()] {
			b.listeners[key] = &listenerEntry{}
		}
	}
	for _, key := range held {
		l, err := listenerOf(b.cur, key)
		if err != nil {
			return err
		}
		if b.listeners[key] == nil && !stay[l.GetName()] {
			b.listeners[key] = &listenerEntry{}
		}
	}
	return nil
}

// removeListener marks every address of the listener of that name as gone.
func (b *batch) removeListener(name string) error {
	held, err := b.cur.Addresses(name)
	if err != nil {
		return err
	}
	for _, key := range b.addresses[name] {
		if b.listeners[key].msg.GetName() == name {
			b.listeners[key] = &listenerEntry{}
		}
	}
	for _, key := range held {
		if e := b.listeners[key]; e != nil {
			e.released = true
		} else {
			b.listeners[key] = &listenerEntry{}
		}
	}
	return nil
}

// acceptListener takes all addresses of a listener in place of those that it had.
func (b *batch) acceptListener(name string, n *newListener) error {
	keys := make(map[string]bool, len(n.msgs))
	for _, m := range n.msgs {
		key := config.KeyOf(m)
		if keys[key] {
			return in("additional_addresses", wrong("%s stands there twice", key))
		}
		keys[key] = true
		if err := b.conflict(key, name); err != nil {
			return err
		}
	}
	if err := b.removeListener(name); err != nil {
		return err
	}
	for _, m := range n.msgs {
		b.putListener(config.KeyOf(m), m)
	}
	for _, text := range n.notes {
		b.note(KindListener, name, text)
	}
	return nil
}

// acceptOwn takes one address of a listener.
func (b *batch) acceptOwn(m *listener.Listener) error {
	key := config.KeyOf(m)
	if err := b.conflict(key, m.GetName()); err != nil {
		return err
	}
	if e := b.listeners[key]; e != nil && e.msg != nil && e.seq == b.seq {
		return in("address", wrong("%s stands in one document twice", key))
	}
	b.putListener(key, m)
	return nil
}

func (b *batch) putListener(key string, m *listener.Listener) {
	was := b.listeners[key]
	b.listeners[key] = &listenerEntry{msg: m, seq: b.seq, released: was != nil && (was.msg == nil || was.released)}
	b.addresses[m.GetName()] = append(b.addresses[m.GetName()], key)
}

// conflict says whether the batch has another listener at that address.
func (b *batch) conflict(key, name string) error {
	e := b.listeners[key]
	if e == nil || e.msg == nil || e.msg.GetName() == name {
		return nil
	}
	return in("address", wrong("%s is also the address of Listener %s", key, Clip(e.msg.GetName())))
}

func (b *batch) finishListeners() error {
	for _, key := range slices.Sorted(maps.Keys(b.listeners)) {
		e := b.listeners[key]
		old, err := listenerOf(b.cur, key)
		if err != nil {
			return err
		}
		if e.msg == nil {
			if old != nil {
				b.drop(config.Listener, &listener.Listener{Name: old.GetName(), Address: old.GetAddress()})
			}
			continue
		}
		if old != nil && old.GetName() != e.msg.GetName() && !e.released {
			b.warn("Listener "+Clip(e.msg.GetName()), "takes the place of Listener %s at %s", Clip(old.GetName()), key)
		}
		b.put(config.Listener, e.msg, orNil(old), e.msg.GetNotes())
	}
	return nil
}
