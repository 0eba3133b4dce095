// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/urfave/cli/v2"
)

// plainText are flags whose values are no list and no path.
var plainText = map[string]bool{"node-name": true, "cni-exclude-namespace": true, "locality": true, "admin-address": true,
	"xds-address": true, "xds-server-name": true, "xds-node-ip": true, "xds-pod-name": true, "xds-pod-namespace": true,
	"xds-service-account": true, "xds-domain": true, "xds-cluster-id": true}

func quietApp(c *command) *cli.App {
	c.objects, c.stdout, c.stderr = fstest.MapFS{}, io.Discard, io.Discard
	return newApp(c)
}

// each calls do for every flag that help lists, with its command or nil.
func each(app *cli.App, do func(cmd *cli.Command, f cli.Flag)) {
	for _, f := range globals(app) {
		do(nil, f)
	}
	for _, c := range shown(app) {
		for _, f := range c.Flags {
			if flagShown(f) {
				do(c, f)
			}
		}
	}
}

// Man page and completions know what may stand behind every flag.
func TestEveryTextFlagHasItsValues(t *testing.T) {
	each(quietApp(&command{}), func(_ *cli.Command, f cli.Flag) {
		name := f.Names()[0]
		if valueWord(f) == "VALUE" && !plainText[name] {
			t.Errorf("--%s is neither in enumerations nor in paths (flagdoc.go)", name)
		}
	})
}

// What is listed is what the commands take, all of it and nothing else.
func TestEnumerationsAreWhatTheCommandsTake(t *testing.T) {
	// try reads the flags as the command does, and goes no further.
	try := func(cmd *cli.Command, name, value string) error {
		c := &command{}
		app := quietApp(c)
		word, read := "check", c.config
		if cmd != nil {
			word, read = cmd.Name, c.upConfig
		}
		app.Command(word).Action = func(ctx *cli.Context) error {
			if word == "cni" || word == "top" {
				read = c.config
			}
			cfg, err := read(ctx)
			if err == nil && word == "cni" {
				_, err = cniSettings(ctx, cfg)
			}
			if err == nil && word == "run" {
				_, err = readXDS(ctx, cfg)
			}
			if err == nil && word == "run" {
				_, _, err = readDataLog(ctx)
			}
			if err == nil && word == "top" {
				_, err = readTop(ctx)
			}
			return err
		}
		args := []string{"kmesh-node", word, "--" + name, value}
		if cmd != nil && strings.HasPrefix(name, "connect-ret") || strings.HasPrefix(name, "outlier") {
			args = append(args, "--mode", "ads")
		}
		if strings.HasPrefix(name, "xds-") {
			args = append(args, "--mode", "ads", "--xds-address", "127.0.0.1:15010")
		}
		return app.Run(args)
	}
	each(quietApp(&command{}), func(cmd *cli.Command, f cli.Flag) {
		name := f.Names()[0]
		values := enumerations[name]
		if values == nil {
			return
		}
		for _, v := range values {
			if err := try(cmd, name, v); err != nil {
				t.Errorf("--%s %s: %v", name, v, err)
			}
		}
		err := try(cmd, name, "other")
		if err == nil {
			t.Fatalf("--%s takes more than its enumeration", name)
		}
		if name == "log-level" { // the library's words
			return
		}
		words := strings.FieldsFunc(err.Error(), func(r rune) bool { return strings.ContainsRune(" ,:;", r) })
		for _, v := range values {
			if !bytes.Contains([]byte(" "+strings.Join(words, " ")+" "), []byte(" "+v+" ")) {
				t.Errorf("--%s: %q does not name %s", name, err, v)
			}
		}
	})
}

func TestManNamesEveryCommandFlagAndVariable(t *testing.T) {
	app := quietApp(&command{})
	var b bytes.Buffer
	if err := writeMan(&b, app, time.Unix(0, 0).UTC()); err != nil {
		t.Fatal(err)
	}
	page := strings.NewReplacer(`\-`, "-", `\e`, `\`).Replace(b.String())
	for _, c := range shown(app) {
		if !strings.Contains(page, "\n.Ss "+c.Name) {
			t.Errorf("no section for %s", c.Name)
		}
	}
	each(app, func(_ *cli.Command, f cli.Flag) {
		if !strings.Contains(page, " Fl -"+f.Names()[0]) {
			t.Errorf("no --%s", f.Names()[0])
		}
		for _, v := range f.(cli.DocGenerationFlag).GetEnvVars() {
			if !strings.Contains(page, "\n.It Ev "+v+"\n") {
				t.Errorf("no %s", v)
			}
		}
	})
	for _, e := range exitCodes {
		if !strings.Contains(page, fmt.Sprintf("\n.It %d\n", e.code)) {
			t.Errorf("no exit code %d", e.code)
		}
	}
	for l := range strings.Lines(page) {
		if strings.HasPrefix(l, "@") {
			t.Errorf("left over: %s", l)
		}
	}
	if !strings.Contains(page, ".Dd January 1, 1970\n") {
		t.Error("the date is not that of the sources")
	}
}

// Every kmesh-node line among the page's examples is taken.
func TestExamplesOfTheManPageAreTaken(t *testing.T) {
	_, examples, found := strings.Cut(manPage, ".Sh EXAMPLES")
	n := 0
	for l := range strings.Lines(strings.ReplaceAll(examples, `\-`, "-")) {
		l = strings.TrimPrefix(strings.TrimSpace(l), ".Dl ")
		if !strings.HasPrefix(l, "kmesh-node ") {
			continue
		}
		n++
		app := quietApp(&command{})
		for _, c := range app.Commands {
			c.Action = func(*cli.Context) error { return nil }
		}
		if err := app.Run(permute(app, strings.Fields(l))); err != nil {
			t.Errorf("%s: %v", l, err)
		}
	}
	if !found || n < 5 {
		t.Errorf("%d examples", n)
	}
}

func TestCompletionIsForThreeShells(t *testing.T) {
	for _, s := range shells {
		var b bytes.Buffer
		app := newApp(&command{objects: fstest.MapFS{}, stdout: &b, stderr: io.Discard})
		if err := app.Run([]string{"kmesh-node", "completion", s}); err != nil {
			t.Fatal(err)
		}
		each(app, func(_ *cli.Command, f cli.Flag) {
			if !strings.Contains(b.String(), f.Names()[0]) {
				t.Errorf("%s: no --%s", s, f.Names()[0])
			}
		})
		for _, n := range nouns() {
			if !strings.Contains(b.String(), n.plural) {
				t.Errorf("%s: no %s", s, n.plural)
			}
		}
	}
	if err := quietApp(&command{}).Run([]string{"kmesh-node", "completion", "tcsh"}); err == nil {
		t.Error("tcsh is taken")
	}
}
