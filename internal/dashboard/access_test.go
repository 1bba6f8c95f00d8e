// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestALinkIsGoodForOnePage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := NewAccess(time.Now)
		token, ends := a.Link()
		if want := time.Now().Add(LinkTime); !ends.Equal(want) {
			t.Errorf("it ends at %v, want %v", ends, want)
		}
		if err := a.Admit(token); !errors.Is(err, ErrWrong) {
			t.Errorf("the token of a link is taken for a key: %v", err)
		}
		key, err := a.Exchange(token)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Exchange(token); !errors.Is(err, ErrWrong) {
			t.Errorf("used twice: %v", err)
		}
		if _, err := a.Exchange(key); !errors.Is(err, ErrWrong) {
			t.Errorf("a key is taken for a link: %v", err)
		}
		late, _ := a.Link()
		time.Sleep(LinkTime)
		if _, err := a.Exchange(late); !errors.Is(err, ErrWrong) {
			t.Errorf("after its time: %v", err)
		}
		if err := a.Admit(key); err != nil {
			t.Fatal(err)
		}
		for range 3 { // each use gives it its whole time again
			time.Sleep(keyTime - time.Second)
			if err := a.Admit(key); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(keyTime)
		if err := a.Admit(key); !errors.Is(err, ErrWrong) {
			t.Errorf("a key that was not used for %v: %v", keyTime, err)
		}
	})
}

func TestWhoGuessesIsToldNothingAndKeepsNobodyOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := NewAccess(time.Now)
		token, _ := a.Link()
		for range wrongMost {
			if _, err := a.Exchange("guess"); !errors.Is(err, ErrWrong) {
				t.Fatal(err)
			}
		}
		if err := a.Admit("guess"); !errors.Is(err, ErrTooMany) {
			t.Errorf("one too many: %v", err)
		}
		key, err := a.Exchange(token)
		if err != nil {
			t.Fatalf("the right one is kept out by others' guesses: %v", err)
		}
		if err := a.Admit(key); err != nil {
			t.Error(err)
		}
		time.Sleep(wrongTime)
		if err := a.Admit("guess"); !errors.Is(err, ErrWrong) {
			t.Errorf("a minute later: %v", err)
		}
	})
}

func TestWhatIsGivenOutIsBounded(t *testing.T) {
	t.Parallel()
	a := NewAccess(time.Now)
	first, _ := a.Link()
	for range linksMost {
		a.Link()
	}
	if _, err := a.Exchange(first); !errors.Is(err, ErrWrong) {
		t.Errorf("the oldest link is kept: %v", err)
	}
	var keys []string
	for range keysMost + 1 {
		token, _ := a.Link()
		key, err := a.Exchange(token)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
		if err := a.Admit(keys[0]); err != nil { // it is used all the time
			t.Fatal(err)
		}
	}
	if err := a.Admit(keys[1]); !errors.Is(err, ErrWrong) {
		t.Errorf("the key that was not used for longest is kept: %v", err)
	}
	if len(a.links) > linksMost || len(a.keys) > keysMost {
		t.Errorf("%d links and %d keys are kept", len(a.links), len(a.keys))
	}
}
