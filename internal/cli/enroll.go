// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/kmesh-net/kmesh-node/internal/exit"
	"github.com/kmesh-net/kmesh-node/loader"
)

func namespaceFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "netns", Usage: "network namespace, as a path or as a name under /run/netns"},
		&cli.IntFlag{Name: "pid", Usage: "that of the process"},
		&cli.BoolFlag{Name: "self", Usage: "that of kmesh-node"},
	}
}

// namespacePath reads the one flag that names the namespace.
func namespacePath(ctx *cli.Context) (string, error) {
	var l []string
	if n := ctx.String("netns"); n != "" {
		if !strings.Contains(n, "/") {
			n = filepath.Join("/run/netns", n)
		}
		l = append(l, n)
	}
	if ctx.IsSet("pid") {
		if ctx.Int("pid") <= 0 {
			return "", usage("--pid %d is not a process", ctx.Int("pid"))
		}
		l = append(l, "/proc/"+strconv.Itoa(ctx.Int("pid"))+"/ns/net")
	}
	if ctx.Bool("self") {
		l = append(l, "/proc/self/ns/net")
	}
	if len(l) != 1 {
		return "", usage("%s needs one of --netns, --pid, --self", ctx.Command.Name)
	}
	return l[0], nil
}

// withHandles opens the maps for do.
func (c *command) withHandles(ctx *cli.Context, do func(*loader.Config, *loader.Handles) error) error {
	cfg, err := c.config(ctx)
	if err != nil {
		return err
	}
	h, err := loader.OpenPinned(cfg)
	if err != nil {
		return err
	}
	defer h.Close()
	return do(cfg, h)
}

var errAnotherUp = errors.New("the data plane was taken down, or another up made it anew")

// stillInUse returns an error unless the open maps are those that are pinned.
func stillInUse(h *loader.Handles, step string, names ...string) error {
	for _, name := range names {
		there, err := h.Current(name)
		if err != nil {
			return err
		}
		if !there {
			return madeAnew(step, name)
		}
	}
	return nil
}

func madeAnew(step, name string) error {
	return &exit.Error{Code: exit.NotUp, Step: step, Object: "map " + name, Err: errAnotherUp,
		Remedy: "run it again, after kmesh-node up where it is down"}
}

// enrolment is the answer of enroll and unenroll.
type enrolment struct {
	Cookie   uint64 `json:"cookie"`
	Path     string `json:"path,omitempty"`
	Enrolled bool   `json:"enrolled"`
}

func (c *command) printEnrolment(ctx *cli.Context, e enrolment) error {
	return c.print(ctx, e, func(w io.Writer) error {
		what := "unenrolled"
		if e.Enrolled {
			what = "enrolled"
		}
		_, err := fmt.Fprintf(w, "%s: network namespace %d\n", what, e.Cookie)
		return err
	})
}

func (c *command) enroll() *cli.Command {
	return &cli.Command{Name: "enroll", Usage: "take a network namespace under management",
		Flags: append(namespaceFlags(), &cli.BoolFlag{Name: "force", Usage: "also the host's own"}),
		Action: noArgs(func(ctx *cli.Context) error {
			path, err := namespacePath(ctx)
			if err != nil {
				return err
			}
			return c.withHandles(ctx, func(_ *loader.Config, h *loader.Handles) error {
				cookie, err := h.Enroll(path, ctx.Bool("force"))
				if err != nil {
					return err
				}
				return c.printEnrolment(ctx, enrolment{cookie, path, true})
			})
		})}
}

func (c *command) unenroll() *cli.Command {
	return &cli.Command{Name: "unenroll", Usage: "release a network namespace",
		Flags: append(namespaceFlags(), &cli.Uint64Flag{Name: "cookie", Usage: "one that is gone, by its cookie"}),
		Action: noArgs(func(ctx *cli.Context) error {
			if cookie := ctx.Uint64("cookie"); cookie != 0 {
				return c.withHandles(ctx, func(_ *loader.Config, h *loader.Handles) error {
					if err := h.UnenrollCookie(cookie); err != nil {
						return err
					}
					return c.printEnrolment(ctx, enrolment{Cookie: cookie})
				})
			}
			path, err := namespacePath(ctx)
			if err != nil {
				return err
			}
			return c.withHandles(ctx, func(_ *loader.Config, h *loader.Handles) error {
				cookie, err := h.Unenroll(path)
				if err != nil {
					return err
				}
				return c.printEnrolment(ctx, enrolment{Cookie: cookie, Path: path})
			})
		})}
}
