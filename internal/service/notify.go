// SPDX-License-Identifier: Apache-2.0

// Package service is what a process that stays needs: it tells the service manager how
// it is doing, watches files of configuration, and goes through its turns.
package service

import (
	"fmt"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// Notifier speaks to the service manager, where one started the process and listens.
// It is for one goroutine, but for Reloading.
type Notifier struct {
	// Doing is called with each step of the start; nil: nobody asks.
	Doing func(step string)

	log    *logrus.Logger
	status string
}

// NewNotifier returns one that warns in log of what could not be told.
func NewNotifier(log *logrus.Logger) *Notifier { return &Notifier{log: log} }

func (n *Notifier) tell(state ...string) {
	if _, err := daemon.SdNotify(false, strings.Join(state, "\n")); err != nil {
		n.log.WithError(err).Warnf("the service manager was not told %s", state[0])
	}
}

// Ready says that the start, or the reload, is over.
func (n *Notifier) Ready(status string) {
	n.status = oneLine(status)
	n.tell(daemon.SdNotifyReady, "STATUS="+n.status)
}

// Reloading says that one has begun; Ready ends it.
func (n *Notifier) Reloading() {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		n.log.WithError(err).Warn("read the monotonic clock")
	}
	// The manager tells by the time a reload that it asked for from one before it.
	n.tell(daemon.SdNotifyReloading, fmt.Sprintf("MONOTONIC_USEC=%d", now.Nano()/1000))
}

// Stopping says that the process ends.
func (n *Notifier) Stopping() { n.tell(daemon.SdNotifyStopping) }

// Status says in a line how things are, where that changed.
func (n *Notifier) Status(status string) {
	if status = oneLine(status); status != n.status {
		n.status = status
		n.tell("STATUS=" + status)
	}
}

// Alive is the sign of life that the watchdog waits for.
func (n *Notifier) Alive() { n.tell(daemon.SdNotifyWatchdog) }

// Extend asks for that much time for the step of the start that begins, named for people.
func (n *Notifier) Extend(d time.Duration, step string) {
	if n.Doing != nil {
		n.Doing(step)
	}
	n.tell(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", d.Microseconds()), "STATUS="+oneLine(step))
}

// WatchdogInterval is how long the service manager waits for a sign of life; 0: it
// does not wait.
func WatchdogInterval() (time.Duration, error) { return daemon.SdWatchdogEnabled(false) }

// oneLine keeps what comes from elsewhere from being read as another assignment.
func oneLine(s string) string { return strings.ReplaceAll(s, "\n", "; ") }
