// SPDX-License-Identifier: Apache-2.0

package main

func (b *bench) measureStore() error { return nil }

func (b *bench) measureMisses() error { return nil }
