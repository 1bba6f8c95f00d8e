// SPDX-License-Identifier: Apache-2.0

// Package batchpb is the generated form of batch.proto. Package journal writes
// and reads the same bytes by hand, to copy each command only once; its tests
// hold the two against each other.
package batchpb

//go:generate protoc -I ../../.. --go_out=../../.. --go_opt=module=bavard internal/journal/batchpb/batch.proto
