// SPDX-License-Identifier: Apache-2.0

package authz

/*
#include "bpf/workload.h"
enum { slot_of_54321 = KW_PORT_SLOT(54321) };
*/
import "C"

// The layout's numbers, from the header that programs include.
const (
	dims        = C.KW_DIMS
	dimSet      = C.KW_D_PSET
	dimIdentity = C.KW_D_IDENTITY
	dimSource   = C.KW_D_SOURCE
	dimPort     = C.KW_D_PORT
	dimDest     = C.KW_D_DEST
	rowsSlot    = C.KW_ROWS_SLOT
	maxRanges   = C.KW_MAX_KRANGES
	portCells   = C.KW_PORT_CELLS
	abiVersion  = C.KW_ABI_VERSION
	setAllow    = C.KW_PSET_ALLOW
	slotSize    = C.sizeof_struct_kw_image
	slotOf54321 = C.slot_of_54321

	// MaxRows is how many rows all policies may have together.
	MaxRows = C.KW_MAX_ROWS

	maxSlots = 1 << 20 // of an image: 64 MB
)

type (
	imageHead  = C.struct_kw_image
	setEntry   = C.struct_kw_pset
	rangeEntry = C.struct_kw_range
	portCell   = C.struct_kw_port
	vectorHead = C.struct_kw_vector
	word       = C.__u32
	wide       = C.__u64
)

// portSlot is KW_PORT_SLOT, a macro that cgo cannot call.
func portSlot(p uint32) uint32 { return p * 0x9e3779b1 >> 16 }
