// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package powerfs

import "math/rand/v2"

// Disk is not to be had on this system.
type Disk struct{}

// Mount errs with ErrCannotMount.
func Mount(string, int64) (*Disk, error) { return nil, ErrCannotMount }

// Path of the disk's root directory.
func (d *Disk) Path() string { return "" }

// Cut errs.
func (d *Disk) Cut(float64, *rand.Rand) error { return ErrCannotMount }

// WriteBack does nothing.
func (d *Disk) WriteBack() {}

// Fail does nothing.
func (d *Disk) Fail(Fault) {}

// Heal does nothing.
func (d *Disk) Heal() {}

// Unmount errs.
func (d *Disk) Unmount() error { return ErrCannotMount }
