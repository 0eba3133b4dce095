// SPDX-License-Identifier: Apache-2.0

package fault

// Step is a place where At is called.
type Step struct {
	Name string
	// OnlyKill: nothing can go wrong there but that the process ends.
	OnlyKill bool
	// Late: it may come when all is done that the command is for. A failure is told, and
	// the next command finishes.
	Late bool
}

// Steps are all of them. The tests fail where one is never reached, and where one is
// reached that is not named here.
var Steps = []Step{
	// A start, of either mode; those of a table's rows once for each row.
	{Name: "mount"},
	{Name: "mounted"},
	{Name: "directory"},
	{Name: "record"},
	{Name: "load"},
	{Name: "pin"},
	{Name: "tail"},
	{Name: "settings"},
	{Name: "carry"},
	{Name: "link"},
	{Name: "linked"},
	{Name: "device"},
	{Name: "swap tail"},
	{Name: "attach"},
	{Name: "store"},
	{Name: "rehearse"},
	{Name: "selftest"},
	{Name: "commit"},
	{Name: "rename"},
	{Name: "stray"},
	{Name: "write record"},
	{Name: "recorded"},
	{Name: "configure"},
	{Name: "other mode", Late: true},

	// down, and the old mode's part of a change of mode.
	{Name: "down"},
	{Name: "unpin", Late: true},
	{Name: "unmount", Late: true},
	{Name: "remove directory", Late: true},

	// enroll and unenroll.
	{Name: "enroll"},
	{Name: "enroll device"},
	{Name: "enroll slot"},
	{Name: "release"},
	{Name: "release slot"},
	{Name: "release device"},

	// A publication: of the C store between any two of its stores, of workload mode by step.
	{Name: "publish", OnlyKill: true},
	{Name: "publish sweep"},
	{Name: "publish tombstones", Late: true},
	{Name: "publish messages"},
	{Name: "publish blocks"},
	{Name: "publish denied"},
	{Name: "publish served"},
	{Name: "publish image"},
	{Name: "publish flip"},
	{Name: "publish peers"},
	{Name: "publish peers gone"},
	{Name: "publish verdicts"},
	{Name: "publish frontends"},
	{Name: "publish any port"},
	{Name: "publish frontends gone"},
	{Name: "publish waypoints"},
	{Name: "publish commit"},
	{Name: "publish retire", Late: true},
	{Name: "publish blocks gone", Late: true},
	{Name: "publish end", Late: true},
}
