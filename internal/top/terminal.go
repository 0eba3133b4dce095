// SPDX-License-Identifier: Apache-2.0

package top

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// terminal is one that shows a screen of its own, and hands over keys as they are pressed.
type terminal struct {
	in, out *os.File
	before  *unix.Termios // of in; nil: no terminal
	moves   bool          // it knows how to move the cursor
}

// IsTerminal says whether f is a terminal.
func IsTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// Sequences for the screen: one of its own without a cursor, and back.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	home        = "\x1b[H"
	toLineEnd   = "\x1b[K"
	toEnd       = "\x1b[J"
)

func newTerminal(in, out *os.File) *terminal {
	kind := os.Getenv("TERM")
	return &terminal{in: in, out: out, moves: kind != "" && kind != "dumb"}
}

// enter has keys handed over as they are pressed. What ends or stops a process still does.
func (t *terminal) enter() error {
	was, err := unix.IoctlGetTermios(int(t.in.Fd()), unix.TCGETS)
	if err == nil {
		now := *was
		now.Lflag &^= unix.ICANON | unix.ECHO
		now.Cc[unix.VMIN], now.Cc[unix.VTIME] = 1, 0
		if err := unix.IoctlSetTermios(int(t.in.Fd()), unix.TCSETSW, &now); err != nil {
			return fmt.Errorf("set terminal: %w", err)
		}
		t.before = was
	}
	if !t.moves {
		return nil
	}
	return t.write(enterScreen)
}

// leave makes the terminal what it was.
func (t *terminal) leave() error {
	var err error
	if t.moves {
		err = t.write(leaveScreen)
	}
	if t.before != nil {
		if e := unix.IoctlSetTermios(int(t.in.Fd()), unix.TCSETSW, t.before); e != nil {
			err = errors.Join(err, fmt.Errorf("set terminal back: %w", e))
		}
		t.before = nil
	}
	return err
}

func (t *terminal) write(s string) error {
	if _, err := t.out.WriteString(s); err != nil {
		return fmt.Errorf("write to terminal: %w", err)
	}
	return nil
}

// size is that of the screen, 80x24 where it does not say.
func (t *terminal) size() (width, height int) {
	w, err := unix.IoctlGetWinsize(int(t.out.Fd()), unix.TIOCGWINSZ)
	if err != nil || w.Col == 0 || w.Row == 0 {
		return 80, 24
	}
	return int(w.Col), int(w.Row)
}

// show makes lines the screen's. One that cannot move the cursor gets them below each other.
func (t *terminal) show(lines []string) error {
	s := ""
	if !t.moves {
		for _, l := range lines {
			if l != "" {
				s += l + "\n"
			}
		}
		return t.write(s + "\n")
	}
	s = home
	for i, l := range lines {
		if i > 0 {
			s += "\r\n"
		}
		s += l + toLineEnd
	}
	return t.write(s + toEnd)
}
