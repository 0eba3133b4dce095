// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"
	"sigs.k8s.io/yaml"

	"github.com/kmesh-net/kmesh-node/internal/printable"
)

// table is what a command prints for people: a heading, and rows of cells.
type table struct {
	head []string
	rows [][]string
}

func (t *table) add(cells ...any) {
	row := make([]string, len(cells))
	for i, c := range cells {
		row[i] = printable.Line(fmt.Sprint(c))
	}
	t.rows = append(t.rows, row)
}

func (t *table) print(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	if len(t.head) > 0 {
		if _, err := fmt.Fprintln(tw, strings.Join(t.head, "\t")); err != nil {
			return err
		}
	}
	for _, r := range t.rows {
		if _, err := fmt.Fprintln(tw, strings.Join(r, "\t")); err != nil {
			return err
		}
	}
	return tw.Flush()
}

func outputOf(ctx *cli.Context) (string, error) {
	switch o := global(ctx, "output"); o {
	case "table", "json", "yaml":
		return o, nil
	default:
		return "", usage("-o %s: it is table, json or yaml", o)
	}
}

// print writes data in the form that was asked for; text writes it for people.
func (c *command) print(ctx *cli.Context, data any, text func(io.Writer) error) error {
	form, err := outputOf(ctx)
	if err != nil {
		return err
	}
	c.progress.stop()
	switch form {
	case "json":
		err = jsonTo(c.stdout, "").Encode(data)
	case "yaml":
		var b []byte
		if b, err = yaml.Marshal(data); err == nil {
			_, err = c.stdout.Write(b)
		}
	default:
		err = text(c.stdout)
	}
	if err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

// indentation of JSON.
const indentation = "  "

// jsonTo writes JSON as all commands do; prefix begins each line but the first.
func jsonTo(w io.Writer, prefix string) *json.Encoder {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent(prefix, indentation)
	return enc
}

// joinJSON is the JSON object of v, with one more member behind its own.
func joinJSON(v any, name string, member any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	more, err := json.Marshal(map[string]any{name: member})
	if err != nil {
		return nil, err
	}
	if len(b) > len("{}") {
		b[len(b)-1] = ','
		return append(b, more[1:]...), nil
	}
	return more, nil
}

// nonNil makes an empty list of none: [] in JSON.
func nonNil[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}

// told is a number of the kernel's that 0 stands for not being told.
func told(n uint32) any {
	if n == 0 {
		return "-"
	}
	return n
}
