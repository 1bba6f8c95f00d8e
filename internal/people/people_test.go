// SPDX-License-Identifier: Apache-2.0

package people

import (
	"fmt"
	"testing"
	"time"

	"bavard/internal/xmlstream"
)

func TestLimits(t *testing.T) {
	var l limits
	now := time.Unix(1000, 0)
	for i := range burst {
		if !l.allow("ann", now) {
			t.Fatalf("search %d is refused", i)
		}
	}
	if l.allow("ann", now) || !l.allow("bob", now) {
		t.Error("one's searches are another's")
	}
	if now = now.Add(interval); !l.allow("ann", now) || l.allow("ann", now) {
		t.Error("there is one more after the interval")
	}
	for i := range 2 * limited {
		l.allow(fmt.Sprint(i), now)
		if i%100 == 0 {
			now = now.Add(time.Millisecond)
		}
	}
	if len(l.full) > limited {
		t.Errorf("%d accounts are remembered", len(l.full))
	}
}

// FuzzSearch: whatever is asked, it is a search of bounded text and page, or an
// error.
func FuzzSearch(f *testing.F) {
	for _, s := range []string{
		"<query xmlns='jabber:iq:search'><nick>mar</nick></query>",
		"<query xmlns='jabber:iq:search'><first>a</first><email>b@c</email><set xmlns='http://jabber.org/protocol/rsm'><max>3</max><after>b@c</after></set></query>",
		"<query xmlns='jabber:iq:search'><x xmlns='jabber:x:data' type='submit'><field var='nick'><value>bob</value></field></x></query>",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, err := xmlstream.ParseElement([]byte(text), xmlstream.AfterAuth)
		if err != nil {
			return
		}
		q, bad := parse(e)
		if bad == nil && (len(q.text) < textLeast || len(q.text) > textMost || q.max < 0 || q.max > page) || bad != nil && bad.Text == "" {
			t.Fatalf("%+v, %v", q, bad)
		}
	})
}
