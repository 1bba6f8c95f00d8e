// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"sync"
	"time"
)

const (
	// LinkTime is how long a link can be opened.
	LinkTime = 5 * time.Minute
	// keyTime is how long a page that does not ask keeps its key.
	keyTime = 12 * time.Hour
	// linksMost and keysMost bound what is kept: the oldest goes.
	linksMost, keysMost = 16, 64
	// wrongMost bounds what is told to who has no right one, in wrongTime.
	wrongMost, wrongTime = 20, time.Minute
)

// What access is refused for.
var (
	ErrWrong = errors.New("it is not known, or it was used, or its time is over")
	// ErrTooMany: there were so many wrong ones that it does not even say that this is one.
	ErrTooMany = errors.New("too many were wrong; try again in a minute")
)

// Access is who may see the page. What it gives out is random, 128 bits and more, and it
// keeps the hashes alone, in memory: a new process knows none.
type Access struct {
	now func() time.Time

	mu    sync.Mutex
	links []secret
	keys  []secret
	wrong int       // since
	since time.Time // wrongTime ago at most, when there was one
}

// secret is one that was given out.
type secret struct {
	hash [sha256.Size]byte
	ends time.Time
}

// NewAccess makes one that lets nobody in; now is the clock.
func NewAccess(now func() time.Time) *Access { return &Access{now: now} }

// Link makes the token of a link, which is good for one exchange within LinkTime.
func (a *Access) Link() (token string, ends time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.give(&a.links, linksMost, LinkTime)
}

// Exchange takes the token of a link and gives the key of a page.
func (a *Access) Exchange(token string) (key string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := a.find(&a.links, token)
	if i < 0 {
		return "", a.refuse()
	}
	a.links = append(a.links[:i], a.links[i+1:]...)
	key, _ = a.give(&a.keys, keysMost, keyTime)
	return key, nil
}

// Admit errs when a key is none. A right one gets its whole time again. It is never refused
// because others came with wrong ones.
func (a *Access) Admit(key string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := a.find(&a.keys, key)
	if i < 0 {
		return a.refuse()
	}
	used := a.keys[i]
	used.ends = a.now().Add(keyTime)
	a.keys = append(append(a.keys[:i], a.keys[i+1:]...), used) // the one not used for longest stays first
	return nil
}

// give makes a secret; mu is held.
func (a *Access) give(to *[]secret, most int, lasts time.Duration) (text string, ends time.Time) {
	text, ends = rand.Text(), a.now().Add(lasts)
	if len(*to) >= most {
		*to = append((*to)[:0], (*to)[1:]...)
	}
	*to = append(*to, secret{sha256.Sum256([]byte(text)), ends})
	return text, ends
}

// find gives the place of a secret, -1 if it is none, in a time that tells nothing of
// others; mu is held.
func (a *Access) find(in *[]secret, text string) int {
	now, hash, at := a.now(), sha256.Sum256([]byte(text)), -1
	kept := (*in)[:0]
	for _, s := range *in {
		if s.ends.After(now) {
			kept = append(kept, s)
		}
	}
	*in = kept
	for i, s := range kept {
		at = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(s.hash[:], hash[:]), i, at)
	}
	return at
}

// refuse counts a wrong one; mu is held.
func (a *Access) refuse() error {
	now := a.now()
	if now.Sub(a.since) >= wrongTime {
		a.since, a.wrong = now, 0
	}
	if a.wrong++; a.wrong > wrongMost {
		a.wrong = wrongMost + 1
		return ErrTooMany
	}
	return ErrWrong
}
