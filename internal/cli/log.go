// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"strconv"
	"strings"

	"github.com/coreos/go-systemd/v22/journal"
	"github.com/sirupsen/logrus"

	"github.com/kmesh-net/kmesh-node/internal/exit"
)

// identifier is what the journal calls this program.
const identifier = "kmesh-node"

// toReader is the way to the journal.
var toReader = newOutbox(outboxRoom, func(dropped uint64) {
	send(os.Stderr, fmt.Sprintf("log: %d messages were dropped: the journal did not take them in time", dropped),
		journal.PriWarning, map[string]string{"KMESH_DROPPED": strconv.FormatUint(dropped, 10)})
})

// inJournal says whether what is written to w ends up in the journal, so that entries
// can go there with their fields.
func inJournal(w io.Writer) bool {
	if w != os.Stderr {
		return false
	}
	is, err := journal.StderrIsJournalStream()
	return err == nil && is
}

// newLogger returns the logger that --log-level and --log-format ask for. In the journal
// text is not a line but an entry, and the time is the journal's.
func (c *command) newLogger(level, format, mode string) (*logrus.Logger, error) {
	log := logrus.New()
	log.SetOutput(c.stderr)
	if c.progress != nil {
		log.SetOutput(c.progress)
	}
	l, err := logrus.ParseLevel(level)
	if err != nil {
		return nil, usage("--log-level: %w", err)
	}
	log.SetLevel(l)
	switch {
	case format == "json":
		log.SetFormatter(&logrus.JSONFormatter{})
		if inJournal(c.stderr) {
			log.SetOutput(toReader.writer(c.stderr))
		}
	case format != "text":
		return nil, usage("--log-format %s: it is text or json", format)
	case inJournal(c.stderr):
		log.SetFormatter(noFormat{})
		log.SetOutput(io.Discard)
		log.AddHook(&journalHook{c.stderr, map[string]string{"KMESH_MODE": mode, "KMESH_RELEASE": version}})
	default:
		// Without colours it quotes what it is given.
		log.SetFormatter(&logrus.TextFormatter{FullTimestamp: true, DisableColors: true})
	}
	return log, nil
}

// noFormat leaves it to the hook.
type noFormat struct{}

func (noFormat) Format(*logrus.Entry) ([]byte, error) { return nil, nil }

// journalHook sends entries to the journal, each with fields of the entry and of all.
type journalHook struct {
	stderr io.Writer
	fields map[string]string
}

func (*journalHook) Levels() []logrus.Level { return logrus.AllLevels }

func (h *journalHook) Fire(e *logrus.Entry) error {
	fields := maps.Clone(h.fields)
	for k, v := range e.Data {
		fields[journalField(k)] = fmt.Sprint(v)
	}
	message := e.Message
	if err, ok := e.Data[logrus.ErrorKey].(error); ok {
		message = fmt.Sprintf("%s: %v", message, err)
		maps.Copy(fields, errorFields(err))
	}
	toJournal(h.stderr, message, priority(e.Level), fields)
	return nil
}

// toJournal has one entry sent.
func toJournal(stderr io.Writer, message string, p journal.Priority, fields map[string]string) {
	toReader.put(func() { send(stderr, message, p, fields) })
}

// send sends one entry. Where the journal's socket is not there, a line with the
// priority in front goes the way of standard error.
func send(stderr io.Writer, message string, p journal.Priority, fields map[string]string) {
	fields["SYSLOG_IDENTIFIER"] = identifier
	if journal.Send(message, p, fields) == nil {
		return
	}
	for l := range strings.Lines(message) {
		fmt.Fprintf(stderr, "<%d>%s\n", p, strings.TrimRight(l, "\n"))
	}
}

// journalField is the name of a field as the journal takes it.
func journalField(key string) string {
	return "KMESH_" + strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, strings.ToUpper(key))
}

// priority is syslog's for a level.
func priority(l logrus.Level) journal.Priority {
	switch l {
	case logrus.PanicLevel, logrus.FatalLevel:
		return journal.PriCrit
	case logrus.ErrorLevel:
		return journal.PriErr
	case logrus.WarnLevel:
		return journal.PriWarning
	case logrus.InfoLevel:
		return journal.PriInfo
	default:
		return journal.PriDebug
	}
}

// errorFields are the parts of an error, for the journal.
func errorFields(err error) map[string]string {
	fields := map[string]string{"KMESH_EXIT_CODE": strconv.Itoa(exit.Code(err))}
	var e *exit.Error
	if errors.As(err, &e) {
		remedy, _ := exit.Remedy(err)
		for name, v := range map[string]string{"KMESH_STEP": e.Step, "KMESH_OBJECT": e.Object, "KMESH_REMEDY": remedy} {
			if v != "" {
				fields[name] = v
			}
		}
	}
	return fields
}
