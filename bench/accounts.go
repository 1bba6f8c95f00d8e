// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"bavard/drill/client"
)

// Accounts are those that a load logs in with. What SCRAM derives from their
// passwords is kept, so that each password costs the generator once.
type Accounts struct {
	pattern, password string
	users             [][2]string // localpart and password; nil with a pattern

	mu   sync.Mutex
	keys map[int]*client.Keys
}

// Numbered are accounts without end: pattern is like bench%d, counted from 0,
// and the password is the same for all.
func Numbered(pattern, password string) (*Accounts, error) {
	a, b := fmt.Sprintf(pattern, 1), fmt.Sprintf(pattern, 2)
	if a == b || strings.Contains(a, "%!") {
		return nil, fmt.Errorf("%q is to have %%d once, for the number of the account", pattern)
	}
	return &Accounts{pattern: pattern, password: password, keys: map[int]*client.Keys{}}, nil
}

// maxUsers bounds a file of accounts.
const maxUsers = 1_000_000

// ReadAccounts reads lines "localpart<TAB>password".
func ReadAccounts(r io.Reader) (*Accounts, error) {
	a := &Accounts{keys: map[int]*client.Keys{}, users: [][2]string{}}
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSuffix(lines.Text(), "\r")
		if line == "" {
			continue
		}
		local, password, ok := strings.Cut(line, "\t")
		if !ok || local == "" || password == "" {
			return nil, fmt.Errorf("line %d is not localpart, tab, password", n)
		}
		if len(a.users) == maxUsers {
			return nil, fmt.Errorf("line %d: more than %d accounts", n, maxUsers)
		}
		a.users = append(a.users, [2]string{local, password})
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(a.users) == 0 {
		return nil, errors.New("no accounts")
	}
	return a, nil
}

// Len is how many there are, -1 without end.
func (a *Accounts) Len() int {
	if a.users == nil {
		return -1
	}
	return len(a.users)
}

// User gives the nth account.
func (a *Accounts) User(n int) (local, password string) {
	if a.users == nil {
		return fmt.Sprintf(a.pattern, n), a.password
	}
	return a.users[n][0], a.users[n][1]
}

func (a *Accounts) user(n int) (local, password string, keys *client.Keys) {
	local, password = a.User(n)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.keys[n] == nil {
		a.keys[n] = &client.Keys{}
	}
	return local, password, a.keys[n]
}

// derivations is how often keys had to be derived from passwords so far.
func (a *Accounts) derivations() (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, k := range a.keys {
		n += k.Derivations()
	}
	return n
}
