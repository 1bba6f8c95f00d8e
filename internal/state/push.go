// SPDX-License-Identifier: Apache-2.0

package state

import "time"

// EventPush: where Account is to be notified has changed.
const EventPush EventKind = 110

// Limits of pushes.
const (
	// PushesMost bounds what an account has enabled, and what it has registered.
	PushesMost = 16
	// PushName bounds a node, a secret and a JID, PushEndpoint an endpoint, and
	// PushOptions publish-options, in bytes.
	PushName     = 512
	PushEndpoint = 2048
	PushOptions  = 4096
)

// PushComponent is the address of the cell's own push service.
func PushComponent(domain string) string { return "push." + domain }

// Push is one place where an account is notified (XEP-0357 §enabling @0.4.1).
type Push struct {
	JID, Node string
	// Options to publish with, one XML element or nothing.
	Options []byte
	// Device that enabled it.
	Device PushDevice
	// Service is what the cell's own push component knows of the node; nil for
	// another service's.
	Service *PushService
}

// PushService is an address of Web Push (RFC 8030 §4).
type PushService struct {
	Endpoint string
	P256dh   []byte // uncompressed point of P-256
	Auth     []byte // 16 bytes
	Secret   string
	Device   PushDevice // that registered it
	Time     time.Time
}

// PushDevice is a device that notifications are for.
type PushDevice struct {
	Resource string
	Client   string // that it has logged in as, "" when that is not known
}
