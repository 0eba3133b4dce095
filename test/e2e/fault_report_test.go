// SPDX-License-Identifier: Apache-2.0

package e2e

// faultRow is one line of docs/reliability.md.
type faultRow struct {
	fault string
	tried int
}

var faultRows []faultRow

// report counts times that a fault was tried, and survived.
func report(fault string, tried int) {
	for i := range faultRows {
		if faultRows[i].fault == fault {
			faultRows[i].tried += tried
			return
		}
	}
	faultRows = append(faultRows, faultRow{fault, tried})
}
